#!lua flags=allow-oom
-- Renew a member's leases, and take what is free up to its fair share of the partitions.
-- KEYS: epoch, groups, members, leases, places, tails, stream of partition 0, 1, ...
-- ARGV: epoch, group, member, lease in ms, highest token the member knows of,
--       then two for each partition that it holds: partition, token.
-- Returns its share, then four for each lease that it has now: partition, token, place, lag;
-- nothing in another memory.
--
-- A lease is '<token> <end in ms> <owner>' and stays when it has ended: the next token must be
-- higher. Tokens are the time too, so that they keep rising when this memory is emptied. A member
-- that no longer knows of a lease of its own gets it anew, with a new token. What ends later than
-- a lease that is given now was given before the clock stepped back: nobody waits for it longer.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return {}
end
local group, member = ARGV[2], ARGV[3]
local partitions = #KEYS - 6
local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
local end_ms = now_ms + ARGV[4]

redis.call('SADD', KEYS[2], group)
redis.call('ZADD', KEYS[3], end_ms, member)
redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', now_ms)
local members = redis.call('ZRANGE', KEYS[3], 0, -1)
for _, each in ipairs(members) do
  redis.call('ZADD', KEYS[3], 'LT', end_ms, each)
end
table.sort(members)
local share = math.floor(partitions / #members)
for rank = 1, partitions % #members do
  if members[rank] == member then
    share = share + 1
  end
end

local held = {}
for at = 6, #ARGV, 2 do
  held[ARGV[at]] = ARGV[at + 1]
end
local reply, mine, free = {share}, 0, {}

local function lend(partition, token, owner)
  local lease = string.format('%d %d %s', token, end_ms, owner)
  redis.call('HSET', KEYS[4], group .. '/' .. partition, lease)
end

local function hold(partition, token)
  lend(partition, token, member)
  local place = redis.call('HGET', KEYS[5], group .. '/' .. partition)
    or string.format('%013d-%013d', 0, 0)
  local tail = redis.call('HGET', KEYS[6], tostring(partition)) or '0-0'
  local behind = string.match(tail, '-(%d+)') - string.match(place, '-(%d+)')
  mine = mine + 1
  reply[#reply + 1] = partition
  reply[#reply + 1] = tonumber(token)
  reply[#reply + 1] = place
  reply[#reply + 1] = math.min(behind, redis.call('XLEN', KEYS[7 + partition]))
end

for partition = 0, partitions - 1 do
  local lease = redis.call('HGET', KEYS[4], group .. '/' .. partition) or '0 0 '
  local token, ends_ms, owner = string.match(lease, '(%d+) (%d+) (.*)')
  if owner == member and held[tostring(partition)] == token then
    hold(partition, token)
  elseif owner == member or tonumber(ends_ms) <= now_ms then
    free[#free + 1] = {partition, math.max(token + 1, now_ms, ARGV[5] + 1)}
  elseif tonumber(ends_ms) > end_ms then
    lend(partition, token, owner)
  end
end
for _, each in ipairs(free) do
  if mine < share then
    hold(each[1], each[2])
  end
end
return reply
