-- Forget a group that has no members.
-- KEYS: groups, members, leases, places.  ARGV: group, number of partitions.
-- Returns 1, or 0 if somebody is a member.
local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
if redis.call('ZCOUNT', KEYS[2], '(' .. now_ms, '+inf') > 0 then
  return 0
end
redis.call('SREM', KEYS[1], ARGV[1])
redis.call('DEL', KEYS[2])
for partition = 0, ARGV[2] - 1 do
  redis.call('HDEL', KEYS[3], ARGV[1] .. '/' .. partition)
  redis.call('HDEL', KEYS[4], ARGV[1] .. '/' .. partition)
end
return 1
