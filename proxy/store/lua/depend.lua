-- Registers an answer's tag as a dependant of other tags, and returns how long ago each of these was last closed.
--
-- Both happen atomically: a later invalidation finds the dependant, and an earlier one has left its mark.
--
-- KEYS the dependants of the tags, one hash each, all in one slot: `d<tag>` a dependant: when it was registered and until
--      when it is kept, `n` their number, `p` when expired dependants are next removed; `m` the times until which the tag
--      is closed, without intents and with them (see close.lua)
-- ARGV: the answer's tag, for how many ms it is kept, maximum number of dependants of a tag, the longest life of an intent
--       in ms: a mark further ahead was written before the clock was set back
-- Reply for each key: ms since the tag was open again (0 or less: it is still closed), '' if it was not closed while
--       marks are kept, 'full' if it has no room for another dependant
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local member = 'd' .. ARGV[1]
local function number(key, field) return tonumber(redis.call('HGET', key, field)) or 0 end

-- Removes expired dependants if the hash is full, at most once a minute because it looks at all of them.
local function room(key)
  local count = number(key, 'n')
  if count < tonumber(ARGV[3]) then return count end
  local due = number(key, 'p')
  if now < due and due <= now + 60000 then return end
  count = 0
  for _, name in ipairs(redis.call('HKEYS', key)) do
    if string.sub(name, 1, 1) == 'd' then
      local till = tonumber(string.match(redis.call('HGET', key, name), ' (%d+)$') or '') or 0
      if till <= now then redis.call('HDEL', key, name) else count = count + 1 end
    end
  end
  redis.call('HSET', key, 'n', count)
  redis.call('HSET', key, 'p', string.format('%.0f', now + 60000))
  if count < tonumber(ARGV[3]) then return count end
end

local function enter(key)
  local known = redis.call('HGET', key, member)
  if not known then
    local count = room(key)
    if not count then return end
    redis.call('HSET', key, 'n', count + 1)
  end
  local till = math.max(now + ARGV[2], tonumber(string.match(known or '', ' (%d+)$') or '') or 0)
  redis.call('HSET', key, member, string.format('%.0f %.0f', now, till))
  if redis.call('PTTL', key) < till - now + 1000 then redis.call('PEXPIRE', key, string.format('%.0f', till - now + 1000)) end
  return true
end

local reply = {}
for at, key in ipairs(KEYS) do
  local shut, open = string.match(redis.call('HGET', key, 'm') or '', '^(%d+) (%d+)$')
  local mark = tonumber(open or '')
  if mark and mark > now + ARGV[4] then
    mark = now
    redis.call('HSET', key, 'm', string.format('%.0f %.0f', math.min(shut, now), now))
  end
  reply[at] = enter(key) and (mark and now - mark or '') or 'full'
end
return reply
