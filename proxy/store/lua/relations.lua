-- Returns the dependants of a tag, and some of the answers stored under the tag.
--
-- KEYS the tag's hash; its dependants: `d<tag>` a dependant, when it was registered and until when it is kept
-- ARGV: maximum number of dependants to name, then fields of the tag's hash
-- Reply: {number of dependants, {tag, ms until it is forgotten, …}, {value of each field, '' if there is none}}
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
