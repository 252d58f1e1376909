-- Look at the lease of one partition, claim it if it is free, or renew it; by the server's own clock.
--
-- KEYS[1] hash of the lease   ARGV[1] owner token   ARGV[2] lease length in ms
-- ARGV[3] 'look', 'claim' or 'renew'
-- ARGV[4] epoch held, for 'renew'; the highest that this owner ever held, for 'claim': a failover may have
--         lost the last claims, and no owner may have the same epoch twice
-- Returns {epoch if this owner holds the lease now, else 0; owner, '' where it is free; ms that it still has}.
if redis.replicate_commands then redis.replicate_commands() end
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local lease = redis.call('HMGET', KEYS[1], 'owner', 'epoch', 'until_ms')
local owner, epoch, left = lease[1] or '', lease[2] or '0', tonumber(lease[3] or '0') - now
local length = tonumber(ARGV[2])
if ARGV[3] == 'renew' and owner == ARGV[1] and epoch == ARGV[4] then
  -- Even past its end: nobody has taken it, so nobody has written.
  redis.call('HSET', KEYS[1], 'until_ms', string.format('%d', now + length))
  return { tonumber(epoch), owner, length }
end
if ARGV[3] == 'claim' and (left <= 0 or owner == '' or owner == ARGV[1]) then
  local raised = math.max(tonumber(epoch), tonumber(ARGV[4])) + 1
  redis.call('HSET', KEYS[1], 'owner', ARGV[1], 'epoch', string.format('%d', raised),
    'until_ms', string.format('%d', now + length))
  return { raised, ARGV[1], length }
end
if left <= 0 or owner == '' then
  return { 0, '', 0 }
end
return { 0, owner, left }
