-- Tells what depends on a tag, and the answers stored under it of which somebody wants to know what they depend on.
--
-- KEYS the tag's hash; what depends on the tag: `d<tag>` a dependant, when it was entered and until when it is kept
-- ARGV[1] the most dependants that are named, then fields of the tag's hash
-- Reply: how many dependants there are, the names and the ms for which each is kept still, the values of the fields
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local count, named = 0, {}
local found = redis.pcall('HGETALL', KEYS[2])
for at = 1, #found, 2 do
  local left = (tonumber(string.match(found[at + 1], ' (%d+)$') or '') or 0) - now
  if string.sub(found[at], 1, 1) == 'd' and left > 0 then
    count = count + 1
    if count <= tonumber(ARGV[1]) then
      named[#named + 1] = string.sub(found[at], 2)
      named[#named + 1] = left
    end
  end
end
local values = {}
for at = 2, #ARGV do
  local value = redis.pcall('HGET', KEYS[1], ARGV[at])
  values[#values + 1] = type(value) == 'string' and value or ''
end
return {count, named, values}
