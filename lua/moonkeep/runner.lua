--- Running a job or task once: policy, lock, log, tries, outcome. What the supervisor shows, the
--- run's log file has and the catalog keeps, comes from here.
local catalog = require "moonkeep.catalog"
local clock = require "moonkeep.clock"
local core_task = require "moonkeep.core.task"
local errors = require "moonkeep.errors"
local escrow = require "moonkeep.encryption.escrow"
local host = require "moonkeep.core.host"
local json = require "moonkeep.core.json"
local log = require "moonkeep.log"
local manifests = require "moonkeep.manifest"
local merge = require "moonkeep.merge"
local policy = require "moonkeep.policy"
local prune = require "moonkeep.retention.prune"
local state = require "moonkeep.state"
local units = require "moonkeep.units"

local M = { OK = 0, FAILED = 1, USAGE = 2, DEGRADED = 3, SKIPPED = 4 }

local SHOWN = { "code", "op", "message", "hint", "detail", "sqlstate", "where", "left",
  "errors", "fault" }

local MAX_SHOWN_BYTES = 65536

local function cut(text)
  text = text:gsub("%z", "?")
  return #text > MAX_SHOWN_BYTES and text:sub(1, MAX_SHOWN_BYTES) .. " [...]" or text
end

-- An error value as an event can carry it.
local function plain(err)
  local shown = {}
  if M.verbose or err.code == "LUA_ERROR" then
    shown.traceback = err.traceback and cut(tostring(err.traceback))
  end
  for _, key in ipairs(SHOWN) do
    local value = err[key]
    shown[key] = value ~= nil and (math.type(value) and value or cut(tostring(value))) or nil
  end
  for i, other in ipairs(err.also or {}) do
    shown.also = shown.also or {}
    shown.also[i] = { code = tostring(other.code), message = cut(tostring(other.message)) }
  end
  for i, mistake in ipairs(err.mistakes or {}) do
    shown.mistakes = shown.mistakes or {}
    shown.mistakes[i] = { where = mistake.where, key = mistake.key and tostring(mistake.key),
      message = cut(mistake.text), hint = mistake.hint }
  end
  return shown
end
M.plain = plain

-- For failures that end the main task itself: the job, and what its run has published.
local current_job, current_backups

--- Tells the supervisor of a failure. `more`: fields for the event.
function M.report(err, job, more)
  log.event(merge({ event = "result", job = job, status = "failed",
    error = plain(errors.explain(errors.of(err))) }, more or {}), true)
end

--- Where there should be a copy of a backup, and is none: a list for JSON, or nil. With `by_name`
--- stores are told by their names.
function M.missing(backup, by_name)
  local list = {}
  for i, one in ipairs(backup.missing or {}) do
    list[i] = { store = by_name and one.store.name or one.store.url, error = plain(one.error) }
  end
  return #list > 0 and json.array(list) or nil
end

-- What the result of a run says of a backup.
local function described(published)
  local list = {}
  for i, backup in ipairs(published) do
    local size, decoded = manifests.sizes(backup.manifest)
    local names = {}
    for k, store in ipairs(backup.stores) do
      names[k] = store.name
    end
    list[i] = { id = backup.id, series = backup.series, size = size, decoded_size = decoded,
      seconds = backup.manifest.run and backup.manifest.run.seconds or nil,
      proof = backup.proof, stores = json.array(names), missing = M.missing(backup, true) }
  end
  return #list > 0 and json.array(list) or nil
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

-- ---- tries --------------------------------------------------------------------------------------

-- What a second try would not mend.
local FINAL = { INVALID = true, USAGE = true, SYNTAX = true, LUA_ERROR = true, WATCHDOG = true,
  CHECK_FAILED = true, DIFFERENT = true, POLICY = true, NOT_CONFIRMED = true, NOT_EMPTY = true,
  UNSUPPORTED = true, OTHER_IDENTITY = true, PG_PROGRAM_MISSING = true, PG_VERSION_MISMATCH = true }

local function wait_before(retry, try)
  local wait = units.duration(retry.wait or "1m") * (1 << math.min(try - 1, 20))
  return math.min(wait, units.duration(retry.max_wait or "15m"))
end

-- Calls body until it is well or should not be tried again. `count` is told of each try.
local function try(retry, count, body)
  local n = 0
  while true do
    n = n + 1
    count(n)
    local ok, err = xpcall(body, errors.handler)
    -- A job that swallowed its cancellation has not succeeded.
    local canceled = core_task.canceled()
    if ok and not canceled then
      return
    end
    err = errors.explain(errors.of(ok and canceled or err))
    if canceled or n >= retry.tries or FINAL[err.code] then
      error(err, 0)
    end
    local ms = wait_before(retry, n)
    log.warn("try %d of %d failed: %s; the next one is in %s", n, retry.tries, tostring(err),
      units.format_duration(ms))
    core_task.sleep(ms)
  end
end

-- ---- one run ------------------------------------------------------------------------------------

local QUEUE_POLL_MS = 500

-- The job's lock on this machine; nil when the run is to be skipped.
local function take_lock(job)
  local lock = state.lock(job.name)
  if lock == nil and job.keys.overlap == "queue" then
    log.info("%s is still running: waiting for it", job.name)
    repeat
      core_task.sleep(QUEUE_POLL_MS)
      lock = state.lock(job.name)
    until lock ~= nil
  end
  return lock
end

