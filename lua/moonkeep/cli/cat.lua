--- moonkeep cat: the rows of a table of a backup.
local errors = require "moonkeep.errors"
local output = require "moonkeep.cli.output"
local runner = require "moonkeep.runner"
local table_rows = require "moonkeep.restore.table_rows"
local targets = require "moonkeep.cli.targets"
local verify = require "moonkeep.verify"

local M = {}

function M.run(options)
  local backup = targets.find(options, options.backup)
  verify.unlock(backup)
  if not backup.manifest.tables then
    errors.raise("UNSUPPORTED", ("%s is a stream of pg_dump's, and does not say where a table's rows " ..
      "are"):format(backup.id), { hint = ("restore the table: moonkeep restore %s " ..
      "--into ... -s table=%s"):format(output.short(backup.id), options.table) })
  end
  table_rows.write(backup, backup.stores[1], options.table, { csv = options.csv,
    where = options.where_key, sink = function() return { kind = "stdout" } end })
  return runner.OK
end

return M
