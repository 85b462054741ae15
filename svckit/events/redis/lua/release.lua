-- Give leases back: whoever asks next may have them, with the next token.
-- KEYS: leases.  ARGV: two for each partition: field '<group>/<partition>', token.
for at = 1, #ARGV, 2 do
  local token = string.match(redis.call('HGET', KEYS[1], ARGV[at]) or '', '%d+')
  if token == ARGV[at + 1] then
    redis.call('HSET', KEYS[1], ARGV[at], token .. ' 0 ')
  end
end