-- false: the job names nobody who could be told of this. (A failure may also be the site's concern.)
local function announce(job)
  if not job.keys.notify then
    return false
  end
end

local function skip(job, run_id)
  local run <close> = catalog.begin { id = run_id, job = job.name, kind = job.kind,
    recipe = job.path }
  run:finish("skipped", {})
  log.event({ event = "result", job = job.name, run = run_id, status = "skipped",
    announce = announce(job),
    text = "it is still running; overlap = \"queue\" would wait for it" }, true)
  return M.SKIPPED
end

local function close_lock(lock)
  return setmetatable({}, { __close = function()
    if lock then
      lock:close()
    end
  end })
end

-- Runs a job's body, and fills what is known of the run, `it`: status, seconds, backups, problems.
-- Returns how often it was tried, and the error, or nil.
local function execute(it, job, how)
  local began, tries, problems = clock.monotonic(), 0, {}
  local ok, err = xpcall(job.execute, errors.handler, job, it.backups, {
    arguments = how.arguments, consent = how.consent, run_id = it.run, problems = problems,
    try = function(body)
      try(job.keys.retry or { tries = 1 }, function(n)
        tries = n
        for i = #problems, 1, -1 do -- those of the try before
          problems[i] = nil
        end
      end, body)
    end })
  it.seconds = (clock.monotonic() - began) / 1000
  it.status = not ok and "failed" or #problems > 0 and "degraded" or "ok"
  it.problems = it.status == "degraded" and problems or nil
  return tries, not ok and errors.explain(errors.of(err)) or nil
end

-- Lets go of what has expired. That it could not makes the run a degraded one: disks fill up.
local function expire(it, job, run, tries)
  local problems
  it.expired, problems = prune.after_run(job)
  if #problems > 0 then
    it.status, it.problems = "degraded", problems
    core_task.shield(function()
      run:finish(it.status, it.backups, { code = "DEGRADED", message = table.concat(problems, "\n") },
        tries)
    end, 5000)
  end
end

-- Writes down and tells how a run ended. Returns the exit code.
local function conclude(it, job, run, tries, err)
  if err then
    err.where = err.where or job.where
    err.left = describe_left(it.backups)
    it.error = plain(err)
  end
  local noted = err or it.problems and { code = "DEGRADED", message = table.concat(it.problems, "\n") }
  core_task.shield(function()
    run:finish(it.status, it.backups, noted, tries)
  end, 5000)
  if it.status == "ok" and job.kind == "job" and #it.backups > 0 then
    expire(it, job, run, tries)
  end
  local warning, hint = nil, nil
  if not err and #it.backups > 0 then
    warning, hint = escrow.warning(job.keys)
  end
  if warning then
    log.warn("%s; %s", warning, hint)
  end
  if err then
    M.report(err, job.name, { run = it.run, seconds = it.seconds, backups = described(it.backups) })
    return M.FAILED
  end
  log.event({ event = "result", job = job.name, run = it.run, status = it.status,
    announce = announce(job), seconds = it.seconds, backups = described(it.backups),
    text = summary(it.backups), expired = it.expired, unusual = job.keys.unusual,
    problems = it.problems, hint = it.problems and not it.expired and
      ("when the store is well again: moonkeep copy --all --from %s"):format(job.path or "RECIPE") or
      nil }, true)
  return it.problems and M.DEGRADED or M.OK
end

--- Runs a job or task and returns an exit code. `how`: arguments (values), consent, log (the path
--- of the log file). `results` gets { job, status, seconds, backups, error }.
function M.run(job, how, results)
  local run_id = clock.compact() .. "-" .. host.random(3)
  current_job = job.name
  policy.check_run(job)
  local lock = job.kind == "job" and take_lock(job)
  if lock == nil then
    results[#results + 1] = { job = job.name, status = "skipped", backups = {} }
    return skip(job, run_id)
  end
  local _ <close> = close_lock(lock)
  local run <close> = catalog.begin { id = run_id, job = job.name, kind = job.kind,
    recipe = job.path, log = how.log }
  catalog.refill(job)
  local tells = job.keys.notify or {}
  log.event({ event = "start", job = job.name, run = run_id, deadline_ms = job.deadline_ms,
    announce = (tells.start or tells.always) ~= nil or nil }, true)
  local it = { job = job.name, run = run_id, backups = {} }
  current_backups = it.backups
  results[#results + 1] = it
  return conclude(it, job, run, execute(it, job, how))
end

-- What counts more than what, of several jobs.
local RANK = { [M.OK] = 0, [M.SKIPPED] = 1, [M.DEGRADED] = 2, [M.FAILED] = 3 }

--- Runs a list, one after the other. Returns the exit code: that of the worst.
function M.run_all(list, how, results)
  local code = M.OK
  for i, item in ipairs(list) do
    how.arguments = item.arguments
    local ok, one = xpcall(M.run, errors.handler, item.job, how, results)
    if not ok then
      M.report(one, item.job.name)
      one = M.FAILED
    end
    code = RANK[one] > RANK[code] and one or code
    if core_task.canceled() and i < #list then
      local names = {}
      for k = i + 1, #list do
        names[#names + 1] = list[k].job.name
      end
      log.warn("not run, because the run was stopped: %s", table.concat(names, ", "))
      break
    end
  end
  return code
end

--- Tells the supervisor that all has been said: the worker has little time to end. Returns the code.
function M.exit(code)
  log.event({ event = "exit", code = code }, true)
  return code
end

--- Called outside of any task when main itself was killed (the watchdog) or could not start.
function M.failed(err)
  if errors.is_error(err) then
    local published = current_backups and #current_backups > 0 and describe_left(current_backups)
    err.left = err.left or published or
      "nothing that looks finished; the next run removes what was begun"
  end
  M.report(err, current_job)
  return M.exit(M.FAILED)
end

return M
