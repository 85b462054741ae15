-- Copies of what other services know.

-- Keys: fence, copy. Arguments: partition, number, data, ttl_ms.
register_fenced('put_copy', function(keys, args)
  redis.call('SET', keys[2], args[3], 'PX', args[4])
end)
