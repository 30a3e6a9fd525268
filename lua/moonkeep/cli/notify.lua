--- moonkeep notify: test, flush, list.
local clock = require "moonkeep.clock"
local errors = require "moonkeep.errors"
local host = require "moonkeep.core.host"
local kept = require "moonkeep.notify.kept"
local log = require "moonkeep.log"
local names_of = require "moonkeep.names_of"
local notify = require "moonkeep.notify"
local outbox = require "moonkeep.notify.outbox"
local output = require "moonkeep.cli.output"
local recipe = require "moonkeep.recipe"
local runner = require "moonkeep.runner"
local secret = require "moonkeep.secret"
local units = require "moonkeep.units"

local M = {}

-- ---- test -------------------------------------------------------------------------------------------

local STATUS = { failure = "failed", success = "ok", recovered = "ok", size = "ok", start = "started" }

local function event_of(job, path, kind)
  return { kind = kind, job = job.name, recipe = path, host = host.name(), time = host.iso_time(),
    status = STATUS[kind] or kind, is_test = true, seconds = kind ~= "start" and 1.5 or nil,
    text = "this is a test: nothing has happened",
    error = kind == "failure" and { code = "TEST", message = "this is what a failure looks like",
      where = job.where, hint = "nothing to do" } or nil }
end

-- Everybody whom the jobs name, once: { job, at, notifier, descriptor }.
local function everybody(list, wanted)
  local found, seen = {}, {}
  for _, job in ipairs(list) do
    for key, value in pairs((not wanted or job.name == wanted) and job.keys.notify or {}) do
      for i, notifier in ipairs(notify.list(value)) do
        local descriptor = notify.descriptor(notifier)
        local identity = notify.identity(descriptor)
        if not seen[identity] then
          seen[identity] = true
          found[#found + 1] = { job = job, notifier = notifier, descriptor = descriptor,
            at = { job = job.name, key = key, index = i } }
        end
      end
    end
  end
  table.sort(found, function(a, b) return a.notifier.where < b.notifier.where end)
  return found
end

local function test_one(item, path, kind)
  local entry = { descriptor = item.descriptor, recipe = path, at = item.at,
    env = names_of(secret.taken()), event = event_of(item.job, path, kind) }
  local file, temporary = outbox.write_temporary(entry)
  local _ <close> = temporary
  return outbox.deliver(file, entry)
end

local function test(options)
  if not options.recipe then
    errors.raise("USAGE", "say which recipe: moonkeep notify test nightly.lua")
  end
  options.loading = true
  local list = recipe.load(options.recipe)
  options.loading = false
  local path, found = kept.path(options.recipe), everybody(list, options.job)
  if #found == 0 then
    errors.raise("NOT_FOUND", ("no job of %s tells anybody"):format(options.recipe), { hint =
      "add to a job: notify = { problem = mk.notify.slack(mk.secret.env \"SLACK_URL\") }" })
  end
  local results, n_bad = {}, 0
  for i, item in ipairs(found) do
    local err = test_one(item, path, options.kind or "failure")
    results[i] = { service = tostring(item.notifier), where = item.notifier.where, ok = err == nil,
      error = err and runner.plain(err) }
    n_bad = n_bad + (err and 1 or 0)
    if not options.json and err then
      log.show("%s  %s of %s: %s", output.paint("red", "FAILED"), tostring(item.notifier),
        item.notifier.where, tostring(err))
      if err.hint then
        log.show("        %s", err.hint)
      end
    elseif not options.json then
      log.show("%s  %s of %s was told", output.paint("green", "OK"), tostring(item.notifier),
        item.notifier.where)
    end
  end
  if options.json then
    output.json("notify", { ok = n_bad == 0, results = results })
  end
  return n_bad == 0 and runner.OK or runner.FAILED
end

-- ---- what waits -------------------------------------------------------------------------------------

local function flush(options)
  local n_sent, n_waiting = outbox.flush { all = true }
  if options.json then
    output.json("notify", { sent = n_sent, waiting = n_waiting })
  else
    log.show("sent %s, %d still wait", units.format_count(n_sent, "message"), n_waiting)
  end
  return n_waiting == 0 and runner.OK or runner.FAILED
end

local function list(options)
  local rows, results = {}, {}
  for i, item in ipairs(outbox.waiting()) do
    local entry = item.entry
    local since = clock.iso(entry.first_ms // 1000)
    results[i] = { since = since, service = entry.descriptor.service, tries = entry.tries,
      kind = entry.event.kind, job = entry.event.job, error = entry.error }
    rows[i] = { since, results[i].service, entry.event.kind, entry.event.job or "-",
      tostring(entry.tries), entry.error and
        ("%s: %s"):format(entry.error.code, entry.error.message) or "-" }
  end
  if options.json then
    output.json("notify", { messages = results })
  elseif #rows == 0 then
    log.show "no message waits"
  else
    output.table({ "SINCE", "WHOM", "OF", "JOB", ">TRIES", "WHY" }, rows)
  end
  return runner.OK
end

local WHAT = { test = test, flush = flush, list = list }

function M.run(options)
  return WHAT[options.what](options)
end

return M
