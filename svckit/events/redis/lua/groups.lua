-- How the groups stand.
-- KEYS: groups, places, tails, stream of partition 0, 1, ...  ARGV: prefix of the keys of members.
-- Returns three for each group, by name: its name, members that are alive, events yet to do.
local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
local groups, reply = redis.call('SMEMBERS', KEYS[1]), {}
table.sort(groups)
for _, group in ipairs(groups) do
  local lag = 0
  for partition = 0, #KEYS - 4 do
    local place = redis.call('HGET', KEYS[2], group .. '/' .. partition) or '-0'
    local tail = redis.call('HGET', KEYS[3], tostring(partition)) or '-0'
    local behind = string.match(tail, '-(%d+)') - string.match(place, '-(%d+)')
    lag = lag + math.min(behind, redis.call('XLEN', KEYS[4 + partition]))
  end
  reply[#reply + 1] = group
  reply[#reply + 1] = redis.call('ZCOUNT', ARGV[1] .. group, '(' .. now_ms, '+inf')
  reply[#reply + 1] = lag
end
return reply
