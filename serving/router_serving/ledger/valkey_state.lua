-- What a batch needs of the ledger: each value is read once, changed here, and written at the end,
-- so that a script that fails on the way has written nothing.
--
-- ARGV holds the batch and the constants of types.py as MessagePack. All keys begin with KEYS[1],
-- a hash tag, so a cluster keeps them in one place. Amounts are below 2^53, which Lua keeps exact.

local ROOT = KEYS[1]
local DAY_S = 86400

local batch, limits = cmsgpack.unpack(ARGV[1]), cmsgpack.unpack(ARGV[2])
local now_s = batch.now_s
local MAX_SWEPT = 500
local writes = {}

local function write(...)
  writes[#writes + 1] = {...}
end

-- Members of a sorted set whose time has passed, the earliest first.
local function due(name, before_s, most)
  local below = string.format('(%.17g', before_s)
  return redis.call('ZRANGEBYSCORE', ROOT .. name, '-inf', below, 'LIMIT', 0, most)
end

-- What is old goes first, and at once: nothing of it is needed for the batch.
local function forget()
  local old = due('settled', now_s, MAX_SWEPT)
  for _, id in ipairs(old) do redis.call('DEL', ROOT .. 'decision:' .. id) end
  if #old > 0 then redis.call('ZREM', ROOT .. 'settled', unpack(old)) end
  old = due('ended', now_s, MAX_SWEPT)
  if #old == 0 then return end
  for _, key in ipairs(old) do redis.call('DEL', ROOT .. 'account:' .. key) end
  for _, worker in ipairs(redis.call('ZRANGE', ROOT .. 'alive', 0, -1)) do
    redis.call('HDEL', ROOT .. 'leases:' .. worker, unpack(old))
  end
  redis.call('ZREM', ROOT .. 'ended', unpack(old))
end

-- Accounts ------------------------------------------------------------------------------------

local accounts = {}

local function account(key)
  local known = accounts[key]
  if not known then
    local got = redis.call('HMGET', ROOT .. 'account:' .. key, 'settled', 'held', 'leased')
    known = {
      settled = tonumber(got[1] or 0), held = tonumber(got[2] or 0), leased = tonumber(got[3] or 0),
      is_there = got[1] and true or false,
    }
    accounts[key] = known
  end
  return known
end

local function free_of(at)
  if at.is_soft then return math.huge end
  local known = account(at.key)
  return math.max(0, at.cap - known.settled - known.held - known.leased)
end

-- An account that was deleted for its age begins anew at zero.
local function add(at, name, amount)
  if amount == 0 then return end
  local known = account(at.key)
  known[name] = math.max(0, known[name] + amount)
  known.changed = at.ends_s and at or known.changed or at
end

local function write_accounts()
  for key, known in pairs(accounts) do
    local at, used = known.changed, known.settled + known.held + known.leased
    if at and (known.is_there or used > 0) then
      write('HSET', ROOT .. 'account:' .. key, 'settled', known.settled, 'held', known.held,
        'leased', known.leased)
      if at.ends_s and not known.is_there then
        write('ZADD', ROOT .. 'ended', at.ends_s + limits.account_kept_s[at.unit], key)
      end
    end
  end
end

-- Leases --------------------------------------------------------------------------------------

local leases = {}

local function lease(worker)
  leases[worker] = leases[worker] or {amounts = {}, changed = {}}
  return leases[worker]
end

local function leased(worker, key)
  local amounts = lease(worker).amounts
  if not amounts[key] then
    amounts[key] = tonumber(redis.call('HGET', ROOT .. 'leases:' .. worker, key) or 0)
  end
  return amounts[key]
end

local function change_lease(worker, at, amount)
  if amount == 0 then return end
  local known = lease(worker)
  known.amounts[at.key] = leased(worker, at.key) + amount
  known.changed[at.key] = true
  add(at, 'leased', amount)
end

local function write_leases()
  for worker, known in pairs(leases) do
    local place = ROOT .. 'leases:' .. worker
    for key in pairs(known.changed) do
      if known.amounts[key] > 0 then
        write('HSET', place, key, known.amounts[key])
      else
        write('HDEL', place, key)
      end
    end
  end
end

-- Decisions -----------------------------------------------------------------------------------

-- `listed` is where each decision is in the ledger, see write_decisions.
local decisions, listed, changed = {}, {}, {}

local function id_of(said)
  return #said.tenant .. ':' .. said.tenant .. ':' .. said.decision_id
end

local function new_decision(id, state)
  decisions[id] = {state = state, is_final = false, expires_s = 0, charges = {}, bills = {}}
  return decisions[id]
end

-- Millions of decisions are kept, so their records are lists without names. Only bills that wait
-- need to say whose they are.
local function record_of(known)
  local charges, bills = {}, {}
  for i, charge in ipairs(known.charges) do
    local at = charge.account
    charges[i] = {at.key, at.unit, at.ends_s, at.is_soft, charge.amount, charge.covered}
  end
  for i, said in ipairs(known.bills) do
    bills[i] = {said.attempt, said.is_final, said.amounts}
    if known.state == 'waiting' then
      bills[i][4], bills[i][5], bills[i][6] = said.tenant, said.decision_id, said.unreserved
    end
  end
  return cmsgpack.pack({known.state, known.is_final, known.expires_s, charges, bills})
end

local function list_of(known)
  if known.state == 'waiting' then return 'waiting' end
  return known.state == 'open' and not known.is_final and 'expiring' or 'settled'
end

local function decision(id)
  if decisions[id] ~= nil then return decisions[id] end
  local got = redis.call('GET', ROOT .. 'decision:' .. id)
  decisions[id], listed[id] = false, 'none'
  if not got then return false end
  local record = cmsgpack.unpack(got)
  local known = new_decision(id, record[1])
  known.is_final, known.expires_s = record[2], record[3]
  for i, c in ipairs(record[4]) do
    local at = {key = c[1], unit = c[2], ends_s = c[3], is_soft = c[4]}
    known.charges[i] = {account = at, amount = c[5], covered = c[6]}
  end
  for i, b in ipairs(record[5]) do
    known.bills[i] = {
      attempt = b[1], is_final = b[2], amounts = b[3], tenant = b[4], decision_id = b[5],
      unreserved = b[6],
    }
  end
  listed[id] = list_of(known)
  return known
end

-- Each decision is due once, and in the list of what is due for the same reason: its hold expires,
-- its bills have waited, or it may be forgotten.
local function write_decisions()
  for id in pairs(changed) do
    local known, was = decisions[id], listed[id]
    local list = list_of(known)
    write('SET', ROOT .. 'decision:' .. id, record_of(known))
    if was ~= list and was ~= 'none' then write('ZREM', ROOT .. was, id) end
    if list == 'expiring' then
      write('ZADD', ROOT .. list, known.expires_s, id)
    elseif list == 'settled' then
      write('ZADD', ROOT .. list, now_s + limits.kept_s, id)
    elseif was ~= list then
      write('ZADD', ROOT .. list, now_s + limits.grace_s, id)
    end
  end
end
