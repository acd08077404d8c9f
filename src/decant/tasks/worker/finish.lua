-- Ends jobs in the index: done, to be run again later, or given back.
--
-- KEYS     the queues' sorted sets
-- ARGV[1]  the worker's id; ARGV[2] the channel that wakes workers
-- ARGV[3]  MessagePack, per job: its queue's number, its id, and unless it is just done: how ('done' or milliseconds
--          until it is due again), where its result is among ARGV or 0, the result's milliseconds to live or 0, and
--          for how many milliseconds nobody may run it again
-- ARGV[4…] results
--
-- Only the worker that runs a job ends it, also where its claim is gone (flushed, run out), unless another worker has
-- run the job since, and it waits to be run again later.
local worker, wake = ARGV[1], ARGV[2]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local woken = {}

for _, job in ipairs(cmsgpack.unpack(ARGV[3])) do
  local key, id = KEYS[job[1]], job[2]
  local how, result, ttl, hold = job[3] or 'done', ARGV[job[4] or 0], job[5] or 0, job[6] or 0
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
      if result then
        if ttl > 0 then
          redis.call('SET', 'arq:result:' .. id, result, 'PX', ttl)
        else
          redis.call('SET', 'arq:result:' .. id, result)
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
