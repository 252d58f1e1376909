-- Give a lease back, so that the next owner need not wait for its end. The epoch stays: it only rises.
--
-- KEYS[1] hash of the lease   ARGV[1] owner token   ARGV[2] epoch
local lease = redis.call('HMGET', KEYS[1], 'owner', 'epoch')
if lease[1] == ARGV[1] and lease[2] == ARGV[2] then
  redis.call('HSET', KEYS[1], 'until_ms', '0', 'owner', '')
  return 1
end
return 0
