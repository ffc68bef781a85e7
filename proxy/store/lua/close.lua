-- Closes a tag for answers that depend on it, and tells which do: whoever asked invalidates them before this counts.
--
-- A fetch that began before the tag is open again finds the mark, and stores nothing that depends on the tag. Intents of
-- writes under way keep it closed; they stand here once more, so that no script needs two keys: while a slot of a Cluster
-- moves, none may.
--
-- KEYS[1] what depends on the tag, see depend.lua; besides `w<id>` until when an intent stands
-- ARGV: '1', or '0' to do nothing where nothing is known of the tag (a policy without further tags); closed for ms; intent
--       to set ('' none), its life in ms; intent to clear ('' none); for how many ms the mark is kept once the tag is open:
--       as long as a fetch may take whose answer is stored; most intents, the longest life of a mark and of an intent in
--       ms: what lies further ahead is of a clock that was set back since
-- Reply: {now in ms, 1 (0: Redis is full, and has no mark), tag, tag, …}
local key = KEYS[1]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local names = redis.pcall('HKEYS', key)
if names.err then
  redis.call('UNLINK', key) -- not a hash: not ours, and in the way
  names = {}
end
if #names == 0 and ARGV[1] ~= '1' then return {now, 1} end

local reply, standing = {now, 1}, 0
local shut = now + ARGV[2] -- but for intents
local before = tonumber(string.match(redis.call('HGET', key, 'm') or '', '^(%d+) ') or '')
if before and before > shut and before <= now + ARGV[8] then shut = before end
local open = shut
for _, name in ipairs(names) do
  local kind = string.sub(name, 1, 1)
  if kind == 'd' then
    reply[#reply + 1] = string.sub(name, 2)
  elseif kind == 'w' then
    local ends = tonumber(redis.call('HGET', key, name)) or 0
    if name == 'w' .. ARGV[5] or ends <= now or ends > now + ARGV[9] then
      redis.call('HDEL', key, name)
    else
      standing = standing + 1
      open = math.max(open, ends)
    end
  end
end

-- A full server may refuse it, nobody else: then the answer is the refusal.
local refusal
local function set(field, value)
  local set = redis.pcall('HSET', key, field, value)
  if type(set) ~= 'table' or not set.err then return end
  reply[2] = 0
  if not string.find(set.err, 'OOM', 1, true) then refusal = set end
end

if ARGV[3] ~= '' then
  local intent, ends = 'w' .. ARGV[3], now + ARGV[4]
  if standing >= tonumber(ARGV[7]) then -- a write that finds no room extends a common one
    intent = 'w*'
    local common = tonumber(redis.call('HGET', key, intent)) or 0
    if common <= now + ARGV[9] then ends = math.max(ends, common) end
  end
  set(intent, string.format('%.0f', ends))
  open = math.max(open, ends)
end
set('m', string.format('%.0f %.0f', shut, open))
local life = open - now + ARGV[6]
if redis.call('PTTL', key) < life then redis.call('PEXPIRE', key, string.format('%.0f', life)) end
return refusal or reply
