--- HTTP requests: what recipes call, and what stores are made of.
---
--- What failed on the way (NETWORK, TIMEOUT) or was answered with "later" (408, 429, 500, 502, 503,
--- 504) is tried again when the method allows it: after a random part of 0.5 s, 1 s, 2 s ... up to
--- 20 s, or after what the server asks for. A request that may not be repeated (POST) is tried
--- again only when the server has said that it did nothing (429, 503), or when `repeats = true`.
local core = require "moonkeep.core.http"
local core_task = require "moonkeep.core.task"
local errors = require "moonkeep.errors"
local json = require "moonkeep.core.json"
local log = require "moonkeep.log"
local merge = require "moonkeep.merge"
local secret = require "moonkeep.secret"
local spec = require "moonkeep.spec"
local units = require "moonkeep.units"

local M = {}

M.DEFAULTS = { connect_ms = 10000, idle_ms = 60000, tries = 5 }

local FIRST_WAIT_MS, MAX_WAIT_MS = 500, 20000
local MAX_RETRY_AFTER_MS = 120000

local REPEATABLE = { GET = true, HEAD = true, PUT = true, DELETE = true, OPTIONS = true }
local IS_LATER = { [408] = true, [429] = true, [500] = true, [502] = true, [503] = true, [504] = true }
local DID_NOTHING = { [429] = true, [503] = true }
local IS_TRANSIENT = { NETWORK = true, TIMEOUT = true }

-- ---- answers ------------------------------------------------------------------------------------

--- The header lines of an answer by their names in lower case; of several of a name, all, separated
--- by commas.
function M.headers(text)
  local headers = {}
  for name, value in text:gmatch "([^:\r\n]+):[ \t]*([^\r\n]*)\r\n" do
    name = name:lower()
    headers[name] = headers[name] and headers[name] .. ", " .. value or value
  end
  return headers
end

local Answer = { __name = "moonkeep.Answer" }
Answer.__index = Answer

--- What the body says, as JSON. Raises INVALID.
function Answer:json()
  return json.decode(self.body)
end

local function answer_of(raw)
  return setmetatable({ status = raw.status, headers = M.headers(raw.headers), body = raw.body }, Answer)
end

-- ---- trying again ---------------------------------------------------------------------------------

