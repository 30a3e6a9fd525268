--- Messages on their way, each a file of the state folder until it is delivered: so neither an outage
--- nor a crash loses one. Each delivery is a process of its own with a deadline (child.lua): what a
--- template or a service does to it concerns nobody else.
---
--- Limits: MAX_WAITING messages, MAX_AGE old; what is beyond is given up, which is said.
local clock = require "moonkeep.clock"
local core_task = require "moonkeep.core.task"
local errors = require "moonkeep.errors"
local fs = require "moonkeep.fs"
local host = require "moonkeep.core.host"
local json = require "moonkeep.core.json"
local log = require "moonkeep.log"
local process = require "moonkeep.process"
local secret = require "moonkeep.secret"
local state = require "moonkeep.state"
local tasks = require "moonkeep.task"
local units = require "moonkeep.units"

local M = {}

local DEADLINE = "45s" -- of one delivery
local AT_ONCE = 4
local MAX_WAITING, MAX_AGE_MS = 200, 7 * 24 * 3600 * 1000
local FIRST_WAIT_MS, MAX_WAIT_MS = 60 * 1000, 6 * 3600 * 1000
local LOCK_TRIES = 100

local function folder()
  return state.place "outbox"
end

local function write(place, entry)
  entry.first_ms, entry.tries, entry.next_ms = host.wall(), 0, 0
  local path = ("%s/%013d-%s.json"):format(place, entry.first_ms, host.random(3))
  fs.write(path, json.encode(entry))
  return path
end

--- A message in a temporary folder: its path, and the closable.
function M.write_temporary(entry)
  local temporary = fs.tempdir()
  return write(temporary.path, entry), temporary
end

--- Puts a message into the outbox. `entry`: { descriptor, event, recipe, at } or { site, event }.
--- Without a place for it, it is kept in a temporary folder, of which the second value is the
--- closable.
function M.add(entry)
  local place = folder()
  if not place then
    return M.write_temporary(entry)
  end
  return write(place, entry)
end

-- ---- one delivery -----------------------------------------------------------------------------------

-- What the child has said of its failure.
local function error_of_child(err)
  err = errors.of(err)
  for line in (err.detail or ""):gmatch "[^\n]+" do
    local ok, event = pcall(json.decode, line)
    if ok and type(event) == "table" and event.event == "undelivered" then
      return errors.new(event.error.code, event.error.message, { hint = event.error.hint })
    end
  end
  return err
end

--- Delivers the message of a file, in a child. Returns nil, or why it could not.
function M.deliver(path, entry)
  local options = (entry.descriptor or {}).options or {}
  local ok, err = pcall(tasks.timeout, options.timeout or DEADLINE, process.run, { argv = {
    "/proc/self/exe", "--deliver", path }, env = secret.taken() })
  if ok then
    return nil
  elseif core_task.canceled() then
    error(err, 0)
  end
  return error_of_child(err)
end

local function whom(entry)
  return entry.site or entry.descriptor.service
end

local function give_up(path, entry, why)
  log.error("%s was never told of %s: %s", whom(entry), entry.event.job or entry.event.recipe or "this",
    why)
  fs.remove(path)
end

-- Tries the message of a file. Returns whether it is gone.
local function attempt(path, entry)
  local err = M.deliver(path, entry)
  if not err then
    fs.remove(path)
    return true
  end
  entry.tries = entry.tries + 1
  entry.error = { code = err.code, message = err.message }
  local wait = FIRST_WAIT_MS << math.min(entry.tries - 1, 10)
  entry.next_ms = host.wall() + math.min(MAX_WAIT_MS, wait)
  if host.wall() - entry.first_ms > MAX_AGE_MS then
    give_up(path, entry, tostring(err))
    return true
  end
  fs.write(path, json.encode(entry))
  log.warn("%s could not be told: %s%s; the message is kept, and sent again with the next run (or " ..
    "by: moonkeep notify flush)", whom(entry), tostring(err), err.hint and
    (" (%s)"):format(err.hint) or "")
  return false
end

-- ---- all of them ------------------------------------------------------------------------------------

--- The messages that wait, oldest first: { path, entry }.
function M.waiting()
  local list, place = {}, folder()
  local names = place and fs.list(place) or {}
  table.sort(names)
  for _, name in ipairs(names) do
    if name:match "^%d+%-%x+%.json$" then
      local path = place .. "/" .. name
      local ok, entry = pcall(function() return json.decode(fs.read(path)) end)
      if ok then
        list[#list + 1] = { path = path, entry = entry }
      end
    end
  end
  return list
end

-- Nobody else delivers meanwhile, or a message might come twice. false: somebody else always does.
local function lock()
  local place = folder()
  for _ = 1, LOCK_TRIES do
    local held = place and fs.lock(place .. "/.lock")
    if held then
      return held
    end
    core_task.sleep(100)
  end
  return false
end

--- Sends what waits and is due, or all of it. Returns how many were sent, and how many still wait.
function M.flush(all)
  if not folder() then
    return 0, 0
  end
  local held <close> = lock()
  if not held then
    return 0, #M.waiting()
  end
  local list, n_sent = M.waiting(), 0
  for i = 1, #list - MAX_WAITING do
    give_up(list[i].path, list[i].entry, ("more than %d messages wait"):format(MAX_WAITING))
  end
  local due = {}
  for i = math.max(1, #list - MAX_WAITING + 1), #list do
    due[#due + 1] = (all or list[i].entry.next_ms <= host.wall()) and list[i] or nil
  end
  tasks.each(due, { parallel = AT_ONCE }, function(item)
    if attempt(item.path, item.entry) then
      n_sent = n_sent + 1
    end
  end)
  return n_sent, math.min(#list, MAX_WAITING) - n_sent
end

--- What `status` says of messages that wait: a text, or nil.
function M.describe()
  local list = M.waiting()
  local failed
  for _, item in ipairs(list) do
    failed = item.entry.error and item.entry or failed
  end
  if not failed then
    return nil
  end
  return ("%s could not be delivered yet, the first of %s: %s: %s: %s"):format(
    units.format_count(#list, "message"), clock.iso(list[1].entry.first_ms // 1000), whom(failed),
    failed.error.code, failed.error.message)
end

return M
