-- The recent posts of authors. Beside them stands the life (see places.lua) from which they are.

local function are_there(recents, recents_life)
  return redis.call('EXISTS', recents) == 1 and redis.call('GET', recents_life) == life_of_server()
end

-- Keys: recents, life. Returns members and scores; nothing = there are none.
register('recents', function(keys)
  if are_there(keys[1], keys[2]) then
    return redis.call('ZRANGE', keys[1], 0, -1, 'WITHSCORES')
  end
end)

-- Keys: fence, recents, life. Arguments: partition, number, ttl_ms, entries_max, score, member.
-- Returns whether there are recents.
register_fenced('add_recent', function(keys, args)
  if not are_there(keys[2], keys[3]) then
    return 0
  end
  local floor_score, floor_member = floor_of(keys[2])
  if not is_behind(tonumber(args[5]), args[6], floor_score, floor_member) then
    redis.call('ZADD', keys[2], args[5], args[6])
    trim(keys[2], args[4])
  end
  redis.call('PEXPIRE', keys[2], args[3])
  redis.call('PEXPIRE', keys[3], args[3])
  return 1
end)

-- Keys: fence, recents, life. Arguments: partition, number, ttl_ms, entries_max, source.
register_fenced('put_recents', function(keys, args)
  redis.call('DEL', keys[2])
  redis.call('ZADD', keys[2], SENTINEL_SCORE, SENTINEL)
  merge(keys[2], source_at(args, 5), args[4])
  redis.call('PEXPIRE', keys[2], args[3])
  redis.call('SET', keys[3], life_of_server(), 'PX', args[3])
end)

-- Keys: fence, recents, life. Arguments: partition, number, the member of a post that is gone.
register_fenced('forget_recents', function(keys, args)
  redis.call('ZREM', keys[2], args[3])
end)

-- Keys: fence, recents, life. Arguments: partition, number.
register_fenced('drop_recents', function(keys)
  redis.call('DEL', keys[2], keys[3])
end)

-- Keys: fence, tiers. Arguments: partition, number, author, tier. Those not in there are pushed.
register_fenced('set_tier', function(keys, args)
  if args[4] == 'push' then
    redis.call('HDEL', keys[2], args[3])
  else
    redis.call('HSET', keys[2], args[3], args[4])
  end
end)
