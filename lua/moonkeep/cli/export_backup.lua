--- moonkeep export of a backup: as what PostgreSQL's own programs read.
local directory = require "moonkeep.restore.directory"
local errors = require "moonkeep.errors"
local host = require "moonkeep.core.host"
local load = require "moonkeep.pg.load"
local log = require "moonkeep.log"
local output = require "moonkeep.cli.output"
local runner = require "moonkeep.runner"
local streams = require "moonkeep.restore.stream"
local targets = require "moonkeep.cli.targets"
local tools = require "moonkeep.pg.tools"
local verify = require "moonkeep.verify"

local M = {}

local function stdout()
  return { kind = "stdout" }
end

local WRITERS = {}

function WRITERS.custom(backup, store)
  streams.write(backup, store, {}, "exporting " .. backup.id, stdout)
end

function WRITERS.sql(backup, store)
  local argv = { tools.find("pg_restore", backup.manifest.needs.pg_restore), "--format=custom",
    "--file=-" }
  load.feed({ argv = argv, stdout = true }, function(sink)
    streams.write(backup, store, {}, "exporting " .. backup.id, sink)
  end)
end

function WRITERS.directory(backup, store, folder)
  directory.write(backup, store, folder)
  log.show("%s  wrote %s: restore it with pg_restore --format=directory", output.paint("green", "OK"),
    folder)
end

local function check(backup, format, options)
  local manifest = backup.manifest
  if manifest.dump.format ~= "directory" then
    errors.raise("INVALID", ("%s is a stream of pg_dump's already"):format(backup.id), { hint =
      "its RESTORE.txt says how to read it" })
  elseif format == "directory" and not options.output then
    errors.raise("USAGE", "a directory needs --output: the folder to write", { hint =
      ("moonkeep export %s --format directory --output FOLDER"):format(output.short(backup.id)) })
  elseif format ~= "directory" and options.output then
    errors.raise("USAGE", "--output is for a directory: the other formats are written to stdout",
      { hint = ("moonkeep export %s >FILE"):format(output.short(backup.id)) })
  elseif format == "custom" and host.is_terminal(1) then
    errors.raise("USAGE", "an archive is not for a terminal", { hint =
      ("moonkeep export %s | pg_restore --dbname=...; or >FILE"):format(output.short(backup.id)) })
  end
end

function M.run(options)
  local backup = targets.find(options, options.what)
  local format = options.format or "custom"
  check(backup, format, options)
  verify.unlock(backup)
  WRITERS[format](backup, backup.stores[1], options.output)
  return runner.OK
end

return M
