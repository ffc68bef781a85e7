-- Records what all proxies together know about the namespace's media events; proxy/amqp/silence.py has the rules.
--
-- KEYS[1] a hash: h when an event was last applied; n how many writes since then lack their event, f when the first of
--      these ended, q 1 once that is a silence; i the id of this Redis; o whether each of the last writes had an event of
--      its own ('1' or '0'), ot when the last outcome was reported, ou when the last '0' was, op 1 once that is a partial
--      silence; e, et, eu, ep the same for events: whether each of the last ones named what it changed
-- ARGV: ms since an event was applied ('' none); how many ms ago the first such write must have ended to make a silence
--       ('' the caller may not declare one), how many such writes it takes, and how many ms ago the first must have ended
--       to be overdue; an id for a Redis that has none; life in ms; the latest outcomes ('1' and '0') of writes, and of
--       events; then for each write without its event: ms since it began, ms since it ended
-- Reply: 1 for a silence, ms since an event was applied (-1: never), the id, 1 for a partial silence, 1 if events are
--       overdue but not yet a silence, 1 if this call has ended a silence or overdue events
local key = KEYS[1]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local function number(name) return tonumber(redis.call('HGET', key, name)) or 0 end
local function set(name, value)
  redis.call('HSET', key, name, value)
  redis.call('PEXPIRE', key, ARGV[6])
end

local heard, missing, first, silent = number('h'), number('n'), number('f'), number('q')
local function ended_before(ms) return missing >= tonumber(ARGV[3]) and now - first >= tonumber(ms) end
local ended = 0
if heard > now then heard = now end -- Redis' clock was set back
if ARGV[1] ~= '' then
  if silent == 1 or ended_before(ARGV[4]) then ended = 1 end
  heard = math.max(heard, now - ARGV[1])
  missing, silent = 0, 0
  set('h', string.format('%.0f', heard))
  set('n', 0)
  set('q', 0)
end
for at = 9, #ARGV, 2 do
  if now - ARGV[at] > heard then
    missing = missing + 1
    if missing == 1 then first = now - ARGV[at + 1] end
    set('n', missing)
    set('f', string.format('%.0f', first))
  end
end
if silent == 0 and ARGV[2] ~= '' and ended_before(ARGV[2]) then
  silent = 1
  set('q', 1)
end

-- A partial silence: at least ARGV[3] of the last AMONG outcomes were bad. It ends when the last 2 * AMONG outcomes were
-- all good, or when there was no bad one for an hour. Outcomes older than an hour are dropped too.
local AMONG, HOUR = 15, 3600000
local function in_part(name, latest, bad_ones)
  local was, at, bad_at, state = redis.call('HGET', key, name) or '', name .. 't', name .. 'u', name .. 'p'
  local outcomes, part = was, number(state)
  if was ~= '' and now - number(part == 1 and bad_at or at) > HOUR then outcomes, part = '', 0 end
  if latest ~= '' then
    outcomes = string.sub(outcomes .. latest, -2 * AMONG)
    set(at, string.format('%.0f', now))
    if string.find(latest, '0', 1, true) then set(bad_at, string.format('%.0f', now)) end
  end
  local _, bad = string.gsub(string.sub(outcomes, -AMONG), bad_ones, '')
  if part == 0 and bad >= tonumber(ARGV[3]) then
    part = 1
  elseif part == 1 and #outcomes == 2 * AMONG and not string.find(outcomes, '0', 1, true) then
    part, outcomes = 0, ''
  end
  if outcomes ~= was then set(name, outcomes) end
  if part ~= number(state) then set(state, part) end
  return part
end
-- A run of unreadable events may be everything that arrived for a while, so it counts once.
local part = math.max(in_part('o', ARGV[7], '0'), in_part('e', ARGV[8], '0+'))

local id = redis.call('HGET', key, 'i')
if not id then
  id = ARGV[5]
  set('i', id)
end
local overdue = silent == 0 and ended_before(ARGV[4]) and 1 or 0
return {silent, heard == 0 and -1 or now - heard, id, part, overdue, ended}
