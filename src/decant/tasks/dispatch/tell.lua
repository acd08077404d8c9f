-- Publishes many messages.
--
-- ARGV  in turn: a message, and the channels that it is for, as MessagePack
for at = 1, #ARGV, 2 do
  for _, channel in ipairs(cmsgpack.unpack(ARGV[at + 1])) do
    redis.call('PUBLISH', channel, ARGV[at])
  end
end
