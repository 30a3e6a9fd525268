--- Loading the stream of a backup into a database with pg_restore or psql.
local contents = require "moonkeep.restore.contents"
local data_only = require "moonkeep.restore.data_only"
local dump_options = require "moonkeep.pg.dump_options"
local errors = require "moonkeep.errors"
local fs = require "moonkeep.fs"
local log = require "moonkeep.log"
local manifests = require "moonkeep.manifest"
local merge = require "moonkeep.merge"
local process = require "moonkeep.process"
local streams = require "moonkeep.restore.stream"
local toc = require "moonkeep.pg.toc"
local toc_list = require "moonkeep.pg.toc_list"
local tools = require "moonkeep.pg.tools"
local units = require "moonkeep.units"
local verify = require "moonkeep.verify"

local M = {}

local MAX_TEXT_BYTES = 1024 * 1024

-- The dump, decompressed, into one process; every byte that is read is checked.
local function stream(backup, store, sink, title)
  return verify.unpack(backup, store, manifests.data_object(backup.manifest), sink, title)
end

--- The text of a small backup (globals). Raises INVALID when it is larger than 1 MiB.
function M.text(backup, store)
  local object = manifests.data_object(backup.manifest)
  local size = object.decoded_size
  if size > MAX_TEXT_BYTES then
    errors.raise("INVALID", ("the globals are %d bytes, more than moonkeep takes apart"):format(size),
      { hint = "follow the RESTORE.txt of backup " .. backup.id })
  end
  return verify.text(backup, store, object)
end

-- The entries of an archive that is one stream, as pg_restore lists them, with dependencies.
local function listed_entries(backup, store, major)
  return toc_list.parse(stream(backup, store, { kind = "process", label = "list", early = true,
    keep_stdout = true, argv = { tools.find("pg_restore", major), "--list", "--verbose",
      "--format=" .. backup.manifest.dump.format } }, "reading the contents").list.result)
end

--- The contents of an archive, as pg_restore lists them.
function M.contents(backup, store)
  if backup.manifest.dump.format == "directory" then
    return table.concat(toc.lines(contents.archive(backup, store).entries), "\n") .. "\n"
  end
  return stream(backup, store, { kind = "process", label = "list", early = true,
    keep_stdout = true, argv = { tools.reader(backup.manifest.needs.pg_restore),
      "--list", "--format=" .. backup.manifest.dump.format } }).list.result
end

-- ---- errors -------------------------------------------------------------------------------------

local MAX_LISTED = 20

