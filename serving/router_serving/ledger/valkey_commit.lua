-- One batch, in the order that Batch promises; the answer is a Committed as MessagePack.

local MAX_LAPSED = 16
local MAX_WISHES = 256

-- The last batch of a process is remembered with its answer, in case that was lost.
local last_key = ROOT .. 'last:' .. batch.worker
local last = redis.call('GET', last_key)
if last and batch.number > 0 then
  last = cmsgpack.unpack(last)
  if last.number == batch.number then return last.answer end
  if last.number > batch.number then
    return redis.error_reply('STALE batch: its number is below that of a later one')
  end
end

local function lapse(worker)
  local flat = redis.call('HGETALL', ROOT .. 'leases:' .. worker)
  for i = 1, #flat, 2 do
    change_lease(worker, {key = flat[i]}, -leased(worker, flat[i]))
  end
  write('ZREM', ROOT .. 'alive', worker)
  write('ZREM', ROOT .. 'spoke', worker)
end

local function give_back(charge)
  local at = charge.account
  change_lease(batch.worker, at, -math.min(charge.amount, leased(batch.worker, at.key)))
end

local function wish(at, missing)
  local wishes, wanted = ROOT .. 'wishes', ROOT .. 'wanted'
  if missing > 0 then
    write('HSET', wishes, at.key, cmsgpack.pack({worker = batch.worker, missing = missing, at = at}))
    write('ZADD', wanted, now_s + limits.wanted_s, at.key)
    return
  end
  local known = redis.call('HGET', wishes, at.key)
  if known and cmsgpack.unpack(known).worker == batch.worker then
    write('HDEL', wishes, at.key)
    write('ZREM', wanted, at.key)
  end
end

local function grant(asked)
  local at = asked.account
  if at.is_soft then return 0 end
  local amount = math.min(asked.amount, free_of(at))
  change_lease(batch.worker, at, amount)
  wish(at, asked.amount - amount)
  return amount
end

-- Accounts of which this process has something that others starve for.
local function wanted()
  local found = {}
  for _, key in ipairs(due('wanted', now_s, MAX_WISHES)) do
    write('HDEL', ROOT .. 'wishes', key)
    write('ZREM', ROOT .. 'wanted', key)
  end
  local keys =
    redis.call('ZRANGEBYSCORE', ROOT .. 'wanted', now_s, '+inf', 'LIMIT', 0, MAX_WISHES)
  for _, key in ipairs(keys) do
    local wished = redis.call('HGET', ROOT .. 'wishes', key)
    local known = wished and cmsgpack.unpack(wished) or {worker = batch.worker}
    local is_other = known.worker ~= batch.worker and leased(batch.worker, key) > 0
    if is_other and free_of(known.at) < known.missing then found[#found + 1] = key end
  end
  return found
end

local function count(said)
  local minute = string.format('minute:%d:', said.minute) .. said.subject
  local hour = string.format('hour:%d:', math.floor(said.minute / 60)) .. said.subject
  for place, kept_s in pairs({[minute] = DAY_S, [hour] = limits.hour_kept_s}) do
    write('HINCRBY', ROOT .. place, 'calls', said.calls)
    write('HINCRBY', ROOT .. place, 'microusd', said.microusd)
    write('EXPIRE', ROOT .. place, kept_s)
  end
end

local until_s = tonumber(redis.call('ZSCORE', ROOT .. 'alive', batch.worker) or -1)
local is_new = until_s < now_s

forget()
expire_holds()
if is_new then lapse(batch.worker) end
for _, worker in ipairs(due('alive', now_s, MAX_LAPSED)) do
  if worker ~= batch.worker then lapse(worker) end
end
end_waiting()
for _, charge in ipairs(batch.returns) do give_back(charge) end
for _, said in ipairs(batch.holds) do hold(said) end
for _, said in ipairs(batch.bills) do bill(said) end
local granted = {}
for i, asked in ipairs(batch.grants) do granted[i] = grant(asked) end
for _, said in ipairs(batch.counts) do count(said) end
local found = wanted()

for _, billed in ipairs(others) do answers[#answers + 1] = billed end
local committed = cmsgpack.pack({
  granted = granted, kept = kept, billed = answers, n_expired = n_expired, wanted = found,
  is_new = is_new,
})
write('ZADD', ROOT .. 'alive', now_s + batch.hold_s, batch.worker)
write('ZADD', ROOT .. 'spoke', now_s, batch.worker)
if batch.number > 0 then
  write('SET', last_key, cmsgpack.pack({number = batch.number, answer = committed}), 'EX', DAY_S)
end
write_accounts()
write_leases()
write_decisions()
for _, command in ipairs(writes) do redis.call(unpack(command)) end
return committed
