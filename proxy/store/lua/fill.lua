-- Stores an answer if the caller still holds the lease.
--
-- KEYS[1] the model's hash
-- ARGV: field, run id, token, fresh for ms, stale allowance in ms, usable until (ms since 1970, '' no limit),
--       usable for ms ('' no limit), the entry's tail
-- Reply: 1 stored, 0 refused (the lease was invalidated or taken over, or was granted before the clock was set back) or
--        already expired
local key, field = KEYS[1], ARGV[1]
local lease = redis.call('HGET', key, 'l' .. field)
if not lease then return 0 end
local run, token, granted = string.match(lease, '^(%S+) (%S+) (%d+) %d+$')
if run ~= ARGV[2] or token ~= ARGV[3] then return 0 end
redis.call('HDEL', key, 'l' .. field)

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local fresh = granted + ARGV[4]
local stale = fresh + ARGV[5]
-- A presigned URL has two bounds, in case clocks disagree: the date written in it, and its life counted on this clock.
if ARGV[6] ~= '' then fresh = math.min(fresh, tonumber(ARGV[6])) stale = math.min(stale, tonumber(ARGV[6])) end
if ARGV[7] ~= '' then fresh = math.min(fresh, granted + ARGV[7]) stale = math.min(stale, granted + ARGV[7]) end
if fresh <= now or tonumber(granted) > now then
  redis.call('HDEL', key, 'e' .. field)
  return 0
end

redis.call('HSET', key, 'e' .. field, string.format('1 %s %s %.0f %.0f ', run, granted, fresh, stale) .. ARGV[8])
if redis.call('PTTL', key) < stale - now + 1000 then redis.call('PEXPIRE', key, string.format('%.0f', stale - now + 1000)) end
return 1
