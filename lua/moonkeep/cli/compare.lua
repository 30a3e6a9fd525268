--- moonkeep compare: two databases, or a database and a backup.
local compare = require "moonkeep.compare"
local log = require "moonkeep.log"
local output = require "moonkeep.cli.output"
local run = require "moonkeep.cli.run"
local runner = require "moonkeep.runner"
local targets = require "moonkeep.cli.targets"
local units = require "moonkeep.units"

local M = {}

-- A connection has a key and a value, or is a URI; anything else is a backup.
local function is_connection(text)
  return text:find("=", 1, true) ~= nil or text:find "^%a[%w+.-]*://" ~= nil
end

local function find(options, text)
  return is_connection(text) and targets.server(text) or targets.find(options, text)
end

local function show(result, a, b)
  if result.advisory then
    log.warn("%s", result.advisory)
  end
  if result.equal then
    log.show("%s  %s is the same as %s: %s, %s of %s", output.paint("green", "OK"), b.shown, a.shown,
      units.format_count(result.objects, "object"), units.format_count(result.rows, "row"),
      units.format_count(result.tables, "table"))
    return
  end
  log.show("%s  %s differs from %s: %s", output.paint("red", "DIFFERENT"), b.shown, a.shown,
    units.format_count(#result.differences, "difference"))
  for _, line in ipairs(compare.lines(result)) do
    log.show("  %s", line)
  end
end

function M.run(options)
  run.open_log()
  local a, b = compare.read(find(options, options.first), find(options, options.second),
    tonumber(options.jobs))
  local result = compare.sides(a, b)
  if options.json then
    output.json("compare", { equal = result.equal, first = a.shown, second = b.shown,
      differences = result.differences, objects = result.objects, tables = result.tables,
      rows = result.rows, advisory = result.advisory })
  else
    show(result, a, b)
  end
  return result.equal and runner.OK or runner.FAILED
end

return M
