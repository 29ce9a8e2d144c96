-- Holds and the bills that end them.
--
-- A decision is open (its hold stands), expired, waiting (bills came before their hold) or
-- unmatched (their hold never came); it is final once a final bill came. Of each charge, `amount`
-- was reserved, and `covered` is as much of it as the lease and the cap had. What a charge settles
-- and holds follows from those, the bills and the state, so every change is the difference of two.

local MAX_SILENT = 64

local answers, others, kept, n_expired = {}, {}, {}, 0

local function billed_in(known, unit)
  local sum = 0
  for _, bill in ipairs(known.bills) do sum = sum + (bill.amounts[unit] or 0) end
  return sum
end

-- What was reserved in a unit; nil where no account counts it.
local function reserved_in(known, unit)
  local most
  for _, charge in ipairs(known.charges) do
    if charge.account.unit == unit then most = math.max(most or 0, charge.amount) end
  end
  return most
end

-- The most that all bills of a decision are charged.
local function bound(reserved)
  return reserved > 0 and limits.implausible_times * reserved or limits.implausible_amount
end

-- What each charge settles and holds now.
local function shares_of(known)
  local billed, settled, found = {}, {}, {}
  local is_open = known.state == 'open' and not known.is_final
  for i, charge in ipairs(known.charges) do
    local unit = charge.account.unit
    if not settled[unit] then
      billed[unit] = billed_in(known, unit)
      settled[unit] = math.min(billed[unit], bound(reserved_in(known, unit)))
    end
    local held = is_open and math.max(0, charge.covered - billed[unit]) or 0
    found[i] = {settled = settled[unit], held = held}
  end
  return found
end

-- Processes that may have died between deciding and writing what they decided.
local silent

local function draw_from_silent(at, amount)
  silent = silent or due('spoke', now_s - limits.grace_s, MAX_SILENT)
  for _, worker in ipairs(silent) do
    local part = worker ~= batch.worker and math.min(amount, leased(worker, at.key)) or 0
    change_lease(worker, at, -part)
    amount = amount - part
    if amount <= 0 then return end
  end
end

-- Alter a decision, and bring the accounts from the shares before to those after.
local function change(id, known, alter)
  local before = shares_of(known)
  alter()
  for i, is in ipairs(shares_of(known)) do
    local charge, was = known.charges[i], before[i] or {settled = 0, held = 0}
    add(charge.account, 'settled', is.settled - was.settled)
    add(charge.account, 'held', is.held - was.held)
    if known.state == 'unmatched' and is.settled > was.settled then
      draw_from_silent(charge.account, is.settled - was.settled)
    end
  end
  changed[id] = true
end

local function answer(list, known, said, status)
  local overrun, disputed = 0, 0
  local reserved = reserved_in(known, 'microusd')
  if reserved and status ~= 'repeated' then
    local amount, billed = said.amounts.microusd or 0, billed_in(known, 'microusd')
    overrun = math.max(0, math.min(amount, billed - reserved))
    disputed = math.max(0, math.min(amount, billed - bound(reserved)))
  end
  list[#list + 1] = {
    tenant = said.tenant, decision_id = said.decision_id, attempt = said.attempt, status = status,
    overrun_microusd = overrun, disputed_microusd = disputed,
  }
end

-- Bills ---------------------------------------------------------------------------------------

local function is_within(one, other)
  for unit, amount in pairs(one) do
    if (other[unit] or 0) ~= amount then return false end
  end
  return true
end

-- Put a bill in the place of the one it corrects; false when there is nothing new in it.
local function put_bill(known, said)
  local place = #known.bills + 1
  for i, bill in ipairs(known.bills) do
    if bill.attempt == said.attempt then place = i end
  end
  local bill = known.bills[place]
  known.bills[place] = said
  if bill and is_within(bill.amounts, said.amounts) and is_within(said.amounts, bill.amounts) then
    return said.is_final and not known.is_final
  end
  return true
end

local STATUS = {open = 'settled', expired = 'late', waiting = 'waiting', unmatched = 'unmatched'}

