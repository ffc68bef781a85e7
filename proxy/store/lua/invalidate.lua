-- Removes every entry and every lease of some models, then marks them. Write intents that still stand are kept.
-- A note says that a write's event is due: its field is `d` and the intent's id, its value the time until which it is
-- kept. Writes keep notes, an event answers them (it puts an `a` before the value), and all other invalidations remove
-- them: nothing is concluded from a missing note.
--
-- KEYS the models' hashes, all in one slot
-- ARGV: run id, new mark id, no lease for ms, intent to set ('' none), its life in ms, intent to clear ('' none),
--       maximum number of fields, the longest life of a mark and of an intent in ms (a time further ahead was written
--       before the clock was set back, and is ignored); if an intent is set, for how many ms to keep a note of its event
--       ('' no note)
-- Reply: how many entries were removed
local run = ARGV[1]
local write = ARGV[4] ~= '' or ARGV[6] ~= ''
local event = not write and tonumber(ARGV[3]) > 0
local MOST_DUE = 8
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

-- An error of the server other than want of memory; it becomes the script's reply.
local refusal

-- Deleting needs no memory, because a full Redis must still be able to do it. Returns how many entries were removed, how
-- many intents stand, until when no lease is granted, and how many events are due.
local function remove(key)
  local names = redis.pcall('HKEYS', key)
  if names.err then
    if not string.find(names.err, 'WRONGTYPE', 1, true) then refusal = names end
    redis.call('UNLINK', key) -- not a hash, so not the proxy's: it blocks the key
    names = {}
  end
  local entries, kept, till, due = 0, 0, now + ARGV[3], 0
  local doomed, come = {}, {}
  for _, name in ipairs(names) do
    local kind = string.sub(name, 1, 1)
    local keep = false
    if kind == 'w' and name ~= 'w' .. ARGV[6] then
      local left = (tonumber(redis.call('HGET', key, name)) or 0) - now
      keep = left > 0 and left <= tonumber(ARGV[9])
    elseif name == 'm' then
      local old = tonumber(string.match(redis.call('HGET', key, name), '^%S+ %S+ (%d+)$') or '')
      if old and old > till and old <= now + ARGV[8] then till = old end
    elseif kind == 'd' and (write or event) then
      local noted = redis.call('HGET', key, name)
      local ends = tonumber(string.match(noted, '%d+$')) or 0
      keep = ends > now and ends <= now + 2 * ARGV[9]
      if keep then due = due + 1 end
      if keep and event and string.sub(noted, 1, 1) ~= 'a' then come[#come + 1] = {name, 'a' .. noted} end
    end
    if not keep then doomed[#doomed + 1] = name elseif kind == 'w' then kept = kept + 1 end
    if kind == 'e' then entries = entries + 1 end
  end
  for at = 1, #doomed, 1000 do
    redis.call('HDEL', key, unpack(doomed, at, math.min(at + 999, #doomed)))
  end
  for _, each in ipairs(come) do
    local reply = redis.pcall('HSET', key, each[1], each[2])
    if type(reply) == 'table' and reply.err then redis.call('HDEL', key, each[1]) end
  end
  return entries, kept, till, due
end

-- Only a full server may refuse the write; any other refusal becomes the script's reply.
local function set(key, field, value)
  local reply = redis.pcall('HSET', key, field, value)
  if type(reply) == 'table' and reply.err and not string.find(reply.err, 'OOM', 1, true) then refusal = reply end
end

-- Writes the mark and the intent, if there is memory. Every invalidation makes a new id, so callers that share a fetch on
-- it share one that began after this. A write that finds no room for its own intent extends the one such writes share.
local function mark(key, kept, till, due)
  local life = till - now
  if ARGV[4] ~= '' then
    local intent = 'w' .. ARGV[4]
    local ends = now + ARGV[5]
    if kept + 2 >= tonumber(ARGV[7]) then -- two fields are reserved: the mark and the shared intent
      intent = 'w*'
      local common = tonumber(redis.call('HGET', key, intent)) or 0
      if common <= now + ARGV[9] then ends = math.max(ends, common) end
    end
    set(key, intent, string.format('%.0f', ends))
    kept = kept + 1
    life = math.max(life, ends - now)
    if (ARGV[10] or '') ~= '' and due < MOST_DUE then
      set(key, 'd' .. ARGV[4], string.format('%.0f', now + ARGV[10]))
      life = math.max(life, tonumber(ARGV[10]))
    end
  end
  if kept > 0 or till > now then
    set(key, 'm', string.format('%s %s %.0f', run, ARGV[2], till))
    if redis.call('PTTL', key) < life + 1000 then redis.call('PEXPIRE', key, string.format('%.0f', life + 1000)) end
  end
end

local removed = 0
for _, key in ipairs(KEYS) do
  local entries, kept, till, due = remove(key)
  removed = removed + entries
  mark(key, kept, till, due)
end
return refusal or removed
