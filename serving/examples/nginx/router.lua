-- Asks the router which model a call gets, rewrites the call, and reports its answer.
-- One function for each phase of nginx, `hide` for calls that it is not asked for; `setup` belongs into init_by_lua_block.
local wire = require "wire"

local router = {}
local settings = {
  host = "127.0.0.1", port = 8080, -- an address: names would need a `resolver`
  api_key = nil, -- of scope route and outcomes, of any tenant if $router_tenant is set
  alias = "auto", -- the model that is asked for where the router decides; "*" is any
  fallback = nil, -- the model where it can't; with "*" that is the one that is asked for
  timeout_ms = 250,
  kept_bytes = 2097152, -- of an answer; of a longer one both ends
  tries = 6, -- of a report, over about a minute
  trip_after = 3, pause_s = 5, -- after so many failures it is not asked for so long
}
-- What tells one session from another, as the known clients send it.
local SESSION_HEADERS = { "x-router-user", "x-router-session", "x-claude-code-session-id",
  "thread-id", "session-id", "x-session-id", "x-session-affinity", "user-agent", "traceparent" }

function router.setup(given)
  for name, value in pairs(given) do settings[name] = value end
  assert(settings.fallback, "router: `fallback` names the model for when nobody decides")
end

-- The head of a call, nil where a path or a header would write more than one line of it.
local function head_of(path, headers, n_bytes)
  if path:find("[%c ]") then return nil end
  local lines = { "POST " .. path .. " HTTP/1.1", "host: router", "content-length: " .. n_bytes }
  for name, value in pairs(headers) do
    if name:find("[^%w-]") or value:find("%c") then return nil end
    lines[#lines + 1] = name .. ": " .. value
  end
  return table.concat(lines, "\r\n") .. "\r\n\r\n"
end

-- One HTTP call: status, headers and body, or nil and the reason.
local function call(path, body, headers, timeout_ms)
  headers["x-router-api-key"] = settings.api_key
  local head = head_of(path, headers, #body)
  if not head then return nil, "control characters" end
  local socket = ngx.socket.tcp()
  socket:settimeout(timeout_ms)
  local ok, err = socket:connect(settings.host, settings.port)
  if not ok then return nil, err end
  ok, err = socket:send({ head, body })
  local first
  if ok then first, err = socket:receive("*l") end
  local status = tonumber(first and first:match("^HTTP/1%.1 (%d%d%d)"))
  if not status then return nil, err or "no HTTP" end
  local told, line = {}, nil
  repeat
    line, err = socket:receive("*l")
    if not line then return nil, err end
    local name, value = line:match("^([^:]+):%s*(.-)%s*$")
    if name then told[name:lower()] = value end
  until line == ""
  local length = tonumber(told["content-length"])
  if not length then return nil, "no length" end
  local text = length > 0 and socket:receive(length) or ""
  if not text then return nil, "no body" end
  socket:setkeepalive(60000, 16)
  return status, told, text
end

-- The breaker: a router that hangs is left alone for a while, for all workers.
local function is_paused() return ngx.shared.router:get("paused") end
local function failed()
  local n = ngx.shared.router:incr("failures", 1, 0, settings.pause_s)
  if n and n >= settings.trip_after then
    ngx.shared.router:set("paused", true, settings.pause_s)
  end
end

local function body_of_request()
  ngx.req.read_body()
  local file = ngx.req.get_body_file()
  if not file then return ngx.req.get_body_data() end
  local handle = io.open(file, "rb")
  if not handle then return nil end
  local raw = handle:read("*a")
  handle:close()
  return raw
end

-- Who calls: the tenant is named by nginx's own configuration, never by the client.
local function caller()
  local given, headers, tenant = ngx.req.get_headers(0), {}, ngx.var.router_tenant
  for _, name in ipairs(SESSION_HEADERS) do
    local value = given[name]
    if type(value) == "string" and not value:find("%c") then headers[name] = value end
  end
  headers["x-router-tenant"] = tenant ~= "" and tenant or nil
  return headers
end

-- What clients tell the router is not for the provider.
function router.hide()
  for name in pairs(ngx.req.get_headers(0)) do
    if name:find("^x%-router%-") then ngx.req.clear_header(name) end
  end
end

-- The decision: a model and its id, or nil and why not; a limit that is reached is answered.
local function decided(raw, headers)
  if wire.only_counts(ngx.var.uri) then return nil, nil, "counting" end
  if is_paused() then return nil, nil, "paused" end
  -- Escaped again: nginx has decoded it, and a client may have put lines of HTTP into it.
  local path = "/authz" .. ngx.escape_uri(ngx.var.uri, 0)
  local status, told, text = call(path, raw, headers, settings.timeout_ms)
  if status == 200 and told["x-routed-model"] then
    ngx.shared.router:delete("failures")
    return told["x-routed-model"], told["x-router-decision-id"]
  elseif status == 429 then
    ngx.status = 429
    ngx.header["content-type"] = "application/problem+json"
    ngx.header["retry-after"], ngx.header["x-should-retry"] = told["retry-after"],
      told["x-should-retry"]
    ngx.print(text)
    return ngx.exit(429)
  end
  if not status or status >= 500 then failed() end
  local reason = status and "http_" .. status or told
  ngx.log(ngx.WARN, "router: no decision: ", reason)
  return nil, nil, (reason:gsub("[^%w_]+", "_"))
end

function router.access()
  local uri, headers = ngx.var.uri, caller()
  router.hide()
  if uri:find("%c") then return ngx.exit(400) end -- no client means that
  local raw = body_of_request()
  local asked = raw and wire.asked(uri, raw, settings.alias)
  if not asked then return end
  local model, decision_id, reason = decided(raw, headers)
  model = model or settings.alias == "*" and asked or settings.fallback
  local new_uri, new_raw = wire.rewritten(uri, raw, asked, model)
  if new_uri ~= uri then ngx.req.set_uri(new_uri) end
  if new_raw ~= raw then ngx.req.set_body_data(new_raw) end
  ngx.ctx.router = { model = model, decision_id = decision_id, reason = reason, path = uri,
    raw = decision_id and raw, started = ngx.now() }
end

function router.header_filter()
  local routed = ngx.ctx.router
  if not routed then return end
  ngx.header["x-routed-model"] = routed.model
  ngx.header["x-router-decision-id"] = routed.decision_id
  ngx.header["x-router-fallback"] = routed.reason
  local kind, encoding = ngx.header["content-type"], ngx.header["content-encoding"]
  if routed.decision_id and wire.is_text(kind, encoding) then
    routed.kept = wire.kept(settings.kept_bytes)
  end
end

function router.body_filter()
  local routed = ngx.ctx.router
  if routed and routed.kept then routed.kept:add(ngx.arg[1]) end
end

-- Reports until it is acknowledged, later and later; saying it again changes nothing.
local function post(premature, body, headers, try)
  local status, told = call("/outcomes/wire", body, headers, 5000)
  if status and status < 500 and status ~= 429 then
    if status >= 300 then ngx.log(ngx.ERR, "router: a report was refused: ", status) end
    return
  end
  if premature or try >= settings.tries then
    ngx.log(ngx.ERR, "router: a report was lost: ", status or told)
    return
  end
  ngx.timer.at(2 ^ try, post, body, headers, try + 1)
end

local function report(premature, members, kept, raw, headers)
  if kept then members.response, members.is_cut = kept:text(), kept.is_cut or members.is_cut end
  if #raw <= settings.kept_bytes / 2 then members.request = raw end
  post(premature, wire.report(members), headers, 1)
end

function router.log()
  local routed = ngx.ctx.router
  if not (routed and routed.decision_id) then return end
  local members = { decision_id = routed.decision_id, model = routed.model, path = routed.path,
    status = ngx.status, latency_ms = (ngx.now() - routed.started) * 1000 }
  if ngx.var.request_completion ~= "OK" then members.is_cut = true end -- the client hung up
  local tenant = ngx.var.router_tenant
  local headers = { ["x-router-tenant"] = tenant ~= "" and tenant or nil }
  local ok, err = ngx.timer.at(0, report, members, routed.kept, routed.raw, headers)
  if not ok then ngx.log(ngx.ERR, "router: a report was lost: ", err) end
end

return router
