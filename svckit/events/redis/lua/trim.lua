-- Drop the entries that every group is past.
-- KEYS: epoch, groups, places, then the streams of some partitions.
-- ARGV: epoch, then the numbers of these partitions.
-- Returns how many were dropped.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 0
end
local zero = string.format('%013d-%013d', 0, 0)
local groups = redis.call('SMEMBERS', KEYS[2])
local dropped = 0
for at = 2, #ARGV do
  local lowest
  for _, group in ipairs(groups) do
    local place = redis.call('HGET', KEYS[3], group .. '/' .. ARGV[at]) or zero
    if not lowest or place < lowest then
      lowest = place
    end
  end
  dropped = dropped + redis.call('XTRIM', KEYS[2 + at], 'MINID', lowest or zero)
end
return dropped
