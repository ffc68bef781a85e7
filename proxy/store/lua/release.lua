-- Releases a lease that will not be filled, if the caller still holds it, so that the next reader need not wait for it.
--
-- KEYS[1] the model's hash; ARGV: field, run id, token. Reply: 1 released, 0 the caller no longer held it
local lease = redis.call('HGET', KEYS[1], 'l' .. ARGV[1])
if not lease then return 0 end
local run, token = string.match(lease, '^(%S+) (%S+) ')
if run ~= ARGV[2] or token ~= ARGV[3] then return 0 end
return redis.call('HDEL', KEYS[1], 'l' .. ARGV[1])
