#!lua flags=allow-oom
-- Tell what this memory is, and note that it is alive; whose groups are expected is registered.
-- KEYS: epoch, partitions, groups, life.  ARGV: epoch if it needs one, partitions if not yet fixed, groups...
-- Returns epoch, partitions, the ms since which something may be missing (false: all may be), and the
-- policy if the server may evict streams, else false.
--
-- A server that has started, or taken over, has the memory of a disk or of another server, which
-- may be old. It gets another epoch, and keeps in mind when that memory was last seen alive: what
-- came before that is there.
local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
local info = redis.call('INFO', 'server', 'memory')
local server = string.match(info, 'run_id:(%x+)')
local known, alive_ms = unpack(redis.call('HMGET', KEYS[4], 'server', 'alive_ms'))
if known ~= server then
  redis.call('SET', KEYS[1], ARGV[1])
  redis.call('HSET', KEYS[4], 'server', server, 'complete_ms', alive_ms or '')
end
redis.call('HSET', KEYS[4], 'alive_ms', now_ms)
redis.call('SET', KEYS[2], ARGV[2], 'NX')
for at = 3, #ARGV do
  redis.call('SADD', KEYS[3], ARGV[at])
end
local complete_ms = tonumber(redis.call('HGET', KEYS[4], 'complete_ms'))
local may_evict = string.match(info, 'maxmemory:[1-9]')
return {
  redis.call('GET', KEYS[1]), tonumber(redis.call('GET', KEYS[2])),
  complete_ms and math.max(0, now_ms - complete_ms) or false,
  may_evict and string.match(info, 'maxmemory_policy:(allkeys%S+)') or false,
}
