-- What is known of the namespace's media events, of all proxies together; see proxy/amqp/silence.py for the rules.
--
-- KEYS a hash: h when an event was applied last, n how many writes since then are without their event, f when the first
--      of these ended, q 1 once that is a silence, i the id of this Redis
-- ARGV: ms since an event was applied ('' none), whether to judge ('1'), so many make a silence, the first of them so
--       many ms ago, an id for a Redis that has none, life in ms; then for each write without its event: ms since it
--       began, ms since it ended
-- Reply: 1 for a silence, ms since an event was applied (-1: never), the id
local key = KEYS[1]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local function number(name) return tonumber(redis.call('HGET', key, name)) or 0 end
local function set(name, value)
  redis.call('HSET', key, name, value)
  redis.call('PEXPIRE', key, ARGV[6])
end

local heard, missing, first, silent = number('h'), number('n'), number('f'), number('q')
if heard > now then heard = now end -- Redis' clock was set back
if ARGV[1] ~= '' then
  heard = math.max(heard, now - ARGV[1])
  missing, silent = 0, 0
  set('h', string.format('%.0f', heard))
  set('n', 0)
  set('q', 0)
end
for at = 7, #ARGV, 2 do
  if now - ARGV[at] > heard then
    missing = missing + 1
    if missing == 1 then first = now - ARGV[at + 1] end
    set('n', missing)
    set('f', string.format('%.0f', first))
  end
end
if silent == 0 and ARGV[2] == '1' and missing >= tonumber(ARGV[3]) and now - first >= tonumber(ARGV[4]) then
  silent = 1
  set('q', 1)
end
local id = redis.call('HGET', key, 'i')
if not id then
  id = ARGV[5]
  set('i', id)
end
return {silent, heard == 0 and -1 or now - heard, id}
