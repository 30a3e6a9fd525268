--- moonkeep check: every mistake of every recipe; loads, and does nothing else.
local errors = require "moonkeep.errors"
local job_of = require "moonkeep.job"
local log = require "moonkeep.log"
local output = require "moonkeep.cli.output"
local recipe = require "moonkeep.recipe"
local runner = require "moonkeep.runner"
local schedule = require "moonkeep.schedule"
local settings = require "moonkeep.settings"
local targets = require "moonkeep.cli.targets"

local M = {}

-- What fn returns; what it raises is a mistake of the job's.
local function try(job, failures, fn, ...)
  local ok, result = pcall(fn, ...)
  failures[#failures + 1] = not ok and { path = job.path, error = errors.of(result) } or nil
  return ok and result
end

-- What --set makes of them, as for a run without names: of the jobs, or of the only task.
local function set(list, items, failures)
  for i, job in ipairs(#items > 0 and list or {}) do
    if job.kind == "job" or #list == 1 then
      list[i] = (try(job, failures, targets.configured, job, items) or { job = job }).job
    end
  end
end

-- What only a look at this machine shows: the zone's file.
local function check_zones(list, failures)
  for _, job in ipairs(list) do
    if job.rule then
      try(job, failures, schedule.check_zone, job.rule, job.where)
    end
  end
end

-- What a job asks for that this host cannot do.
local function check_reach(list, failures)
  for _, job in ipairs(list) do
    try(job, failures, job_of.check_reach, job)
  end
end

-- Job names are the identity of backups, so they are unique over all recipes of a folder.
local function check_names(list, failures)
  local seen = {}
  for _, job in ipairs(list) do
    local other = seen[job.name]
    if other and other.path ~= job.path then
      failures[#failures + 1] = { path = job.path, error = errors.new("INVALID",
        ("%q is also the name of a job in %s"):format(job.name, other.path), { where = job.where,
          hint = "give one of them another name: backups are kept by it" }) }
    end
    seen[job.name] = job
  end
end

local function job_row(job)
  local keys = job.keys
  local what = keys.description or (keys.schedule and schedule.describe(job.rule)) or
    (job.kind == "task" and "run by hand, with arguments" or "run by hand")
  return { job.path, job.kind, job.name, what }
end

function M.run(options)
  local list, failures = recipe.load_all(#options.recipe > 0 and options.recipe or { "." })
  set(list, settings.parse(options.set), failures)
  check_zones(list, failures)
  check_names(list, failures)
  check_reach(list, failures)
  for _, failure in ipairs(failures) do
    if not options.json then
      runner.report(failure.error, failure.path)
    end
  end
  if options.json then
    local jobs, mistakes = {}, {}
    for i, job in ipairs(list) do
      jobs[i] = { recipe = job.path, kind = job.kind, name = job.name, where = job.where }
    end
    for i, failure in ipairs(failures) do
      mistakes[i] = { recipe = failure.path, error = runner.plain(failure.error) }
    end
    output.json("check", { ok = #failures == 0, jobs = jobs, failures = mistakes })
  elseif #list > 0 then
    local rows = {}
    for i, job in ipairs(list) do
      rows[i] = job_row(job)
    end
    output.table({ "RECIPE", "KIND", "NAME", "" }, rows)
  end
  if #list == 0 and #failures == 0 then
    errors.raise("USAGE", "there is no recipe here", { hint = "moonkeep init writes a first one" })
  end
  if #failures == 0 and not options.json and not options.quiet then
    log.show("%s", output.paint("green", "OK") .. "  no mistakes")
  end
  return #failures == 0 and runner.OK or runner.USAGE
end

return M
