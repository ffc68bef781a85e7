-- Lists what a model's hash holds, without the bodies: only the beginning of each value leaves Redis.
--
-- KEYS[1] the model's hash
-- ARGV: maximum number of fields (for a larger hash, only their number is returned), how many bytes of values to read,
--       how many bytes of each value to return
-- Reply: {now in ms, number of fields (-1: not a hash), ms until the key expires (-1: never, -2: no key),
--         name, length, beginning, name, length, beginning, …}; for values not read, length is -1 and the beginning ''
local time = redis.call('TIME')
local reply = {time[1] * 1000 + math.floor(time[2] / 1000), 0, redis.call('PTTL', KEYS[1])}
local names = redis.pcall('HKEYS', KEYS[1])
if names.err then
  reply[2] = -1
  return reply
end
reply[2] = #names
if #names > tonumber(ARGV[1]) then return reply end

local left = tonumber(ARGV[2])
for _, name in ipairs(names) do
  local length, beginning = -1, ''
  if left > 0 then
    local value = redis.call('HGET', KEYS[1], name)
    length = #value
    left = left - length
    beginning = string.sub(value, 1, tonumber(ARGV[3]))
  end
  reply[#reply + 1] = name
  reply[#reply + 1] = length
  reply[#reply + 1] = beginning
end
return reply
