-- One commit of one partition: fence, check everything that can fail, then write. Redis never rolls
-- back, so no write comes before the last check.
--
-- KEYS[1]  hash of the lease: fields owner, epoch
-- KEYS[2]  hash of the offset: field commit
-- KEYS[3…] whatever the operations name by index
-- ARGV[1]  owner token    ARGV[2]  epoch
-- ARGV[3]  the commit that this one follows (0 for the first)
-- ARGV[4…] operations, each: command, key index, field of the offset hash for the reply or '', number of
--           arguments, arguments
local lease = redis.call('HMGET', KEYS[1], 'owner', 'epoch')
if lease[1] ~= ARGV[1] or lease[2] ~= ARGV[2] then
  return redis.error_reply('FENCED partition is owned by ' .. tostring(lease[1]) .. ' in epoch ' .. tostring(lease[2]))
end
local before = redis.call('HGET', KEYS[2], 'commit') or '0'
if before ~= ARGV[3] then
  return redis.error_reply('OUTOFSTEP the last commit is ' .. before .. ', not ' .. ARGV[3])
end

local kinds = {
  HSET = 'hash', HDEL = 'hash', HINCRBY = 'hash', XADD = 'stream', ZADD = 'zset', PEXPIREAT = 'any', DEL = 'any',
  XGROUP = 'stream',
}
-- How many arguments one call may carry: Lua's stack is bounded. Zero: never split.
local slices = { HSET = 4000, HDEL = 4000, ZADD = 4000, XADD = 0, HINCRBY = 0, PEXPIREAT = 0, DEL = 0, XGROUP = 0 }
local at = 4
while at <= #ARGV do
  local command, key, count = ARGV[at], KEYS[tonumber(ARGV[at + 1])], tonumber(ARGV[at + 3])
  local kind = kinds[command]
  if not kind or not key or not count or at + 3 + count > #ARGV then
    return redis.error_reply('BADOP ' .. tostring(command) .. ' at argument ' .. at)
  end
  if kind ~= 'any' then
    local found = redis.call('TYPE', key).ok
    if found ~= 'none' and found ~= kind then
      return redis.error_reply('WRONGKIND ' .. key .. ' holds a ' .. found .. ', ' .. command .. ' needs a ' .. kind)
    end
  end
  at = at + 4 + count
end

at = 4
while at <= #ARGV do
  local command, key, record, count = ARGV[at], KEYS[tonumber(ARGV[at + 1])], ARGV[at + 2], tonumber(ARGV[at + 3])
  local first, last, slice = at + 4, at + 3 + count, slices[command]
  local reply
  if command == 'XGROUP' then
    -- A mirror for tools. The group may have been dropped by hand: that must not stop a commit half-way.
    redis.pcall('XGROUP', ARGV[first], key, unpack(ARGV, first + 1, last))
  elseif slice == 0 then
    reply = redis.call(command, key, unpack(ARGV, first, last))
  else
    for from = first, last, slice do
      reply = redis.call(command, key, unpack(ARGV, from, math.min(from + slice - 1, last)))
    end
  end
  if record ~= '' then
    redis.call('HSET', KEYS[2], record, reply)
  end
  at = last + 1
end
redis.call('HSET', KEYS[2], 'commit', string.format('%d', tonumber(before) + 1))
return redis.status_reply('OK')
