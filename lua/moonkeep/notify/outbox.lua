--- Messages on their way, each a file of the state folder until it is delivered: so neither an outage
--- nor a crash loses one. Each delivery is a process of its own with a deadline (child.lua): what a
--- template or a service does to it concerns nobody else.
---
--- Who delivers a message holds a lock on it; several processes may deliver at once. To one notifier
--- they go in order, one at a time, until one fails. A try is written down before it is made, so that
--- one that is never heard of again counts, too.
---
--- Limits: MAX_WAITING messages, MAX_AGE old; what is beyond is given up, which is said.
local clock = require "moonkeep.clock"
local core_task = require "moonkeep.core.task"
local errors = require "moonkeep.errors"
local fs = require "moonkeep.fs"
local host = require "moonkeep.core.host"
local json = require "moonkeep.core.json"
local log = require "moonkeep.log"
local notify = require "moonkeep.notify"
local process = require "moonkeep.process"
local secret = require "moonkeep.secret"
local state = require "moonkeep.state"
local tasks = require "moonkeep.task"
local units = require "moonkeep.units"

local M = {}

local DEADLINE_MS, MAX_DEADLINE_MS = 45000, 60000 -- of one delivery
local FLUSH_MS = 90000 -- of all of them; then none is begun
local AT_ONCE = 4
local MAX_WAITING, MAX_AGE_MS = 200, 7 * 24 * 3600 * 1000
local FIRST_WAIT_MS, MAX_WAIT_MS = 60 * 1000, 6 * 3600 * 1000

local function folder()
  return state.place "outbox"
end

-- ---- files --------------------------------------------------------------------------------------

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

-- What pings say of the past, after something newer has happened.
local function drop_older(entry)
  for _, item in ipairs(M.waiting()) do
    if notify.identity(item.entry.descriptor) == notify.identity(entry.descriptor) then
      pcall(fs.remove, item.path)
    end
  end
end

--- Puts a message into the outbox. `entry`: { descriptor, event, recipe, at, env }, or with the path of
--- the site's notify.lua as `site`. Where it cannot be kept it is written into a temporary folder, of
--- which the second value is the closable.
function M.add(entry)
  local place = folder()
  if place and notify.pings(entry.descriptor) then
    drop_older(entry)
  end
  local ok, path = pcall(write, place or "/nonexistent", entry)
  if ok then
    return path
  end
  return M.write_temporary(entry)
end

-- ---- one delivery -------------------------------------------------------------------------------

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
  local wanted = entry.descriptor.options.timeout
  local ms = math.min(wanted and units.duration(wanted) or DEADLINE_MS, MAX_DEADLINE_MS)
  local ok, err = pcall(tasks.timeout, ms .. "ms", process.run, { argv = { "/proc/self/exe",
    "--deliver", path }, env = secret.taken() })
  if ok then
    return nil
  elseif core_task.canceled() then
    error(err, 0)
  end
  return error_of_child(err)
end

-- What a template may have done to its message.
local BY_TEMPLATE = { WATCHDOG = true, TIMEOUT = true, LUA_MEMORY = true }

-- The same, once more without the template when that may be why.
local function deliver_somehow(path, entry)
  local err = M.deliver(path, entry)
  local has_template = entry.descriptor.has_template and not entry.no_template
  if err and BY_TEMPLATE[err.code] and has_template then
    entry.no_template = err.code
    fs.write(path, json.encode(entry))
    return M.deliver(path, entry)
  end
  return err
end

local function give_up(path, entry, why)
  log.error("%s was never told of %s: %s", entry.descriptor.service, entry.event.job or
    entry.event.recipe or "this", why)
  fs.remove(path)
end

-- The entry as it is now, and the closable that holds it; nil: somebody else has it, or it is gone.
local function take(path)
  local lock = fs.lock(path .. ".lock")
  if not lock then
    return nil
  end
  local closable = setmetatable({}, { __close = function()
    lock:close()
    pcall(fs.remove, path .. ".lock")
  end })
  local ok, entry = pcall(function() return json.decode(fs.read(path)) end)
  if not ok then
    local _ <close> = closable
    return nil
  end
  return entry, closable
