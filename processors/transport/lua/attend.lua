-- Say that a worker is alive, by the server's own clock, and learn who else is.
--
-- KEYS[1] sorted set of workers by the end of their time   ARGV[1] owner token   ARGV[2] lease length in ms
-- Returns the live workers and, last, the milliseconds until the first of them is overdue.
if redis.replicate_commands then redis.replicate_commands() end
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local length = tonumber(ARGV[2])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('%d', now))
redis.call('ZADD', KEYS[1], string.format('%d', now + length), ARGV[1])
local first = redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')
local workers = redis.call('ZRANGE', KEYS[1], 0, -1)
workers[#workers + 1] = string.format('%d', tonumber(first[2]) - now)
return workers
