-- What the gateways' scripts share: the model of a JSON body, and answers kept within bounds.
-- Plain Lua 5.1: nothing of nginx or Envoy is used here.
local wire = {}

local find, sub, byte, gsub = string.find, string.sub, string.byte, string.gsub
local QUOTE, COMMA, COLON, OPEN_BRACE = byte '"', byte ",", byte ":", byte "{"
local CLOSERS = { [byte "}"] = true, [byte "]"] = true }

-- Where the string ends that begins at `start`, nil where it does not.
local function string_end(raw, start)
  local at = start + 1
  while true do
    local found = find(raw, '["\\]', at)
    if not found then return nil end
    if byte(raw, found) == QUOTE then return found end
    at = found + 2
  end
end

-- The text of a JSON string, as far as ASCII letters may be written as escapes.
local function text_of(raw, first, last)
  local text = sub(raw, first + 1, last - 1)
  if not find(text, "\\", 1, true) then return text end
  return (gsub(text, "\\u00([0-7]%x)", function(hex) return string.char(tonumber(hex, 16)) end))
end

-- The values of all members "model" of the object itself, in order; nil for what is no object.
-- Strings are skipped whole and depth is counted, so what a message quotes is never taken for it.
local function models_in(raw)
  local at = find(raw, "[^ \t\r\n]", find(raw, "^\239\187\191") and 4 or 1)
  if not at or byte(raw, at) ~= OPEN_BRACE then return nil end
  local models, depth, key = {}, 1, nil
  at = at + 1
  while true do
    local found = find(raw, depth == 1 and '["{}%[%],:]' or '["{}%[%]]', at)
    if not found then return nil end
    local mark = byte(raw, found)
    at = found + 1
    if mark == QUOTE then
      local last = string_end(raw, found)
      if not last then return nil end
      if depth == 1 and key == nil then key = text_of(raw, found, last) end
      at = last + 1
    elseif mark == COLON then
      local first = key == "model" and find(raw, "[^ \t\r\n]", at)
      if first then
        local last = byte(raw, first) == QUOTE and string_end(raw, first)
        models[#models + 1] = last and { first, last, text_of(raw, first, last) } or {}
        if last then at = last + 1 end
      end
    elseif mark == COMMA then
      key = nil
    elseif CLOSERS[mark] then
      depth = depth - 1
      if depth == 0 then return not find(raw, "[^ \t\r\n]", at) and models or nil end
    else
      depth = depth + 1
    end
  end
end

-- How what must not stand in a JSON string is written there.
local ESCAPES = { ['"'] = '\\"', ["\\"] = "\\\\", ["\n"] = "\\n" }
for code = 0, 127 do
  local char = string.char(code)
  if find(char, "%c") and not ESCAPES[char] then ESCAPES[char] = ("\\u%04x"):format(code) end
end

-- Text as a JSON string.
function wire.quoted(text)
  return '"' .. gsub(text, '[%c"\\]', ESCAPES) .. '"'
end

-- Of a path in which Gemini's clients name the model: what is before, the model, what is behind.
local function model_in(path)
  local before, model, after = path:match("^(.*/models/)([^/:]+)(:%a+)$")
  if after == ":generateContent" or after == ":streamGenerateContent" then
    return before, model, after
  end
end

-- The model that a call asks for, where the router is to be asked: it is `alias`, or that is "*".
-- Of a repeated member the last counts, as it does for those who will read the body.
function wire.asked(path, raw, alias)
  local _, model = model_in(path)
  if not model then
    local models = models_in(raw)
    model = models and #models > 0 and models[#models][3] or nil
  end
  return (alias == "*" or model == alias) and model or nil
end

-- Path and body with another model in the place of `old`, and every other byte as it was.
function wire.rewritten(path, raw, old, new)
  local before, _, after = model_in(path)
  if before then return before .. new .. after, raw end
  if old == new then return path, raw end
  local pieces, at, value = {}, 1, wire.quoted(new)
  for _, model in ipairs(models_in(raw) or {}) do
    if model[3] == old then
      pieces[#pieces + 1] = sub(raw, at, model[1] - 1) .. value
      at = model[2] + 1
    end
  end
  pieces[#pieces + 1] = sub(raw, at)
  return path, table.concat(pieces)
end

-- Keeps the chunks of an answer: all of them up to `limit` bytes, beyond it the first and the last
-- half of that.
local Kept = {}
Kept.__index = Kept

function wire.kept(limit)
  return setmetatable({ half = limit / 2, head = {}, n_head = 0, tail = {}, n_tail = 0,
    first = 1, is_cut = false }, Kept)
end

function Kept:add(chunk)
  if #chunk == 0 then return end
  if #self.tail == 0 and self.n_head + #chunk <= self.half then
    self.head[#self.head + 1], self.n_head = chunk, self.n_head + #chunk
    return
  end
  self.tail[#self.tail + 1], self.n_tail = chunk, self.n_tail + #chunk
  while self.n_tail > self.half and self.first < #self.tail do
    self.n_tail = self.n_tail - #self.tail[self.first]
    self.tail[self.first], self.first, self.is_cut = false, self.first + 1, true
  end
end

-- The answer; where it was cut, whole lines of its beginning and its end.
function Kept:text()
  local head, tail = table.concat(self.head), table.concat(self.tail, "", self.first)
  if not self.is_cut then return head .. tail end
  return (head:match("^.*\n") or "") .. "\n" .. (tail:match("\n(.*)$") or "")
end

-- The body of a report to /outcomes/wire; numbers and true stay what they are.
function wire.report(members)
  local pieces = {}
  for name, value in pairs(members) do
    local shown = type(value) == "string" and wire.quoted(value) or tostring(value)
    pieces[#pieces + 1] = wire.quoted(name) .. ":" .. shown
  end
  return "{" .. table.concat(pieces, ",") .. "}"
end

-- True for answers that a report can carry as text.
function wire.is_text(content_type, content_encoding)
  local kind = content_type or ""
  return (content_encoding or "identity") == "identity"
    and (find(kind, "json", 1, true) or find(kind, "event-stream", 1, true)) ~= nil
end

-- True where tokens are counted only: nothing is decided, since nothing is answered.
function wire.only_counts(path)
  return find(path, "/count_tokens$") ~= nil or find(path, "/input_tokens$") ~= nil
end

return wire
