-- Tells which of some tags' hashes may hold, or be about to hold, answers of a service.
--
-- KEYS the hashes, all of one slot
-- ARGV[1] how the fields of the service's requests begin (`proxy/calls/keys.py`)
-- Reply: a 1 for each key that does, else a 0
--
-- A mark says not whose fetches are shared by it, so a hash that has one counts for every service.
local reply = {}
for at, key in ipairs(KEYS) do
  local names = redis.pcall('HKEYS', key)
  reply[at] = 0
  if names.err then
    reply[at] = 1 -- not a hash: not ours, and in the way
    names = {}
  end
  for _, name in ipairs(names) do
    local kind = string.sub(name, 1, 1)
    if name == 'm' or ((kind == 'e' or kind == 'l') and string.sub(name, 2, 1 + #ARGV[1]) == ARGV[1]) then
      reply[at] = 1
      break
    end
  end
end
return reply
