-- Who may write: of the owners that a partition has had, the last. A fence holds for each partition
-- the highest number seen; numbers are digits of equal length, so that they order as text.

local function refusal(fence, partition, number)
  local highest = redis.call('HGET', fence, partition)
  if not highest then
    return redis.error_reply('UNFENCED the partition has no number here')
  end
  if highest > number then
    return redis.error_reply('FENCED ' .. highest)
  end
  if highest < number then
    redis.call('HSET', fence, partition, number)
  end
end

-- Of functions that are registered so, the first key is the fence, and the first two arguments are
-- partition and number.
local function register_fenced(name, callback)
  register(name, function(keys, args)
    return refusal(keys[1], args[1], args[2]) or callback(keys, args)
  end)
end

-- Keys: fence. Arguments: partition, number.
register('raise', function(keys, args)
  redis.call('HSETNX', keys[1], args[1], args[2])
  return refusal(keys[1], args[1], args[2])
end)
