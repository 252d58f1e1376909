-- One commit of one partition: fence, check everything that can fail, then write. Redis never rolls
-- back, so no write comes before the last check.
--
-- KEYS[1]  hash of the lease: fields owner, epoch
-- KEYS[2]  hash of the offset: field commit
-- KEYS[3…] whatever the operations name by index
-- ARGV[1]  owner token    ARGV[2]  epoch
-- ARGV[3]  the commit that this one follows (0 for the first)
-- ARGV[4…] operations, each: command, key index, field of the offset hash for the reply or '' (XADD only),
--           number of arguments, arguments
local lease = redis.call('HMGET', KEYS[1], 'owner', 'epoch')
if lease[1] ~= ARGV[1] or lease[2] ~= ARGV[2] then
  return redis.error_reply('FENCED partition is owned by ' .. tostring(lease[1]) .. ' in epoch ' .. tostring(lease[2]))
end
local before = redis.call('HGET', KEYS[2], 'commit') or '0'
if before ~= ARGV[3] then
  return redis.error_reply('OUTOFSTEP the last commit is ' .. before .. ', not ' .. ARGV[3])
end

local function whole(text)
  return string.find(text, '^%-?%d+$') ~= nil and #text <= 18
end
local function score(text)
  local number = tonumber(text)
  return number ~= nil and number == number and not string.find(text, '%s')
end
-- Of each command: what it needs its key to hold, how many arguments one call may carry (Lua's stack is
-- bounded; 0: it is never split), and what its arguments must be.
local commands = {
  HSET = { kind = 'hash', slice = 4000, fits = function(_, _, n) return n > 0 and n % 2 == 0 end },
  HDEL = { kind = 'hash', slice = 4000, fits = function(_, _, n) return n > 0 end },
  HINCRBY = { kind = 'hash', slice = 0, fits = function(key, from, n)
    return n == 2 and whole(ARGV[from + 1]) and whole(redis.call('HGET', key, ARGV[from]) or '0')
  end },
  XADD = { kind = 'stream', slice = 0, fits = function(_, from, n)
    return n >= 3 and n % 2 == 1 and n <= 7001 and ARGV[from] == '*'
  end },
  ZADD = { kind = 'zset', slice = 4000, fits = function(_, from, n)
    for at = from, from + n - 1, 2 do
      if not score(ARGV[at]) then return false end
    end
    return n > 0 and n % 2 == 0
  end },
  ZREM = { kind = 'zset', slice = 4000, fits = function(_, _, n) return n > 0 end },
  PEXPIREAT = { slice = 0, fits = function(_, from, n) return n == 1 and whole(ARGV[from]) end },
  DEL = { slice = 0, fits = function(_, _, n) return n == 0 end },
  -- No write: the stream must still hold this entry, or it is not the stream that was read.
  EXPECT = { slice = 0, fits = function(key, from, n)
    return n == 1 and #redis.call('XRANGE', key, ARGV[from], ARGV[from], 'COUNT', 1) == 1
  end },
  XGROUP = { kind = 'stream', slice = 0, fits = function(_, _, n) return n >= 2 and n < 10 end },
}
-- What each key holds, or will: two operations of one commit may name the same new key.
local holds = { [KEYS[1]] = 'hash', [KEYS[2]] = 'hash' }
local at = 4
while at <= #ARGV do
  local name, key, count = ARGV[at], KEYS[tonumber(ARGV[at + 1])], tonumber(ARGV[at + 3])
  local command = commands[name]
  if not command or not key or not count or at + 3 + count > #ARGV or (ARGV[at + 2] ~= '' and name ~= 'XADD') then
    return redis.error_reply('BADOP ' .. tostring(name) .. ' at argument ' .. at)
  end
  if command.kind then
    local found = holds[key] or redis.call('TYPE', key).ok
    if found ~= 'none' and found ~= command.kind then
      return redis.error_reply('WRONGKIND ' .. key .. ' holds a ' .. found .. ', ' .. name .. ' needs a ' .. command.kind)
    end
    holds[key] = command.kind
  end
  if not command.fits(key, at + 4, count) then
    if name == 'EXPECT' then
      return redis.error_reply('DAMAGED ' .. key .. ' does not hold ' .. tostring(ARGV[at + 4]))
    end
    return redis.error_reply('BADOP ' .. name .. ' on ' .. key .. ' can not take its ' .. count .. ' arguments')
  end
  at = at + 4 + count
end

at = 4
while at <= #ARGV do
  local name, key, record, count = ARGV[at], KEYS[tonumber(ARGV[at + 1])], ARGV[at + 2], tonumber(ARGV[at + 3])
  local first, last, slice = at + 4, at + 3 + count, commands[name].slice
  local reply
  if name == 'EXPECT' then
    reply = ''
  elseif name == 'XGROUP' then
    -- A mirror for tools. The group may have been dropped by hand: that must not stop a commit half-way.
    redis.pcall('XGROUP', ARGV[first], key, unpack(ARGV, first + 1, last))
  elseif slice == 0 then
    reply = redis.call(name, key, unpack(ARGV, first, last))
  else
    for from = first, last, slice do
      reply = redis.call(name, key, unpack(ARGV, from, math.min(from + slice - 1, last)))
    end
  end
  if record ~= '' then
    redis.call('HSET', KEYS[2], record, reply)
  end
  at = last + 1
end
redis.call('HSET', KEYS[2], 'commit', string.format('%d', tonumber(before) + 1))
return redis.status_reply('OK')
