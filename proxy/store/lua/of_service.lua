-- Finds which of some tags' hashes hold answers of a service, or may soon hold one.
--
-- KEYS the hashes, all in one slot
-- ARGV[1] the prefix of the fields of the service's requests (`proxy/calls/keys.py`)
-- Reply: for each key, 1 if it does, else 0
--
-- A mark does not say which services' fetches are shared on it, so a hash with a mark counts for every service.
local reply = {}
for at, key in ipairs(KEYS) do
  local names = redis.pcall('HKEYS', key)
  reply[at] = 0
  if names.err then
    reply[at] = 1 -- not a hash, so not the proxy's: it blocks the key
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
