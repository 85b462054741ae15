#!lua flags=allow-oom
-- Copy an entry to the dead letters, if the lease of its partition has still that token.
-- KEYS: leases, stream of the partition, dead letters.
-- ARGV: field '<group>/<partition>', token, place, group, error's kind, error's text, most letters.
-- Returns 1; 0 if the lease has moved on; -1 if there are too many dead letters.
if string.match(redis.call('HGET', KEYS[1], ARGV[1]) or '', '%d+') ~= ARGV[2] then
  return 0
end
if redis.call('XLEN', KEYS[3]) >= tonumber(ARGV[7]) then
  return -1
end
local found = redis.call('XRANGE', KEYS[2], ARGV[3], ARGV[3])
local fields = found[1] and found[1][2] or {}
redis.call('XADD', KEYS[3], '*', 'dead_group', ARGV[4], 'dead_kind', ARGV[5], 'dead_text', ARGV[6],
  unpack(fields))
return 1
