-- Removes every entry and every lease of some models, then marks them. Write intents that still stand are kept.
-- Notes of events that are due (`d` and the intent's id: until when it is kept) are kept by writes, answered by an event
-- (an `a` before it), and removed by whatever else invalidates: a note that is gone says nothing.
--
-- KEYS the models' hashes, all of one slot
-- ARGV: run id, new mark id, no lease for ms, intent to set ('' none), its life in ms, intent to clear ('' none),
--       most fields, the longest life of a mark and of an intent in ms: what lies further ahead is of a clock that was
--       set back since, and does not count; with the intent, for how many ms to note that its event is due ('' not)
-- Reply: how many entries went
local run = ARGV[1]
local write = ARGV[4] ~= '' or ARGV[6] ~= ''
local event = not write and tonumber(ARGV[3]) > 0
local MOST_DUE = 8
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

-- What the server refuses to us, and is the answer then.
local refusal

-- Nothing here needs memory: a full Redis must still delete. Answers how many entries went, how many intents stand,
-- until when no lease is given, how many events are due, and which of these have come.
local function remove(key)
  local names = redis.pcall('HKEYS', key)
  if names.err then
    if not string.find(names.err, 'WRONGTYPE', 1, true) then refusal = names end
    redis.call('UNLINK', key) -- not a hash: not ours, and in the way
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

-- A full server may refuse it, nobody else.
local function set(key, field, value)
  local reply = redis.pcall('HSET', key, field, value)
  if type(reply) == 'table' and reply.err and not string.find(reply.err, 'OOM', 1, true) then refusal = reply end
end

-- As far as there is memory. Every invalidation makes a new id: who shares a fetch on it shares one that began after
-- this. A write that finds no room for its own intent extends a common one.
local function mark(key, kept, till, due)
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
