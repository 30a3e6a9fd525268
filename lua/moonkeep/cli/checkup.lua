--- moonkeep checkup: a database after a restore, looked over.
local checkups = require "moonkeep.checkup"
local json = require "moonkeep.core.json"
local log = require "moonkeep.log"
local output = require "moonkeep.cli.output"
local run = require "moonkeep.cli.run"
local runner = require "moonkeep.runner"
local targets = require "moonkeep.cli.targets"
local units = require "moonkeep.units"

local M = {}

local function show(report, source)
  local lines, any_expected = {}, false
  for i, t in ipairs(report.tables) do
    any_expected = any_expected or t.expected ~= nil
    lines[i] = { ("%d"):format(t.rows), t.expected and (t.expected == t.rows and "same" or
      ("%d"):format(t.expected)) or "-", t.latest or "-", t.schema .. "." .. t.name }
  end
  local heads = { ">ROWS", ">BACKUP", "LATEST", "TABLE" }
  if not any_expected then
    table.remove(heads, 2)
    for _, line in ipairs(lines) do
      table.remove(line, 2)
    end
  end
  output.table(heads, lines)
  for _, problem in ipairs(report.problems) do
    log.show("%s  %s", output.paint("red", "problem"), problem)
  end
  log.show("%s  %s: %s, %s, %s%s", #report.problems == 0 and output.paint("green", "OK") or
    output.paint("red", "NOT OK"), tostring(source), units.format_count(#report.tables, "table"),
    units.format_count(report.rows, "row"), units.format_size(report.bytes), #report.problems > 0 and
    ", " .. units.format_count(#report.problems, "problem") or "")
end

function M.run(options)
  run.open_log()
  local source = targets.server(options.database)
  local backup = options.backup and targets.find(options, options.backup)
  local report = checkups.look(source, { backup = backup, jobs = tonumber(options.jobs) })
  if options.json then
    output.json("checkup", { ok = #report.problems == 0, tables = json.array(report.tables),
      rows = report.rows, bytes = report.bytes, problems = report.problems })
  else
    show(report, source)
  end
  return #report.problems == 0 and runner.OK or runner.FAILED
end

return M
