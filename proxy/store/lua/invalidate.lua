-- Removes every entry and every lease of some models, then marks them. Write intents that still stand are kept.
--
-- KEYS the models' hashes, all of one slot
-- ARGV: run id, new mark id, no lease for ms, intent to set ('' none), its life in ms, intent to clear ('' none),
--       most fields, the longest life of a mark and of an intent in ms: what lies further ahead is of a clock that was
--       set back since, and does not count
-- Reply: how many entries went
local run = ARGV[1]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

-- Nothing here needs memory: a full Redis must still delete. Answers how many entries went, how many intents stand,
-- and until when no lease is given.
local function remove(key)
  local names = redis.pcall('HKEYS', key)
  if names.err then
    redis.call('UNLINK', key) -- not a hash: not ours, and in the way
    names = {}
  end
  local entries, kept, till = 0, 0, now + ARGV[3]
  local doomed = {}
  for _, name in ipairs(names) do
    local kind = string.sub(name, 1, 1)
    local keep = false
    if kind == 'w' and name ~= 'w' .. ARGV[6] then
      local left = (tonumber(redis.call('HGET', key, name)) or 0) - now
      keep = left > 0 and left <= tonumber(ARGV[9])
    elseif name == 'm' then
      local old = tonumber(string.match(redis.call('HGET', key, name), '^%S+ %S+ (%d+)$') or '')
      if old and old > till and old <= now + ARGV[8] then till = old end
    end
    if keep then kept = kept + 1 else doomed[#doomed + 1] = name end
    if kind == 'e' then entries = entries + 1 end
  end
  for at = 1, #doomed, 1000 do
    redis.call('HDEL', key, unpack(doomed, at, math.min(at + 999, #doomed)))
  end
  return entries, kept, till
end

-- A full server may refuse it, nobody else: then the answer is the refusal.
local refusal
local function set(key, field, value)
  local reply = redis.pcall('HSET', key, field, value)
  if type(reply) == 'table' and reply.err and not string.find(reply.err, 'OOM', 1, true) then refusal = reply end
end

-- As far as there is memory. Every invalidation makes a new id: who shares a fetch on it shares one that began after
-- this. A write that finds no room for its own intent extends a common one.
local function mark(key, kept, till)
  local life = till - now
  if ARGV[4] ~= '' then
    local intent = 'w' .. ARGV[4]
    local ends = now + ARGV[5]
    if kept + 2 >= tonumber(ARGV[7]) then -- one more is the mark, one the common intent
      intent = 'w*'
      local common = tonumber(redis.call('HGET', key, intent)) or 0
      if common <= now + ARGV[9] then ends = math.max(ends, common) end
    end
    set(key, intent, string.format('%.0f', ends))
    kept = kept + 1
    life = math.max(life, ends - now)
  end
  if kept > 0 or till > now then
    set(key, 'm', string.format('%s %s %.0f', run, ARGV[2], till))
    if redis.call('PTTL', key) < life + 1000 then redis.call('PEXPIRE', key, string.format('%.0f', life + 1000)) end
  end
end

local removed = 0
for _, key in ipairs(KEYS) do
  local entries, kept, till = remove(key)
  removed = removed + entries
  mark(key, kept, till)
end
return refusal or removed
