-- The oldest batch of clicks. If clicks still went to it, the next click begins another.
-- KEYS: 1 queue, 2 open.  ARGV: 1 prefix of batches.  Returns {id, {field, count, ...}} or nil.
local id = redis.call('LINDEX', KEYS[1], 0)
if not id then
  return nil
end
if redis.call('GET', KEYS[2]) == id then
  redis.call('DEL', KEYS[2])
end
return {id, redis.call('HGETALL', ARGV[1] .. id)}
