-- Hot windows and their companions. A companion is a hash: state (building or ready), generation
-- (counts what was done to the window other than deliveries), life (see places.lua), build and
-- started_ms while building, and p<author id> for each followed author whose posts are not in the
-- window. A window or a companion alone counts for nothing, nor do both from another life: only
-- `deliver`, which cannot do harm, does not look.

local RENEW_AFTER_MS = 3600000
local MARK_BYTES = 17 -- p<author id>; no other field is as long
local ID_BYTES = 16 -- the last of a window's key are its owner's id

local function is_there(window, companion)
  return redis.call('EXISTS', window) == 1
    and redis.call('HGET', companion, 'life') == life_of_server()
end

-- Keys: watching. Arguments: ms that it lasts, the windows of those who watch from now on.
register('watch', function(keys, args)
  local ttl_ms, now, entries = tonumber(args[1]), now_ms(), {}
  for at = 2, #args do
    entries[#entries + 1] = now + ttl_ms
    entries[#entries + 1] = args[at]
  end
  -- Nobody: too long for a listpack, in which each look-up would pass all that are there.
  redis.call('ZADD', keys[1], '+inf', string.rep('-', 65), unpack(entries))
  redis.call('ZREMRANGEBYSCORE', keys[1], '-inf', now)
  redis.call('PEXPIRE', keys[1], 2 * ttl_ms)
end)

-- Keys: fence, watching, windows. Returns the ids of those owners who watch now, one after another,
-- whether they have a window or not.
local function watching_among(keys)
  if redis.call('EXISTS', keys[2]) == 0 then
    return ''
  end
  local found, now = {}, now_ms()
  for at, end_ms in ipairs(redis.call('ZMSCORE', keys[2], unpack(keys, 3))) do
    if end_ms and tonumber(end_ms) > now then
      found[#found + 1] = string.sub(keys[at + 2], -ID_BYTES)
    end
  end
  return table.concat(found)
end

-- Keys: fence, watching, windows. Arguments: partition, number, entries_max, score, member.
-- Returns how many windows have the post now, and whose owners watch.
register_fenced('deliver', function(keys, args)
  local entries_max, score, member = args[3], args[4], args[5]
  local score_number = tonumber(score)
  local taken = 0
  for at = 3, #keys do
    local window = keys[at]
    local floor_score, floor_member = floor_of(window)
    if floor_member and not is_behind(score_number, member, floor_score, floor_member) then
      redis.call('ZADD', window, score, member)
      trim(window, entries_max)
      taken = taken + 1
    end
  end
  return {taken, watching_among(keys)}
end)

-- Keys: fence, then window and companion of each. Arguments: partition, number, entries_max, the
-- author's field to remove or nothing, source.
register_fenced('backfill', function(keys, args)
  local source = source_at(args, 5)
  for at = 2, #keys, 2 do
    local window, companion = keys[at], keys[at + 1]
    if is_there(window, companion) then
      merge(window, source, args[3])
      redis.call('HDEL', companion, args[4])
      redis.call('HINCRBY', companion, 'generation', 1)
    end
  end
end)

-- Keys: fence, window, companion. Arguments: partition, number, the author's field, members.
register_fenced('purge', function(keys, args)
  if is_there(keys[2], keys[3]) then
    if #args > 3 then
      redis.call('ZREM', keys[2], unpack(args, 4))
    end
    redis.call('HDEL', keys[3], args[3])
    redis.call('HINCRBY', keys[3], 'generation', 1)
  end
end)

-- Keys: fence, companions. Arguments: partition, number, the author's field, HSET or HDEL.
register_fenced('set_pull', function(keys, args)
  for at = 2, #keys do
    if redis.call('EXISTS', keys[at]) == 1 then
      if args[4] == 'HSET' then
        redis.call('HSET', keys[at], args[3], 1)
      else
        redis.call('HDEL', keys[at], args[3])
      end
      redis.call('HINCRBY', keys[at], 'generation', 1)
    end
  end
end)

-- Keys: window, companion.
-- Returns state, generation, the pull authors one after another, member and score of the floor;
-- nothing = missing.
local function state_of(keys)
  if not is_there(keys[1], keys[2]) then
    return {}
  end
  local companion, pull_authors = {}, {}
  local fields = redis.call('HGETALL', keys[2])
  for at = 1, #fields, 2 do
    companion[fields[at]] = fields[at + 1]
    if #fields[at] == MARK_BYTES then
      pull_authors[#pull_authors + 1] = string.sub(fields[at], 2)
    end
  end
  local floor = redis.call('ZRANGE', keys[1], -1, -1, 'WITHSCORES')
  return {companion.state, companion.generation, table.concat(pull_authors), floor[1], floor[2]}
end

register('state', state_of)

-- Returns what `state` does and, if it is ready, members one after another, and scores between
-- spaces. Postpones the end of both.
local function read_one(window, companion, score, member, limit, ttl_ms)
  local reply = state_of({window, companion})
  if reply[1] ~= 'ready' then
    return reply
  end
  local members = ties_behind(window, score, member)
  local scores = {}
  for at = 1, #members do
    scores[at] = score
  end
  local behind = redis.call('ZRANGE', window, '(' .. score, '+inf', 'BYSCORE',
    'LIMIT', 0, limit, 'WITHSCORES')
  for at = 1, #behind, 2 do
    if behind[at] ~= SENTINEL then
      members[#members + 1] = behind[at]
      scores[#scores + 1] = behind[at + 1]
    end
  end
  if redis.call('PTTL', window) <= ttl_ms - math.min(RENEW_AFTER_MS, ttl_ms / 2) then
    redis.call('PEXPIRE', window, ttl_ms)
    redis.call('PEXPIRE', companion, ttl_ms)
  end
  reply[6], reply[7] = table.concat(members), table.concat(scores, ' ')
  return reply
end

-- Keys: window and companion of each. Arguments: ttl_ms, then for each score and member of the place
-- to read behind, and limit.
register('read', function(keys, args)
  local ttl_ms, replies = tonumber(args[1]), {}
  for number = 1, #keys / 2 do
    local at = 3 * number - 1
    replies[number] = read_one(
      keys[2 * number - 1], keys[2 * number], args[at], args[at + 1], tonumber(args[at + 2]), ttl_ms)
  end
  return replies
end)

-- Keys: window. Arguments: members whose posts are gone.
register('forget', function(keys, args)
  redis.call('ZREM', keys[1], unpack(args))
end)

-- Keys: window, companion.
-- Returns what `state` does, the newest, how many members, bytes, and when it ends in ms.
register('info', function(keys)
  local window, companion = keys[1], keys[2]
  local reply = state_of(keys)
  if #reply > 0 then
    reply[6] = redis.call('ZRANGE', window, 0, 0, 'WITHSCORES')
    reply[7] = redis.call('ZCARD', window)
    reply[8] = redis.call('MEMORY', 'USAGE', window) + redis.call('MEMORY', 'USAGE', companion)
    reply[9] = redis.call('PEXPIRETIME', window)
  end
  return reply
end)
