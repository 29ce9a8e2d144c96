-- Asks the router which model a call gets, rewrites the call, and reports its answer: what
-- Envoy's Lua filter runs for every stream.
local wire = require "wire"

local ALIAS = "auto" -- the model that is asked for where the router decides; "*" is any
local FALLBACK = "claude-sonnet-5-5" -- where it can't; with "*" that is the one that is asked for
local TIMEOUT_MS = 250
local KEPT_BYTES = 2097152 -- of an answer; of a longer one both ends
local API_KEY = os.getenv("ROUTER_API_KEY")
local CLUSTER = "router"
-- What tells one session from another, as the known clients send it.
local SESSION_HEADERS = { "x-router-user", "x-router-session", "x-claude-code-session-id",
  "thread-id", "session-id", "x-session-id", "x-session-affinity", "user-agent", "traceparent" }
local DECIDED_PATHS = { "/chat/completions$", "/responses$", "/messages$", "/count_tokens$",
  "/input_tokens$", ":generateContent$", ":streamGenerateContent$" }

-- Who a client is, by what it proves, never by what it says; nil is the tenant of the key.
local TENANTS = { ["Bearer team-a-secret"] = "team-a" }

local function is_decided(path)
  for _, pattern in ipairs(DECIDED_PATHS) do
    if path:find(pattern) then return true end
  end
  return false
end

local function headers_for(path, tenant)
  return { [":method"] = "POST", [":path"] = path, [":authority"] = "router",
    ["x-router-api-key"] = API_KEY, ["x-router-tenant"] = tenant }
end

-- Who calls; what clients tell the router is taken away, since it is not for the provider.
local function caller(handle, path)
  local given = handle:headers()
  local headers = headers_for("/authz" .. path, TENANTS[given:get("authorization") or ""])
  for _, name in ipairs(SESSION_HEADERS) do headers[name] = given:get(name) end
  local ours = {}
  for name in pairs(given) do
    if name:find("^x%-router%-") then ours[#ours + 1] = name end
  end
  for _, name in ipairs(ours) do given:remove(name) end
  return headers
end

-- The decision: a model and its id, or nil and why not; a limit that is reached is answered.
local function decided(handle, raw, path, asking)
  if wire.only_counts(path) then return nil, nil, "counting" end
  local told, text = handle:httpCall(CLUSTER, asking, raw, TIMEOUT_MS)
  local status = told and told[":status"]
  if status == "200" and told["x-routed-model"] then
    return told["x-routed-model"], told["x-router-decision-id"]
  elseif status == "429" then
    handle:respond({ [":status"] = "429", ["content-type"] = "application/problem+json",
      ["retry-after"] = told["retry-after"], ["x-should-retry"] = told["x-should-retry"] }, text)
  end
  handle:logWarn("router: no decision: " .. tostring(status))
  return nil, nil, "http_" .. tostring(status)
end

function envoy_on_request(handle)
  local headers = handle:headers()
  local whole = headers:get(":path")
  local path, query = whole:match("^([^?]*)(.*)$")
  local asking = caller(handle, path)
  local buffer = is_decided(path) and handle:body()
  if not buffer then return end
  local raw = buffer:getBytes(0, buffer:length())
  local asked = wire.asked(path, raw, ALIAS)
  if not asked then return end
  local model, decision_id, reason = decided(handle, raw, path, asking)
  model = model or ALIAS == "*" and asked or FALLBACK
  local new_path, new_raw = wire.rewritten(path, raw, asked, model)
  if new_path ~= path then handle:headers():replace(":path", new_path .. query) end
  if new_raw ~= raw then
    handle:body():setBytes(new_raw) -- the buffer from before the call is gone
    handle:headers():replace("content-length", tostring(#new_raw))
  end
  handle:headers():remove("accept-encoding") -- answers are read, so not compressed
  local kept = handle:streamInfo():dynamicMetadata()
  kept:set("router", "model", model)
  kept:set("router", "path", path)
  kept:set("router", "reason", reason or "")
  kept:set("router", "decision_id", decision_id or "")
  kept:set("router", "tenant", TENANTS[handle:headers():get("authorization") or ""] or "")
  kept:set("router", "started_ms", tostring(handle:timestamp()))
  kept:set("router", "request", decision_id and #raw <= KEPT_BYTES / 2 and raw or "")
end

-- Chunks go on to the client as they are read; the report is sent behind the last one.
function envoy_on_response(handle)
  local routed = handle:streamInfo():dynamicMetadata():get("router")
  if not (routed and routed.model) then return end
  local headers = handle:headers()
  headers:replace("x-routed-model", routed.model)
  if routed.reason ~= "" then headers:replace("x-router-fallback", routed.reason) end
  if routed.decision_id == "" then return end
  headers:replace("x-router-decision-id", routed.decision_id)
  local status = tonumber(headers:get(":status"))
  local is_text = wire.is_text(headers:get("content-type"), headers:get("content-encoding"))
  local kept = wire.kept(KEPT_BYTES)
  for chunk in handle:bodyChunks() do
    if is_text then kept:add(chunk:getBytes(0, chunk:length())) end
  end
  local members = { decision_id = routed.decision_id, model = routed.model, path = routed.path,
    status = status, latency_ms = handle:timestamp() - tonumber(routed.started_ms) }
  if is_text then members.response, members.is_cut = kept:text(), kept.is_cut end
  if routed.request ~= "" then members.request = routed.request end
  local tenant = routed.tenant ~= "" and routed.tenant or nil
  handle:httpCall(CLUSTER, headers_for("/outcomes/wire", tenant), wire.report(members), 30000, true)
end
