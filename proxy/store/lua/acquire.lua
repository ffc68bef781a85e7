-- Looks up one request once more. On a miss, grants its lease, names the lease's holder, or reports that no lease is
-- granted now.
--
-- KEYS[1] the model's hash
-- ARGV: field, run id, new token, lease in ms, earliest birth in ms (entries and leases older than this are ignored:
--       Redis was away then for the caller, and perhaps for the holder),
--       '1' to take over the lease without looking (cache-control: no-cache),
--       when events were lost ('' while they arrive) and for how many ms after that, or after its birth, an entry counts,
--       maximum number of fields, the longest life of a mark and of an intent in ms
-- A time further ahead than these maxima was written before the clock was set back, and what it belongs to is ignored.
-- Reply: {kind, value, now in ms}:
--   entry,  the stored bytes
--   lease,  the new token: fetch, then fill
--   held,   the holder's token
--   closed, the mark's id: fetches may be shared on it but store nothing; '' if no fetch may be shared
local key, field, run, token = KEYS[1], ARGV[1], ARGV[2], ARGV[3]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

if ARGV[6] ~= '1' then
  local entry = redis.call('HGET', key, 'e' .. field)
  if entry then
    local erun, born, fresh = string.match(entry, '^1 (%S+) (%d+) (%d+) ')
    local till, lost = tonumber(fresh), tonumber(ARGV[7])
    if till and lost then till = math.min(till, math.max(tonumber(born), lost) + ARGV[8]) end
    if erun == run and till > now and tonumber(born) >= tonumber(ARGV[5]) and tonumber(born) <= now then
      return {'entry', entry, now}
    end
    -- Left in place, it would become valid again once the clock has caught up with it.
    if born and tonumber(born) > now then redis.call('HDEL', key, 'e' .. field) end
  end
end

local names = redis.call('HKEYS', key)
local closed, share = false, ''
for _, name in ipairs(names) do
  local kind = string.sub(name, 1, 1)
  if kind == 'w' then
    local left = (tonumber(redis.call('HGET', key, name)) or 0) - now
    if left > 0 and left <= tonumber(ARGV[11]) then closed = true else redis.call('HDEL', key, name) end
  elseif name == 'm' then
    local mrun, id, till = string.match(redis.call('HGET', key, name), '^(%S+) (%S+) (%d+)$')
    -- A mark restored from a snapshot still closes the model, but its id may be older than later invalidations.
    if mrun == run then share = id end
    local left = (tonumber(till) or 0) - now
    if left > 0 and left <= tonumber(ARGV[10]) then closed = true end
  end
end
if closed then return {'closed', share, now} end

local function live(lease)
  local lrun, ltoken, granted, till = string.match(lease, '^(%S+) (%S+) (%d+) (%d+)$')
  if lrun ~= run or tonumber(granted) > now then return end
  if tonumber(till) > now and tonumber(granted) >= tonumber(ARGV[5]) then return ltoken end
end

local lease = redis.call('HGET', key, 'l' .. field)
if lease and ARGV[6] ~= '1' then
  local holder = live(lease)
  if holder then return {'held', holder, now} end
end

local count = #names
if not lease and count >= tonumber(ARGV[9]) then
  -- Expired leases are removed first, then any entry: evicting one costs a fetch, but never causes a wrong answer.
  local entries = {}
  for _, name in ipairs(names) do
    local kind = string.sub(name, 1, 1)
    if kind == 'l' then
      local value = redis.call('HGET', key, name)
      if value and not live(value) then count = count - redis.call('HDEL', key, name) end
    elseif kind == 'e' then
      entries[#entries + 1] = name
    end
  end
  if count >= tonumber(ARGV[9]) then
    if #entries == 0 then return {'closed', '', now} end
    redis.call('HDEL', key, entries[1 + time[2] % #entries])
  end
end

redis.call('HSET', key, 'l' .. field, string.format('%s %s %.0f %.0f', run, token, now, now + ARGV[4]))
if redis.call('PTTL', key) < ARGV[4] + 1000 then redis.call('PEXPIRE', key, ARGV[4] + 1000) end
return {'lease', token, now}
