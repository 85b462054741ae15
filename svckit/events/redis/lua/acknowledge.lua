#!lua flags=allow-oom
-- Move a group's places forward, each if the token of its partition's lease is still the one given.
-- KEYS: epoch, leases, places.
-- ARGV: epoch, then three for each partition: field '<group>/<partition>', token, place.
-- Returns 1 if all were moved, else 0.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 0
end
local all = 1
for at = 2, #ARGV, 3 do
  local field, place = ARGV[at], ARGV[at + 2]
  local token = string.match(redis.call('HGET', KEYS[2], field) or '', '%d+')
  if token ~= ARGV[at + 1] then
    all = 0
  elseif place > (redis.call('HGET', KEYS[3], field) or '') then
    redis.call('HSET', KEYS[3], field, place)
  end
end
return all