-- Of seconds; a date is as if nothing was said, for our clock may be wrong.
local function retry_after_ms(answer)
  local value = answer and answer.headers["retry-after"]
  local seconds = tonumber(value)
  return seconds and math.min(MAX_RETRY_AFTER_MS, math.max(0, seconds * 1000 // 1 | 0))
end

--- How long to wait before try number `try` (the first repetition is 2), in milliseconds.
function M.wait_ms(try, answer)
  local limit = math.min(MAX_WAIT_MS, FIRST_WAIT_MS << math.min(try - 2, 10))
  return retry_after_ms(answer) or math.random(limit // 4, limit)
end

local function may_repeat(request, answer)
  return request.repeats or REPEATABLE[request.method or "GET"] or
    answer ~= nil and DID_NOTHING[answer.status] == true
end

local function told(answer)
  return ("it answered %d"):format(answer.status)
end

--- Makes a request of moonkeep.core.http, again as long as that helps, and returns the answer, of
--- any status. `make(try)` makes the description (method, url, headers, body ..., and `tries`,
--- `repeats`), anew each time, for signatures and credentials grow old. Raises NETWORK, TIMEOUT,
--- TLS.
function M.try(make)
  local try = 1
  while true do
    local request = merge(M.DEFAULTS, make(try))
    local ok, result = pcall(core.request, request)
    local answer = ok and answer_of(result) or nil
    local err = not ok and errors.of(result) or nil
    local is_transient = err and IS_TRANSIENT[err.code] or answer and IS_LATER[answer.status]
    if not is_transient or try >= request.tries or not may_repeat(request, answer) or
      core_task.canceled() then
      if err then
        error(err, 0)
      end
      return answer
    end
    try = try + 1
    local wait = M.wait_ms(try, answer)
    log.debug("http: trying again in %s: %s", units.format_duration(wait), err and err.message or
      told(answer))
    core_task.sleep(wait)
  end
end

-- ---- streams --------------------------------------------------------------------------------------

-- Whether an answer is what was asked for: of a range, that one, and still the same object.
local function check_range(answer, from, first)
  if from == 0 then
    return answer.status == 200 or answer.status == 206
  end
  local begins = (answer.headers["content-range"] or ""):match "^bytes (%d+)%-"
  return answer.status == 206 and math.tointeger(tonumber(begins)) == from and
    answer.headers.etag == first.headers.etag
end

--- Lets answers fill a feed, or go on filling it: when one is cut off, the next goes on where it was.
--- `make(from)` makes the description of a request for the bytes from that one on (0: all). Returns the
--- first answer; an answer that is no success, or not of the same object, is returned as the second
--- value, and the feed is not ended. The feed is the caller's to finish or to fail. Raises NETWORK,
--- TIMEOUT, TLS.
function M.fill(feed, make)
  local first, tries, before = nil, 1, feed:bytes()
  while true do
    local from = feed:bytes() - before
    local request = merge(M.DEFAULTS, make(from))
    request.into = feed
    local ok, result = pcall(core.request, request)
    local err = not ok and errors.of(result) or nil
    local raw = ok and result or err.answer -- also of one that was cut off
    local answer = raw and answer_of(raw)
    local is_good = answer and answer.status // 100 == 2
    first = first or is_good and answer or nil
    if is_good and not check_range(answer, from, first) then
      return first, answer
    elseif ok and is_good then
      return first
    end
    tries = feed:bytes() - before > from and 2 or tries + 1 -- what moves is not given up
    local is_transient = err and IS_TRANSIENT[err.code] or ok and IS_LATER[answer.status]
    if not is_transient or tries > request.tries or core_task.canceled() then
      if err then
        error(err, 0)
      end
      return first, answer
    end
    core_task.sleep(M.wait_ms(tries, answer))
  end
end

-- ---- for recipes ----------------------------------------------------------------------------------

--- Headers by name, whose values may be secrets, as lines.
function M.header_lines(headers)
  local lines = {}
  for name, value in pairs(headers or {}) do
    lines[#lines + 1] = ("%s: %s"):format(name, tostring(secret.reveal(value)))
  end
  table.sort(lines)
  return lines
end

local function ms(options, key, standard)
  return options[key] and units.check_duration(options[key], key) or standard
end

-- What a recipe writes, as moonkeep.core.http takes it.
local function request_of(options)
  local body = secret.reveal(options.body)
  local lines = M.header_lines(options.headers)
  if options.json ~= nil then
    body = json.encode(options.json)
    lines[#lines + 1] = "Content-Type: application/json"
  elseif body then
    lines[#lines + 1] = not (options.headers or {})["Content-Type"] and
      "Content-Type: text/plain; charset=utf-8" or nil
  end
  local method = options.method or (body and "POST" or "GET")
  body = body or (method == "POST" or method == "PUT") and "" or nil
  return { method = method, url = secret.reveal(options.url),
    headers = lines, body = body, connect_ms = ms(options, "connect_timeout", M.DEFAULTS.connect_ms),
    idle_ms = ms(options, "idle_timeout", M.DEFAULTS.idle_ms), total_ms = ms(options, "timeout", 0),
    tries = (options.retries or M.DEFAULTS.tries - 1) + 1, repeats = options.repeats, ca = options.ca,
    proxy = secret.reveal(options.proxy), unix_socket = options.unix_socket,
    max_redirects = options.redirects or 5 }
end

local MAX_QUOTED = 500

-- Without what may be secret.
local function shown(request)
  return (request.url:gsub("%?.*", ""):gsub("//[^/@]*@", "//"))
end

local function refuse(request, answer)
  errors.raise("HTTP_STATUS", ("%s %s: %s"):format(request.method, shown(request), told(answer)), {
    detail = answer.body ~= "" and answer.body:sub(1, MAX_QUOTED) or nil, status = answer.status })
end

--- mk.http.request { url = ..., method = "POST", json = {...} } -> { status, headers, body, json()
--- }. Raises HTTP_STATUS when the status is none of success, unless `any_status`; NETWORK, TIMEOUT,
--- TLS.
function M.request(options)
  spec.check("mk.http.request", "http", options)
  local request = request_of(options)
  local answer = M.try(function() return request end)
  if answer.status // 100 ~= 2 and not options.any_status then
    refuse(request, answer)
  end
  return answer
end

--- mk.http.source("https://example.org/dump.gz") -> the source of a flow: { kind = "feed", ... }. An
--- answer that is cut off goes on where it was, as long as it is the same file (ETag). It fails as
--- M.request does, and with CORRUPT when the file changed meanwhile.
function M.source(url, options)
  options = merge(options or {}, { url = url, method = "GET" })
  spec.check("mk.http.source", "http", options)
  local request, feed = request_of(options), core.feed()
  return { kind = "feed", feed = feed, drive = function()
    local _, bad = M.fill(feed, function(from)
      local lines = table.move(request.headers, 1, #request.headers, 1, {})
      lines[#lines + 1] = from > 0 and ("Range: bytes=%d-"):format(from) or nil
      return merge(request, { headers = lines })
    end)
    if bad and bad.status // 100 == 2 then
      errors.raise("CORRUPT", ("%s changed while it was read"):format(shown(request)))
    elseif bad then
      refuse(request, bad)
    end
  end }
end

--- mk.http.get("https://example.org/health", { timeout = "5s" })
function M.get(url, options)
  return M.request(merge(options or {}, { url = url, method = "GET" }))
end

--- mk.http.post("https://example.org/hook", { json = { text = "done" } })
function M.post(url, options)
  return M.request(merge(options or {}, { url = url, method = "POST" }))
end

return M
