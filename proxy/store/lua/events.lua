-- What is known of the namespace's media events, of all proxies together; see proxy/amqp/silence.py for the rules.
--
-- KEYS a hash: h when an event was applied last, n how many writes since then are without their event, f when the first
--      of these ended, q 1 once that is a silence, i the id of this Redis; o whether each of the last writes had an event
--      of its own ('1', '0'), ot when the last of them was told, ou when the last '0' was, op 1 once that is a silence in
--      part; e, et, eu, ep the same of whether the last events named what they changed
-- ARGV: ms since an event was applied ('' none), before how many ms the first of them must have ended to be a silence
--       ('' nobody may say so), how many it takes, and before how many ms to be overdue, an id for a Redis that has none,
--       life in ms, the latest '1' and '0' of writes, of events; then for each write without its event: ms since it
--       began, ms since it ended
-- Reply: 1 for a silence, ms since an event was applied (-1: never), the id, 1 for a silence in part, 1 where they are
--       overdue and no silence, 1 when this call has ended one of these
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

-- In part: so many of the last few. Ended when twice as many in a row were good ones, or none was bad for an hour; what is
-- older than that says nothing either.
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
-- Events that cannot be read and come in a row are all that came for a while, and count once.
local part = math.max(in_part('o', ARGV[7], '0'), in_part('e', ARGV[8], '0+'))

local id = redis.call('HGET', key, 'i')
if not id then
  id = ARGV[5]
  set('i', id)
end
local overdue = silent == 0 and ended_before(ARGV[4]) and 1 or 0
return {silent, heard == 0 and -1 or now - heard, id, part, overdue, ended}