end

local function note_try(path, entry)
  entry.tries = entry.tries + 1
  local wait = FIRST_WAIT_MS << math.min(entry.tries - 1, 10)
  entry.next_ms = host.wall() + math.min(MAX_WAIT_MS, wait)
  pcall(fs.write, path, json.encode(entry)) -- a full disk must not keep it from being sent
end

local function note_failure(path, entry, err)
  entry.error = { code = err.code, message = err.message }
  if err.code == "SECRET_MISSING" then -- of another run's environment, perhaps
    entry.tries, entry.next_ms = entry.tries - 1, 0
  end
  if host.wall() - entry.first_ms > MAX_AGE_MS then
    return give_up(path, entry, tostring(err))
  end
  pcall(fs.write, path, json.encode(entry))
  log.warn("%s could not be told: %s%s; the message is kept, and sent again with the next run (or " ..
    "by: moonkeep notify flush)", entry.descriptor.service, tostring(err), err.hint and
    (" (%s)"):format(err.hint) or "")
end

-- Tries the message of a file, if `is_due` says so. Returns "sent", "failed", or nil: not tried.
local function attempt(path, is_due)
  local entry, held = take(path)
  local _ <close> = held
  if not entry or not is_due(entry) then
    return nil
  end
  note_try(path, entry)
  local err = deliver_somehow(path, entry)
  if not err then
    fs.remove(path)
    return "sent"
  end
  note_failure(path, entry, err)
  return "failed"
end

-- ---- all of them ------------------------------------------------------------------------------------

local FROM_ENVIRONMENT = { env = true, credential = true }

-- Whether a message needs what only runs of its recipe have in their environment.
local function needs_environment(value)
  if type(value) ~= "table" then
    return false
  elseif value["$secret"] then
    return FROM_ENVIRONMENT[value["$secret"].kind] == true
  end
  for _, item in pairs(value) do
    if needs_environment(item) then
      return true
    end
  end
  return false
end

-- Messages by notifier, oldest first in each; those that have been tried least come first.
local function groups_of(list)
  local groups, by_identity = {}, {}
  for _, item in ipairs(list) do
    local key = notify.identity(item.entry.descriptor)
    if not by_identity[key] then
      by_identity[key] = { tries = math.huge }
      groups[#groups + 1] = by_identity[key]
    end
    local group = by_identity[key]
    group[#group + 1] = item
    group.tries = math.min(group.tries, item.entry.tries)
  end
  table.sort(groups, function(a, b)
    if a.tries ~= b.tries then
      return a.tries < b.tries
    end
    return a[1].path < b[1].path
  end)
  return groups
end

local function drop_surplus(list)
  for _ = 1, #list - MAX_WAITING do
    local item = table.remove(list, 1)
    give_up(item.path, item.entry, ("more than %d messages wait"):format(MAX_WAITING))
  end
end

--- Sends what waits and is due. `how`: all, whether it is due or not; or recipes, the set of those
--- whose environment this is: what needs another one's is left alone. Returns how many were sent, and
--- how many wait.
function M.flush(how)
  local began, n_sent = host.monotonic(), 0
  local function is_due(entry)
    local is_ours = how.all or how.recipes[entry.recipe or ""] or
      not needs_environment(entry.descriptor.options)
    return is_ours and (how.all or entry.next_ms <= host.wall())
  end
  local list = M.waiting()
  drop_surplus(list)
  tasks.each(groups_of(list), { parallel = AT_ONCE }, function(group)
    for _, item in ipairs(group) do
      local result = host.monotonic() - began < FLUSH_MS and attempt(item.path, is_due)
      n_sent = n_sent + (result == "sent" and 1 or 0)
      if result == "failed" then -- so would the others
        break
      end
    end
  end)
  return n_sent, #M.waiting()
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
    units.format_count(#list, "message"), clock.iso(list[1].entry.first_ms // 1000),
    failed.descriptor.service, failed.error.code, failed.error.message)
end

return M