-- The errors that pg_restore or psql reported, one line each.
local function list_errors(text)
  local list = {}
  for line in text:gmatch "[^\n]+" do
    local message = line:match "^pg_restore: error: (.*)$" or
      line:match "^psql:[^:]*:%d+: (ERROR:.*)$" or line:match "^psql:[^:]*:%d+: (error:.*)$" or
      line:match "^(ERROR:.*)$"
    list[#list + 1] = message
  end
  return list
end

--- What became of it, in one error: how many errors there were, and which.
function M.explain(err, program, target)
  if err.code ~= "PROCESS_FAILED" then
    return err
  end
  local text = err.detail or ""
  local listed = list_errors(text)
  local n = tonumber(text:match "errors ignored on restore: (%d+)") or math.max(#listed, 1)
  local shown = table.move(listed, 1, math.min(#listed, MAX_LISTED), 1, {})
  if n > #shown and #shown > 0 then
    shown[#shown + 1] = ("and %d more"):format(n - #shown)
  end
  local failure = errors.new("RESTORE_FAILED", ("%s reported %s while restoring into %s"):format(
    program, n == 1 and "an error" or n .. " errors", tostring(target)),
    { detail = #shown > 0 and table.concat(shown, "\n") or text, errors = n })
  return errors.explain(failure)
end

-- ---- loading ------------------------------------------------------------------------------------

local RESTRICTED = { [13] = 22, [14] = 19, [15] = 14, [16] = 10, [17] = 6 } -- \restrict came with

local function knows_restrict(version)
  local major, minor = version:match "^(%d+)%.?(%d*)"
  major, minor = tonumber(major), tonumber(minor) or 0
  return major >= 18 or (RESTRICTED[major] or math.huge) <= minor
end

-- A plain dump of a newer minor release begins with \restrict, which an older psql does not know.
local function check_restrict(manifest, psql)
  local dumped = manifest.dump.program:match "(%d[%d.]*)"
  local version = tools.version(psql)
  if dumped and version and knows_restrict(dumped) and not knows_restrict(version) then
    errors.raise("PG_VERSION_MISMATCH", ("psql %s does not know \\restrict, which %s wrote"):format(
      version, manifest.dump.program), { hint = "update the client programs: apt-get install " ..
      "--only-upgrade postgresql-client-" .. version:match "^%d+" })
  end
end

local function major_of(target)
  local connection <close> = target:connect()
  return connection:major()
end

local function psql(backup, store, target, major, options, mode)
  local conninfo, env = target:for_program()
  local program = tools.find("psql", major)
  check_restrict(backup.manifest, program)
  local argv = { program, "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--no-password",
    "--output=/dev/null", "--dbname=" .. conninfo }
  argv[#argv + 1] = mode and "--single-transaction" or nil
  table.move(options.extra or {}, 1, #(options.extra or {}), #argv + 1, argv)
  argv[#argv + 1] = "--file=-"
  stream(backup, store, { kind = "process", env = env, argv = argv },
    "restore into " .. tostring(target))
end

local ONE_TRANSACTION = "into a database that exists everything is restored in one transaction, " ..
  "which is one connection's"

local function warn_of_jobs(options, why)
  if options.jobs and options.jobs > 1 then
    log.warn("jobs = %d is not possible: %s", options.jobs, why)
  end
end

-- Whether several connections can restore the object: then its path.
local function seekable(backup, store, options, mode)
  local object, jobs = manifests.data_object(backup.manifest), options.jobs
  local format, path = backup.manifest.dump.format, store:path(backup, object)
  if not jobs or jobs == 1 then
    return nil
  elseif mode and options.on_error ~= "continue" then
    warn_of_jobs(options, ONE_TRANSACTION)
    return nil
  elseif format == "custom" and object.codec == "none" and path and not backup.manifest.encryption then
    return path
  end
  warn_of_jobs(options, ("the backup is %s, which can only be read from its beginning to its end")
    :format(format ~= "custom" and "in " .. format .. " format" or object.codec ~= "none" and
    "compressed by " .. object.codec or backup.manifest.encryption and "encrypted" or
    "no single file"))
end

local function restore_argv(major, target, format, options, mode)
  local conninfo, env = target:for_program()
  local argv = { tools.find("pg_restore", major), "--no-password", "--format=" .. format }
  dump_options.add_restore(argv, options, major)
  if options.on_error ~= "continue" then
    argv[#argv + 1] = "--exit-on-error"
  end
  if mode == "clean" then
    argv[#argv + 1], argv[#argv + 2] = "--clean", "--if-exists"
  end
  return argv, env, "--dbname=" .. conninfo
end

local function warn_of_triggers(target, options)
  if not options.data_only or options.disable_triggers then
    return
  end
  local connection <close> = target:connect()
  local n = connection:value "SELECT count(*) FROM pg_catalog.pg_trigger WHERE NOT tgisinternal"
  if n > 0 then
    log.warn("data_only: %s of the database will fire for what is restored; " ..
      "disable_triggers = true keeps them quiet", units.format_count(n, "trigger"))
  end
end

--- Runs pg_restore (`command`: argv, env, stdout = true) on what fn(sink) writes, sink() being the end
--- of a flow. When it ends early it knows best why. Raises PROCESS_FAILED.
function M.feed(command, fn)
  local child <close> = process.spawn(merge(command, { write = true }))
  local ok, err = pcall(fn, function() return { kind = "stdin", child = child } end)
  if not ok and errors.of(err).code ~= "BROKEN_PIPE" then
    child:kill "KILL" -- before its stdin ends, which it could take for the end of the archive
    error(err, 0)
  end
  child:close_stdin()
  local code, stderr = child:wait()
  if code ~= 0 or not ok then
    errors.raise("PROCESS_FAILED", code == 0 and "pg_restore ended before it had read everything" or
      ("pg_restore failed with exit code %d"):format(code), { detail = stderr })
  elseif stderr ~= "" then
    log.warn("pg_restore: %s", stderr)
  end
end

-- What data_only.lua does instead of pg_restore's options.
local function without_selection(options)
  local left = merge(options)
  for _, key in ipairs { "data_only", "disable_triggers", "schema", "exclude_schema", "section" } do
    left[key] = nil
  end
  return left
end

-- A directory backup as a stream of its objects.
local function from_directory(backup, store, target, major, options, mode)
  local edit
  if options.data_only and data_only.is_asked(options) then
    edit = function(archive)
      local connection <close> = target:connect()
      data_only.put_around(archive, connection, options)
    end
  end
  local argv, env, dbname = restore_argv(major, target, "custom", edit and without_selection(options) or
    options, mode)
  argv[#argv + 1] = dbname
  if mode and options.on_error ~= "continue" then
    argv[#argv + 1] = "--single-transaction"
    warn_of_jobs(options, ONE_TRANSACTION)
  else
    warn_of_jobs(options, "into a database that exists pg_restore reads one stream")
  end
  M.feed({ argv = argv, env = env }, function(sink)
    streams.write(backup, store, options, "restore into " .. tostring(target), sink, edit)
  end)
end

-- pg_restore from the stream, or from the object itself if it can be read at any place.
local function from_stream(backup, store, target, major, options, mode)
  local argv, env, dbname = restore_argv(major, target, backup.manifest.dump.format, options, mode)
  argv[#argv + 1] = dbname
  local list <close> = options.table and fs.tempdir() or nil
  if options.table then
    local entries = toc_list.choose(listed_entries(backup, store, major), options.table,
      options.dependencies)
    for i, entry in ipairs(entries) do
      entries[i] = entry.id .. ";"
    end
    fs.write(list.path .. "/list", table.concat(entries, "\n") .. "\n")
    argv[#argv + 1] = "--use-list=" .. list.path .. "/list"
  end
  local path = seekable(backup, store, options, mode)
  if path then
    verify.read_object(backup, store, manifests.data_object(backup.manifest))
    argv[#argv + 1] = ("--jobs=%d"):format(options.jobs)
    argv[#argv + 1] = path
    process.run { argv = argv, env = env }
    return
  end
  if mode and options.on_error ~= "continue" then
    argv[#argv + 1] = "--single-transaction"
    -- It commits at the end of the stream: too late to find that it was not the recorded one.
    verify.read_object(backup, store, manifests.data_object(backup.manifest))
  end
  stream(backup, store, { kind = "process", env = env, argv = argv },
    "restore into " .. tostring(target))
end

local function pg_restore(backup, store, target, major, options, mode)
  warn_of_triggers(target, options)
  local load = backup.manifest.dump.format == "directory" and from_directory or from_stream
  load(backup, store, target, major, options, mode)
end

--- Loads a backup into a database. `mode`: nil for one of our own that nobody sees yet, otherwise
--- what may be done to it ("empty", "add", "clean"): then it is one transaction. Raises
--- RESTORE_FAILED, CORRUPT. `shown`: the database to name in messages, when it is another one.
function M.into(backup, store, target, options, mode, shown)
  local major = major_of(target)
  local plain = backup.manifest.dump.format == "plain"
  local ok, err = pcall(plain and psql or pg_restore, backup, store, target, major, options, mode)
  if ok then
    return
  end
  err = errors.of(err)
  -- Damage makes errors that look like something else: then that is what is told.
  if err.code == "PROCESS_FAILED" then
    verify.read(backup, store)
  end
  error(M.explain(err, plain and "psql" or "pg_restore", shown or target), 0)
end

return M
