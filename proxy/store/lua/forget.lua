-- Forgets dependants of a tag that were invalidated with it, except those that were registered again since.
--
-- KEYS[1] the tag's dependants; see depend.lua
-- ARGV: when the tag was invalidated, in ms of this server's clock; the dependants' tags
-- Reply: how many were forgotten
local key, count = KEYS[1], 0
for at = 2, #ARGV do
  local entered = redis.call('HGET', key, 'd' .. ARGV[at])
  if entered and (tonumber(string.match(entered, '^(%d+) ') or '') or 0) < tonumber(ARGV[1]) then
    count = count + redis.call('HDEL', key, 'd' .. ARGV[at])
  end
end
local known = tonumber(redis.call('HGET', key, 'n')) or 0
if count > 0 then redis.call('HSET', key, 'n', math.max(0, known - count)) end
return count
