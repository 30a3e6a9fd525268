--- moonkeep ls: the tables of a backup.
local errors = require "moonkeep.errors"
local json = require "moonkeep.core.json"
local log = require "moonkeep.log"
local output = require "moonkeep.cli.output"
local runner = require "moonkeep.runner"
local targets = require "moonkeep.cli.targets"
local units = require "moonkeep.units"
local verify = require "moonkeep.verify"

local M = {}

local function rows_of(manifest)
  local rows = {}
  for i, t in ipairs(manifest.tables) do
    rows[i] = { schema = t.schema, name = t.name, rows = t.rows, bytes = t.bytes, hash = t.hash }
  end
  table.sort(rows, function(a, b)
    return a.schema < b.schema or a.schema == b.schema and a.name < b.name
  end)
  return rows
end

local function show(rows, large_objects)
  local lines, n_rows, bytes = {}, 0, 0
  for i, row in ipairs(rows) do
    lines[i] = { tostring(row.rows), units.format_size(row.bytes), row.schema .. "." .. row.name }
    n_rows, bytes = n_rows + row.rows, bytes + row.bytes
  end
  output.table({ ">ROWS", ">TEXT", "TABLE" }, lines)
  log.show("%s", output.paint("dim", ("%s, %s, %s%s"):format(units.format_count(#rows, "table"),
    units.format_count(n_rows, "row"), units.format_size(bytes), large_objects and
    (", and %s, %s"):format(units.format_count(large_objects.count, "large object"),
      units.format_size(large_objects.bytes)) or "")))
end

function M.run(options)
  local backup = targets.find(options, options.backup)
  local manifest = backup.manifest
  verify.unlock(backup)
  if not manifest.tables then
    errors.raise("UNSUPPORTED", ("%s does not say what tables it has"):format(backup.id), { hint =
      ("see its table of contents: moonkeep show %s --contents"):format(output.short(backup.id)) })
  end
  local rows = rows_of(manifest)
  if options.json then
    output.json("ls", { id = backup.id, tables = json.array(rows),
      large_objects = manifest.large_objects })
  else
    show(rows, manifest.large_objects)
  end
  return runner.OK
end

return M
