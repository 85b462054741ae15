-- Append events to their partitions, in the order given, if this is still the memory with that epoch.
-- KEYS: epoch, tails, stream of partition 0, 1, ...
-- ARGV: epoch, then six for each event: partition, event id, lane, type, headers, payload.
-- Returns 1, or 0 in another memory.
--
-- An entry's id is <ms>-<n>: the time, which never steps back even if the clock does, and how many
-- entries the partition has had. Both rise for ever, so ids order the entries and tell how far two
-- of them are apart. Padded, they order as text.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 0
end
local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
for at = 2, #ARGV, 6 do
  local partition = ARGV[at]
  local ms, n = string.match(redis.call('HGET', KEYS[2], partition) or '0-0', '(%d+)-(%d+)')
  local id = string.format('%013d-%013d', math.max(now_ms, ms), n + 1)
  redis.call('XADD', KEYS[3 + partition], id, 'id', ARGV[at + 1], 'lane', ARGV[at + 2],
    'type', ARGV[at + 3], 'headers', ARGV[at + 4], 'payload', ARGV[at + 5])
  redis.call('HSET', KEYS[2], partition, id)
end
return 1
