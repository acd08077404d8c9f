-- Ends jobs in the index: done, to be run again later, or given back.
--
-- KEYS     per job: its queue's sorted set
-- ARGV[1]  the worker's id; ARGV[2] the channel that wakes workers
-- ARGV[3…] per job: id, how ('done' or milliseconds until it is due again), the result's key or '', the result or '',
--          its milliseconds to live or 0, and for how many milliseconds nobody may run it again
--
-- Only the worker that runs a job ends it, also where its claim is gone (flushed, run out), unless another worker has
-- run the job since, and it waits to be run again later.
local worker, wake = ARGV[1], ARGV[2]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local woken = {}

for number, key in ipairs(KEYS) do
  local at = 3 + (number - 1) * 6
  local id, how, result_key, result, ttl = ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3], tonumber(ARGV[at + 4])
  local hold = tonumber(ARGV[at + 5])
  local holder = 'arq:in-progress:' .. id
  local held_by = redis.call('GET', holder)
  if held_by == worker or (not held_by and tonumber(redis.call('ZSCORE', key, id) or 0) <= now) then
    if how == 'done' then
      redis.call('DEL', 'arq:job:' .. id, 'arq:retry:' .. id)
      if hold > 0 then
        redis.call('SET', holder, worker, 'PX', hold)
      else
        redis.call('DEL', holder)
      end
      redis.call('ZREM', key, id)
      redis.call('ZREM', 'arq:abort', id)
      if result_key ~= '' then
        if ttl > 0 then
          redis.call('SET', result_key, result, 'PX', ttl)
        else
          redis.call('SET', result_key, result)
        end
      end
    else
      redis.call('DEL', holder)
      if redis.call('EXISTS', 'arq:job:' .. id) == 1 then
        redis.call('ZADD', key, now + tonumber(how), id)
        woken[key] = true
      end
    end
  end
end

for key in pairs(woken) do
  redis.call('PUBLISH', wake, key)
end
return #KEYS
