-- Rebuilds of windows. From the beginning deliveries go into the window; in the end what was read
-- elsewhere is merged with them, unless anything but deliveries happened to the window meanwhile.

local function is_of(companion, build)
  return redis.call('HGET', companion, 'build') == build
end

-- Keys: window, companion. Arguments: build, ms that another build may take, ttl_ms.
-- Returns the generation, or nothing while another build runs.
register('begin', function(keys, args)
  local window, companion = keys[1], keys[2]
  local started_ms = redis.call('HGET', companion, 'started_ms')
  if started_ms and is_there(window, companion) and now_ms() - started_ms < tonumber(args[2]) then
    return nil
  end
  local generation = (redis.call('HGET', companion, 'generation') or 0) + 1
  redis.call('DEL', window, companion)
  redis.call('ZADD', window, SENTINEL_SCORE, SENTINEL)
  redis.call('HSET', companion, 'state', 'building', 'generation', generation, 'build', args[1],
    'started_ms', now_ms(), 'life', life_of_server())
  redis.call('PEXPIRE', window, args[3])
  redis.call('PEXPIRE', companion, args[3])
  return generation
end)

-- Keys: window, companion. Arguments: build. Returns the generation, or nothing if it is lost.
register('regenerate', function(keys, args)
  if is_there(keys[1], keys[2]) and is_of(keys[2], args[1]) then
    return tonumber(redis.call('HGET', keys[2], 'generation'))
  end
end)

-- Keys: window, companion. Arguments: build, generation, ttl_ms, entries_max, source, then the
-- fields of pull authors. Returns whether it is done.
register('finish', function(keys, args)
  local window, companion = keys[1], keys[2]
  if not is_there(window, companion) or not is_of(companion, args[1])
    or redis.call('HGET', companion, 'generation') ~= args[2] then
    return 0
  end
  local source, marks_at = source_at(args, 5)
  merge(window, source, args[4])
  for at = marks_at, #args do
    redis.call('HSET', companion, args[at], 1)
  end
  redis.call('HSET', companion, 'state', 'ready')
  redis.call('HDEL', companion, 'build', 'started_ms')
  redis.call('PEXPIRE', window, args[3])
  redis.call('PEXPIRE', companion, args[3])
  return 1
end)
