-- Claims due jobs for one worker's free slots: arq's jobs, over several queues, in one step.
--
-- KEYS     the queues' sorted sets, the heaviest first; a score is the millisecond from which a job is due
-- ARGV[1]  the worker's id, the value of the keys that say who runs a job
-- ARGV[2]  for how long a claim is good, milliseconds
-- ARGV[3]  free slots
-- ARGV[4…] how many of them each queue should get; what one cannot use is shared by the others
--
-- Answers {milliseconds until the next job is due or -1, {queue's number, id, score, definition or false, try}…}.
-- A claimed id stays in its queue, with the end of its claim as its score: whoever looks for due jobs does not see it
-- before its worker has died, however many run.
local worker, lease_ms, slots = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local claimed = {}
local sources = {}

for number, key in ipairs(KEYS) do
  sources[number] = {key = key, ids = {}, position = 1, more = true}
end

-- The next due id of a queue that nobody runs, claimed; nil where there is none.
local function take(number)
  local source = sources[number]
  while true do
    if source.position > #source.ids then
      if not source.more then
        return nil
      end
      -- From the front: what was claimed or found to be running has left it.
      source.ids = redis.call('ZRANGEBYSCORE', source.key, '-inf', now, 'WITHSCORES', 'LIMIT', 0, slots)
      source.position, source.more = 1, #source.ids >= 2 * slots
      if #source.ids == 0 then
        return nil
      end
    end
    local id, score = source.ids[source.position], source.ids[source.position + 1]
    source.position = source.position + 2
    local holder = 'arq:in-progress:' .. id
    if redis.call('SET', holder, worker, 'NX', 'PX', lease_ms) then
      redis.call('ZADD', source.key, 'XX', now + lease_ms, id)
      local try = redis.call('INCR', 'arq:retry:' .. id)
      redis.call('EXPIRE', 'arq:retry:' .. id, 88400)
      return {number, id, score, redis.call('GET', 'arq:job:' .. id), try}
    end
    -- It runs (a stock arq worker's, which leaves it in front): out of sight until it may have died.
    local left = redis.call('PTTL', holder)
    redis.call('ZADD', source.key, 'XX', now + math.max(1, math.min(left < 0 and lease_ms or left, lease_ms)), id)
  end
end

for number = 1, #KEYS do
  for _ = 1, tonumber(ARGV[3 + number]) do
    local one = take(number)
    if not one then
      break
    end
    claimed[#claimed + 1] = one
  end
end

local found = true
while found and #claimed < slots do
  found = false
  for number = 1, #KEYS do
    if #claimed < slots then
      local one = take(number)
      if one then
        claimed[#claimed + 1], found = one, true
      end
    end
  end
end

local next_ms = -1
for _, key in ipairs(KEYS) do
  local first = redis.call('ZRANGE', key, 0, 0, 'WITHSCORES')
  if first[2] then
    local wait = math.max(0, tonumber(first[2]) - now)
    next_ms = next_ms < 0 and wait or math.min(next_ms, wait)
  end
end
table.insert(claimed, 1, next_ms)
return claimed
