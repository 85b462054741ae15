-- Count one request under several limits of one subject, or under none if it is over one of them.
-- KEYS: one for each limit.   ARGV: for each limit: interval and period, in microseconds.
-- Returns the recovery of each limit after the request, in microseconds; or, if it is refused, the
-- negative number of the limit that refuses, its recovery, and when to try again.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local recoveries = {}
for number, key in ipairs(KEYS) do
  local interval, period = tonumber(ARGV[2 * number - 1]), tonumber(ARGV[2 * number])
  local recovery = math.max(0, (tonumber(redis.call('GET', key)) or 0) - now)
  if recovery + interval > period then
    return {-number, recovery, recovery + interval - period}
  end
  recoveries[number] = recovery + interval
end
for number, key in ipairs(KEYS) do
  local at = string.format('%.0f', now + recoveries[number])
  redis.call('SET', key, at, 'PX', math.ceil(recoveries[number] / 1000))
end
return recoveries
