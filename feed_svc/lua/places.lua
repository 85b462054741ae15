-- Places in sorted sets, the newest first: score = -ms, member = the post id with its bits turned
-- (so put, ids of one ms go from high to low). To enter the newest at the head of a listpack takes
-- two thirds of the time that it takes at the end.
--
-- The set of a window or of an author's recents has every post that there is, down to its last, the
-- floor. The sentinel (the empty member) is in it exactly while nothing is missing behind: then it
-- is the floor itself, and no post is behind it.

local SENTINEL, SENTINEL_SCORE = '', 1

local function register(name, callback)
  redis.register_function(name .. '_' .. VERSION, callback)
end

-- By bytes: Lua's own comparison of strings goes by the locale of the server.
local function is_member_behind(one, other)
  for at = 1, #one do
    local byte, other_byte = string.byte(one, at), string.byte(other, at) or -1
    if byte ~= other_byte then
      return byte > other_byte
    end
  end
  return false
end

local function is_behind(score, member, other_score, other_member)
  return score > other_score
    or (score == other_score and is_member_behind(member, other_member))
end

-- What a server holds from before its last start may be older than what it has acknowledged: a copy
-- on disk, or a replica that has taken over, can lack the last deliveries. So what claims to be
-- complete is marked with the life of the server, and counts only while that lasts.
local life

local function life_of_server()
  if not life then
    life = table.concat(redis.call('TIME'), '.')
  end
  return life
end

local function now_ms()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- Returns score and member; no member = there is no such set.
local function floor_of(key)
  local last = redis.call('ZRANGE', key, -1, -1, 'WITHSCORES')
  return tonumber(last[2]), last[1]
end

-- Members that have this score and are behind this one, in order.
local function ties_behind(key, score, member)
  local ties = {}
  for _, tie in ipairs(redis.call('ZRANGE', key, score, score, 'BYSCORE')) do
    if is_member_behind(tie, member) then
      ties[#ties + 1] = tie
    end
  end
  return ties
end

local function trim(key, entries_max)
  redis.call('ZREMRANGEBYRANK', key, entries_max, -1)
end

-- A source in arguments, newest first: score and member of its floor (both empty = it is complete),
-- how many places, then score and member of each. Returns it and where the arguments go on.
local function source_at(args, at)
  local source = {floor_score = args[at], floor_member = args[at + 1], places = {}}
  local behind = at + 3 + 2 * args[at + 2]
  for place_at = at + 3, behind - 1, 2 do
    source.places[#source.places + 1] = {args[place_at], args[place_at + 1]}
  end
  return source, behind
end

-- Add what a source knows to a set that is there. What only one of the two knows of is behind the
-- nearer floor, and goes. Set and source are short enough to be one listpack in between.
local function merge(key, source, entries_max)
  local floor_score, floor_member = floor_of(key)
  local source_score = tonumber(source.floor_score)
  local is_nearer = source_score
    and is_behind(floor_score, floor_member, source_score, source.floor_member)
  if is_nearer then
    floor_score, floor_member = source_score, source.floor_member
  end
  local added = {}
  for _, place in ipairs(source.places) do
    if not is_behind(tonumber(place[1]), place[2], floor_score, floor_member) then
      added[#added + 1] = place[1]
      added[#added + 1] = place[2]
    end
  end
  if #added > 0 then
    redis.call('ZADD', key, unpack(added))
  end
  if is_nearer then
    redis.call('ZREMRANGEBYSCORE', key, '(' .. source.floor_score, '+inf')
    for _, member in ipairs(ties_behind(key, source.floor_score, floor_member)) do
      redis.call('ZREM', key, member)
    end
  end
  trim(key, entries_max)
end