local function settle(list, id, known, said)
  local is_new
  change(id, known, function()
    is_new = put_bill(known, said)
    known.is_final = known.is_final or said.is_final
  end)
  local is_told = is_new or known.state == 'waiting'
  answer(list, known, said, is_told and STATUS[known.state] or 'repeated')
end

local function expire(id, known)
  if known.state == 'open' and not known.is_final and known.expires_s < now_s then
    change(id, known, function() known.state = 'expired' end)
    n_expired = n_expired + 1
  end
end

-- Settle bills that waited, in the order of their attempts.
local function settle_waited(id, known, waited)
  table.sort(waited, function(one, other) return one.attempt < other.attempt end)
  for _, said in ipairs(waited) do settle(others, id, known, said) end
end

local function bill(said)
  local id = id_of(said)
  local known = decision(id) or new_decision(id, 'waiting')
  expire(id, known)
  settle(answers, id, known, said)
end

-- Holds ---------------------------------------------------------------------------------------

local function charge_at(known, at)
  for _, charge in ipairs(known.charges) do
    if charge.account.key == at.key then return charge end
  end
  local charge = {account = at, amount = 0, covered = 0}
  known.charges[#known.charges + 1] = charge
  return charge
end

local function keep(asked, needed)
  if not asked.account.is_soft and asked.amount > needed then
    kept[#kept + 1] = {account = asked.account, amount = asked.amount - needed}
  end
end

-- Raise a charge: out of the lease first, and for the rest out of what is free. `gains` are those
-- of the same hold so far, which the accounts do not show yet.
local function raise(known, asked, gains)
  local at, worker = asked.account, batch.worker
  local charge, billed = charge_at(known, at), billed_in(known, at.unit)
  local free = free_of(at) - (gains[at.key] or 0)
  charge.account, charge.amount = at, math.max(charge.amount, asked.amount)
  local needed = math.max(0, charge.amount - math.max(charge.covered, billed))
  local part = 0
  if not at.is_soft then
    part = math.min(needed, asked.amount, leased(worker, at.key))
    change_lease(worker, at, -part)
  end
  local gained = part + math.min(needed - part, math.max(0, free))
  if gained > 0 then charge.covered = math.max(charge.covered, billed) + gained end
  gains[at.key] = (gains[at.key] or 0) + gained
  keep(asked, needed)
end

-- A decision whose hold no longer stands, or never did, holds nothing when it opens again.
local function open(known)
  for _, charge in ipairs(known.charges) do
    charge.covered = math.min(charge.covered, billed_in(known, charge.account.unit))
  end
  known.state = 'open'
end

local function take(id, known, said)
  known.expires_s = math.max(known.expires_s, said.expires_s)
  if known.is_final or (known.state == 'expired' and known.expires_s <= now_s) then
    for _, asked in ipairs(said.charges) do keep(asked, 0) end
    changed[id] = true
    return
  end
  if known.state ~= 'open' then open(known) end
  change(id, known, function()
    local gains = {}
    for _, asked in ipairs(said.charges) do raise(known, asked, gains) end
  end)
end

local function hold(said)
  local id = id_of(said)
  local known = decision(id)
  if not known then return take(id, new_decision(id, 'open'), said) end
  expire(id, known)
  if known.state ~= 'waiting' then return take(id, known, said) end
  local waited = known.bills
  known = new_decision(id, 'open')
  take(id, known, said)
  settle_waited(id, known, waited)
end

-- What is due ---------------------------------------------------------------------------------

local function expire_holds()
  for _, id in ipairs(due('expiring', now_s, MAX_SWEPT)) do expire(id, decision(id)) end
end

-- Bills that waited long enough go to the accounts that they name.
local function end_waiting()
  for _, id in ipairs(due('waiting', now_s, MAX_SWEPT)) do
    local waited = decision(id).bills
    local known = new_decision(id, 'unmatched')
    for _, said in ipairs(waited) do
      for _, at in ipairs(said.unreserved) do charge_at(known, at) end
    end
    settle_waited(id, known, waited)
  end
end
