-- Closes a tag for answers that depend on it, and returns these dependants. The caller must invalidate them before the
-- tag's invalidation counts as done.
--
-- A fetch that began before the tag is open again finds the mark, and stores nothing that depends on the tag. Intents of
-- writes in progress keep it closed. They are repeated here so that no script needs two keys: a script with two keys
-- cannot run while a slot of a Cluster moves.
--
-- KEYS[1] the tag's dependants, see depend.lua; also `w<id>`: the time until which an intent stands
-- ARGV: closed for ms; intent to set ('' none), its life in ms; intent to clear ('' none); for how many ms the mark is kept
--       once the tag is open (as long as a fetch may take whose answer is stored); maximum number of intents, the longest
--       life of a mark and of an intent in ms: a time further ahead was written before the clock was set back
-- Reply: {now in ms, 1 (0: Redis is full and did not store the mark), tag, tag, …}
local key = KEYS[1]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local names = redis.pcall('HKEYS', key)
if names.err then
  redis.call('UNLINK', key) -- not a hash, so not the proxy's: it blocks the key
  names = {}
end

local reply, standing = {now, 1}, 0
local shut = now + ARGV[1] -- without intents
local before = tonumber(string.match(redis.call('HGET', key, 'm') or '', '^(%d+) ') or '')
if before and before > shut and before <= now + ARGV[7] then shut = before end
local open = shut
for _, name in ipairs(names) do
  local kind = string.sub(name, 1, 1)
  if kind == 'd' then
    reply[#reply + 1] = string.sub(name, 2)
  elseif kind == 'w' then
    local ends = tonumber(redis.call('HGET', key, name)) or 0
    if name == 'w' .. ARGV[4] or ends <= now or ends > now + ARGV[8] then
      redis.call('HDEL', key, name)
    else
      standing = standing + 1
      open = math.max(open, ends)
    end
  end
end

-- Only a full server may refuse the write; any other refusal becomes the script's reply.
local refusal
local function set(field, value)
  local set = redis.pcall('HSET', key, field, value)
  if type(set) ~= 'table' or not set.err then return end
  reply[2] = 0
  if not string.find(set.err, 'OOM', 1, true) then refusal = set end
end

if ARGV[2] ~= '' then
  local intent, ends = 'w' .. ARGV[2], now + ARGV[3]
  if standing >= tonumber(ARGV[6]) then -- no room for another intent: extend the one that such writes share
    intent = 'w*'
    local common = tonumber(redis.call('HGET', key, intent)) or 0
    if common <= now + ARGV[8] then ends = math.max(ends, common) end
  end
  set(intent, string.format('%.0f', ends))
  open = math.max(open, ends)
end
set('m', string.format('%.0f %.0f', shut, open))
local life = open - now + ARGV[5]
if redis.call('PTTL', key) < life then redis.call('PEXPIRE', key, string.format('%.0f', life)) end
return refusal or reply
