-- Give an empty memory its identity, register groups, and tell what this memory is.
-- KEYS: epoch, partitions, groups.  ARGV: epoch if there is none, partitions if not yet fixed, groups...
-- Returns epoch, partitions.
redis.call('SET', KEYS[1], ARGV[1], 'NX')
redis.call('SET', KEYS[2], ARGV[2], 'NX')
for at = 3, #ARGV do
  redis.call('SADD', KEYS[3], ARGV[at])
end
return {redis.call('GET', KEYS[1]), tonumber(redis.call('GET', KEYS[2]))}
