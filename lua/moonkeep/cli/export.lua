--- moonkeep export cron | systemd: the schedules of recipes for what runs them. (Of a backup: see
--- export_backup.lua.)
local errors = require "moonkeep.errors"
local export_backup = require "moonkeep.cli.export_backup"
local fs = require "moonkeep.fs"
local host = require "moonkeep.core.host"
local log = require "moonkeep.log"
local output = require "moonkeep.cli.output"
local runner = require "moonkeep.runner"
local schedule = require "moonkeep.schedule"
local systemd = require "moonkeep.schedule.systemd"
local crontab = require "moonkeep.schedule.crontab"
local targets = require "moonkeep.cli.targets"

local M = {}

-- Absolute: cron and systemd run elsewhere.
local function program()
  return fs.realpath "/proc/self/exe"
end

local function write_units(units, folder)
  fs.mkdir(folder, 493) -- 0755
  for _, unit in ipairs(units) do
    fs.write(folder .. "/" .. unit.name, unit.text, 420) -- 0644
    log.show("wrote %s/%s", folder, unit.name)
  end
  log.show ""
  log.show "Next:  systemctl daemon-reload"
  for _, unit in ipairs(units) do
    if unit.name:match "%.timer$" then
      log.show("       systemctl enable --now %s", unit.name)
    end
  end
end

-- The jobs that have a schedule.
local function scheduled(options)
  local jobs, seen = {}, {}
  for _, job in ipairs(targets.load(options, options.recipe)) do
    if seen[job.name] then
      errors.raise("INVALID", ("%q is the name of two jobs: in %s and %s"):format(job.name,
        seen[job.name], job.path), { hint = "give one of them another name" })
    end
    seen[job.name] = job.path
    if job.rule then
      schedule.check_zone(job.rule, job.where)
      job.real_path = fs.realpath(job.path)
      jobs[#jobs + 1] = job
    end
  end
  if #jobs == 0 then
    errors.raise("NOT_FOUND", "no job has a schedule",
      { hint = 'give one a schedule: schedule = { cron = "0 2 * * *" }' })
  end
  return jobs
end

function M.run(options)
  if options.what ~= "cron" and options.what ~= "systemd" then
    return export_backup.run(options)
  elseif #options.recipe == 0 then
    errors.raise("USAGE", ("export %s needs recipes"):format(options.what), { hint =
      ("moonkeep export %s nightly.lua"):format(options.what) })
  end
  local jobs = scheduled(options)
  local how = { program = program(), user = options.user, machine = host.name() }
  if options.what == "cron" and options.json then
    output.json("export", { crontab = crontab.text(jobs, how) })
    return runner.OK
  elseif options.what == "cron" then
    log.show("%s", crontab.text(jobs, how))
    return runner.OK
  end
  local units = systemd.units(jobs, how)
  if options.json then
    output.json("export", { units = units })
    return runner.OK
  end
  if options.output then
    write_units(units, options.output)
    return runner.OK
  end
  for i, unit in ipairs(units) do
    log.show("%s# %s\n%s", i > 1 and "\n" or "", unit.name, (unit.text:gsub("\n$", "")))
  end
  return runner.OK
end

return M
