-- Remove a batch that is counted, unless another worker has.
-- KEYS: 1 queue, 2 epoch.  ARGV: 1 prefix of batches, 2 id.  Returns 1 if it was there.
if redis.call('LINDEX', KEYS[1], 0) ~= ARGV[2] then
  return 0
end
redis.call('LPOP', KEYS[1])
redis.call('DEL', ARGV[1] .. ARGV[2])
redis.call('INCR', KEYS[2])
return 1
