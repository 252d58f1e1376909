-- Claim or renew the lease of one partition, by the server's own clock.
--
-- KEYS[1] hash of the lease   ARGV[1] owner token   ARGV[2] lease length in ms   ARGV[3] epoch held, or '' to claim
-- Returns the epoch when this owner holds the lease, or a negative number: the milliseconds that another
-- owner's lease still has (at least 1).
if redis.replicate_commands then redis.replicate_commands() end
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local lease = redis.call('HMGET', KEYS[1], 'owner', 'epoch', 'until_ms')
local epoch = tonumber(lease[2] or '0')
local until_ms = tonumber(lease[3] or '0')
if ARGV[3] ~= '' then
  if lease[1] == ARGV[1] and lease[2] == ARGV[3] then
    redis.call('HSET', KEYS[1], 'until_ms', string.format('%d', now + tonumber(ARGV[2])))
    return epoch
  end
  return -math.max(1, until_ms - now)
end
if until_ms > now and lease[1] ~= ARGV[1] then
  return -(until_ms - now)
end
epoch = epoch + 1
redis.call('HSET', KEYS[1], 'owner', ARGV[1], 'epoch', string.format('%d', epoch),
  'until_ms', string.format('%d', now + tonumber(ARGV[2])))
return epoch
