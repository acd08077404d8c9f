-- Appends events to the stream.
--
-- KEYS[1]  the stream
-- ARGV[1]  how many entries it keeps, about; ARGV[2…] per event: a JSON array of its names and values in turn
for at = 2, #ARGV do
  redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[1], '*', unpack(cjson.decode(ARGV[at])))
end
return #ARGV - 1
