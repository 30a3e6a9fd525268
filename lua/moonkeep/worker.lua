--- The worker's side of a run: load the recipe, run its jobs, tell the supervisor how it went.
local clock = require "moonkeep.clock"
local core_task = require "moonkeep.core.task"
local errors = require "moonkeep.errors"
local log = require "moonkeep.log"

local M = {}

local current_job -- for failures that end the main task itself

local OK, FAILED, USAGE = 0, 1, 2
local OUT_OF_MEMORY = { LUA_MEMORY = true, NO_MEMORY = true } -- no fault of the recipe

local SHOWN = { "code", "op", "message", "hint", "detail", "sqlstate", "where", "left",
  "traceback" }

local MAX_SHOWN_BYTES = 65536

local function cut(text)
  return #text > MAX_SHOWN_BYTES and text:sub(1, MAX_SHOWN_BYTES) .. " [...]" or text
end

-- An error value as an event can carry it.
local function plain(err)
  local shown = {}
  for _, key in ipairs(SHOWN) do
    shown[key] = err[key] ~= nil and cut(tostring(err[key])) or nil
  end
  for i, other in ipairs(err.also or {}) do
    shown.also = shown.also or {}
    shown.also[i] = { code = tostring(other.code), message = cut(tostring(other.message)) }
  end
  return shown
end

local function value_of(err)
  return errors.explain(errors.of(err))
end

local function report_failure(err, job, seconds)
  log.event({ event = "result", job = job, status = "failed", seconds = seconds,
    error = plain(value_of(err)) }, true)
end

local function describe_left(published)
  if #published == 0 then
    return "nothing was published"
  end
  local ids = {}
  for i, backup in ipairs(published) do
    ids[i] = backup.id
  end
  return "published before the failure: " .. table.concat(ids, ", ")
end

local function summary(published)
  local parts = {}
  for i, backup in ipairs(published) do
    parts[i] = ("%s (%s)"):format(backup.id, backup.proof)
  end
  return table.concat(parts, ", ")
end

local function run_job(job)
  local began, published = clock.monotonic(), {}
  current_job = job.name
  log.event({ event = "start", job = job.name, deadline_ms = job.deadline_ms }, true)
  local ok, err = xpcall(job.execute, errors.handler, job, published)
  local seconds = (clock.monotonic() - began) / 1000
  -- A job that swallowed its cancellation has not succeeded.
  local canceled = core_task.canceled()
  if ok and canceled then
    ok, err = false, canceled
  end
  if not ok then
    err = value_of(err)
    err.where = err.where or job.where
    err.left = describe_left(published)
    report_failure(err, job.name, seconds)
    return FAILED
  end
  log.event({ event = "result", job = job.name, status = "ok", seconds = seconds,
    text = summary(published) }, true)
  return OK
end

--- Runs in the main task. Returns the exit code.
function M.main(path)
  local recipe = require "moonkeep.recipe"
  local ok, jobs = xpcall(recipe.load, errors.handler, path)
  if not ok then
    local err = value_of(jobs)
    report_failure(err)
    return OUT_OF_MEMORY[err.code] and FAILED or USAGE
  end
  local code = OK
  for i, job in ipairs(jobs) do
    code = math.max(code, run_job(job))
    if core_task.canceled() and i < #jobs then
      local names = {}
      for k = i + 1, #jobs do
        names[#names + 1] = jobs[k].name
      end
      log.warn("not run, because the run was stopped: %s", table.concat(names, ", "))
      break
    end
  end
  return code
end

--- Called outside of any task when main itself was killed (the watchdog) or could not start.
function M.failed(err)
  if errors.is_error(err) then
    err.left = err.left or "nothing that looks finished; the next run removes what was begun"
  end
  report_failure(err, current_job)
  return FAILED
end

return M
