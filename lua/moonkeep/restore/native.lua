--- The native restore of a directory backup into a database of our own, which nobody uses yet: rows by
--- COPY over several connections straight from the store, everything else by pg_restore.
---
---   contents   which entries, in which steps           -> contents.lua
---   units      which object goes into which tables     -> work.lua
---   loaders    store -> SHA-256, codec -> content hash, COPY
---
--- Each unit is a transaction, which is committed only when the object's digest, and the rows and the
--- content hash of each of its tables, are those of the manifest: so nothing wrong is ever
--- committed. Nothing is kept on disk here but the table of contents. What has been done is noted in
--- the database itself, in the transaction that does it (progress.lua): so a unit whose connection was
--- lost is loaded again only if it had not been committed, and a restore that was interrupted goes on.
local analyze = require "moonkeep.restore.analyze"
local contents = require "moonkeep.restore.contents"
local core_task = require "moonkeep.core.task"
local dump_options = require "moonkeep.pg.dump_options"
local errors = require "moonkeep.errors"
local fs = require "moonkeep.fs"
local load = require "moonkeep.pg.load"
local log = require "moonkeep.log"
local merge = require "moonkeep.merge"
local meters = require "moonkeep.meter"
local pg = require "moonkeep.pg"
local process = require "moonkeep.process"
local progress = require "moonkeep.restore.progress"
local sessions = require "moonkeep.pg.session"
local sums = require "moonkeep.dump.sums"
local tempdir = require "moonkeep.tempdir"
local toc = require "moonkeep.pg.toc"
local tools = require "moonkeep.pg.tools"
local units = require "moonkeep.units"
local verify = require "moonkeep.verify"
local work = require "moonkeep.restore.work"

local M = { DEFAULT_JOBS = 2 }

local MAX_TRIES = 3 -- of a unit whose connection was lost
local WAIT_MS = 20 -- for a unit that others wait for

local POOLER_HINT = "restore into the server itself, not through its pooler"

-- ---- connections ----------------------------------------------------------------------------------

local Engine = {}
Engine.__index = Engine

-- The text of the type money depends on it. (It may be a locale that this server does not have.)
function Engine:set_monetary(connection)
  local wanted = (self.manifest.dump.settings or {}).lc_monetary
  if wanted and not sessions.set_monetary(connection, wanted) and not self.warned_of_monetary then
    self.warned_of_monetary = true
    log.warn("the server has no locale %s, in which values of type money were written", wanted)
  end
end

-- Whether an error is no failure of what was tried: we are to end, or there is nobody to try it with.
local function is_final(err)
  return core_task.canceled() or err.code == "CANCELED"
end

-- A connection that loads. (synchronous_commit: the database gets its name by a transaction that does
-- wait, and so waits for all before it.)
-- `as_oneself`: without the option `role`.
function Engine:connect(as_oneself)
  local connection = self.target:connect { patient = true }
  local ok, err = pcall(function()
    sessions.check_pooler(connection, nil, POOLER_HINT)
    if self.options.role and not as_oneself then
      connection:query("SET ROLE " .. pg.identifier(self.options.role))
    end
    sessions.pin(connection, { { "client_encoding", self.encoding }, { "row_security", "off" },
      { "synchronous_commit", "off" }, { "check_function_bodies", "off" },
      { "client_min_messages", "warning" } })
    self:set_monetary(connection)
  end)
  if not ok then
    connection:close()
    error(err, 0)
  end
  return connection
end

-- ---- by pg_restore --------------------------------------------------------------------------------

-- Options of pg_restore's sessions, beside those that the source has.
function Engine:session_options()
  local set = self.target.keys.options or os.getenv "PGOPTIONS"
  return ("%s-c maintenance_work_mem=%dkB -c synchronous_commit=off"):format(set and set .. " " or
    "", self.maintenance_kb)
end

-- Those of a step that an interrupted restore has left.
function Engine:left(entries)
  local left = {}
  for _, entry in ipairs(entries) do
    left[#left + 1] = not self.done[progress.entry(entry)] and entry or nil
  end
  return left
end

-- Entries restored by pg_restore. (It sees all others, too, for it has to know what locks what.)
function Engine:run(entries, jobs)
  entries = self:left(entries)
  if #entries == 0 then
    return
  end
  local list = self.folder.path .. "/list"
  fs.write(list, table.concat(toc.lines(entries), "\n") .. "\n")
  local conninfo, env = self.target:with({ options = self:session_options() }):for_program()
  local argv = { tools.find("pg_restore", self.major), "--no-password", "--format=directory" }
  dump_options.add_restore(argv, self.pg_restore_options, self.major)
  argv[#argv + 1] = self.options.on_error ~= "continue" and "--exit-on-error" or nil
  if self.resumes and not self.options.data_only then -- some, with their owners, are several queries
    argv[#argv + 1], argv[#argv + 2] = "--clean", "--if-exists"
  end
  argv[#argv + 1] = jobs and jobs > 1 and ("--jobs=%d"):format(jobs) or nil
  table.move({ "--use-list=" .. list, "--dbname=" .. conninfo, self.folder.path }, 1, 3, #argv + 1,
    argv)
  self:attempt(process.run, { argv = argv, env = env })
end

-- Calls fn; with on_error = "continue" what fails is kept for the end.
function Engine:attempt(fn, ...)
  local ok, err = pcall(fn, ...)
  if ok then
    return
  end
  err = errors.of(err)
  if self.options.on_error ~= "continue" or is_final(err) then
    error(err, 0)
  end
  table.insert(self.failures, err)
end

-- ---- rows -----------------------------------------------------------------------------------------

function Engine:damaged(unit, t, why)
  errors.raise("CORRUPT", ("%s in store %s: %s: %s of %s"):format(self.backup.id, self.store.name,
    unit.object.name, why, t.name), { hint = "nothing of it was committed; restore an older backup, " ..
    "or this one from another store" })
end

function Engine:check(unit, t, rows, sum)
  if tonumber(rows) ~= t.rows then
    self:damaged(unit, t, ("the server took %s rows, not the %d"):format(rows, t.rows))
  elseif sum ~= t.sum then
    self:damaged(unit, t, "the rows are not those")
  end
end

-- An object into the database, by these stages; `sum` is the one that sums it up on the way.
function Engine:unpack(unit, sum, stages)
  sum.label = "sum"
  return verify.unpack(self.backup, self.store, unit.object, { kind = "tee", { sum }, stages },
    self.meter)
end

-- How the units of each kind are loaded.
local LOADERS = {}

function LOADERS.rows(self, unit, connection)
  local t = unit.tables[1]
  local report = self:unpack(unit, { kind = "rows" }, { { kind = "copy", label = "loaded",
    connection = connection.native, sql = t.sql } })
  self:check(unit, t, report.loaded.result, report.sum.result)
end

function LOADERS.pack(self, unit, connection)
  local members, rows = {}, {}
  for i, t in ipairs(unit.tables) do
    members[i] = { t.member, t.sql }
  end
  local report = self:unpack(unit, { kind = "rows", packed = true }, { { kind = "unpack",
    label = "loaded", connection = connection.native, members = members } })
  local found = sums.by_member(report.sum.result)
  for count in report.loaded.result:gmatch "[^\n]+" do
    rows[#rows + 1] = count
  end
  for i, t in ipairs(unit.tables) do
    self:check(unit, t, rows[i], found[t.member])
  end
end

-- Rows that no table keeps: the condition writes each into its object, and lets none of them pass.
local LARGE_OBJECTS = [[COPY pg_temp.moonkeep_large_objects FROM STDIN (FORMAT binary)
  WHERE pg_catalog.lo_put(oid, at, data) IS NULL]]

function LOADERS.objects(self, unit, connection)
  connection:query [[CREATE TEMPORARY TABLE moonkeep_large_objects
    (oid oid, at bigint, data bytea) ON COMMIT DROP]]
  local report = self:unpack(unit, { kind = "large_objects", packed = unit.packed, oid = unit.oid },
    { { kind = "large_object_rows", packed = unit.packed, oid = unit.oid },
      { kind = "copy", label = "loaded", connection = connection.native, sql = LARGE_OBJECTS } })
  unit.sum = report.sum.result
end

-- What the tables of a unit are called, for messages; of several the one that the server names.
local function names_of(unit, err)
  local named = err and (err.detail or ""):match "COPY (.-), line %d+"
  for _, t in ipairs(unit.tables) do
    if #unit.tables == 1 or t.entry.name == named then
      return t.name
    end
  end
  if #unit.tables == 0 then
    return "large objects"
  end
  return ("%s and %d more"):format(unit.tables[1].name, #unit.tables - 1)
end

-- One try of a unit, in one transaction.
function Engine:load(unit, connection)
  connection:transaction(function()
    local truncate = {}
    for _, t in ipairs(unit.tables) do
      truncate[#truncate + 1] = t.truncate and "ONLY " .. t.truncate
    end
    if #truncate > 0 then -- so that rows may be frozen
      connection:query("TRUNCATE " .. table.concat(truncate, ", "))
    end
    LOADERS[unit.kind](self, unit, connection)
    progress.add(connection, unit)
  end)
end

-- A server that has crashed may have lost what it had said was committed.
function Engine:check_guard()
  local ok, err = pcall(self.guard.value, self.guard, "SELECT 1")
  err = not ok and errors.of(err)
  if not ok and is_final(err) then
    error(err, 0)
  elseif not ok and err.code ~= "BUSY" then -- else another loader is asking
    errors.raise("PG_CONNECTION_LOST", "the server went away during the restore: " ..
      err.message, { hint = "see the server's log for the cause; then restore again" })
  end
end

-- Damage makes errors that look like something else: then that is what is told.
function Engine:explain(unit, err)
  if err.code == "PG_ERROR" then
    local ok, damage = pcall(verify.read_object, self.backup, self.store, unit.object, self.meter)
    err = ok and err or errors.of(damage)
  end
  err.message = ("%s: %s"):format(names_of(unit, err), err.message)
  return err
end

function Engine:load_with_retries(unit, loader)
  for try = 1, MAX_TRIES do
    loader.connection = loader.connection or self:connect()
    if try > 1 and progress.has(loader.connection, unit) then
      return -- it had been committed, but we were not told
    end
    local ok, err = pcall(self.load, self, unit, loader.connection)
    if ok then
      return
    end
    err = errors.of(err)
    if err.code ~= "PG_CONNECTION_LOST" or try == MAX_TRIES then
      error(self:explain(unit, err), 0)
    end
    log.warn("the connection that loaded %s was lost: loading it again (%s)", names_of(unit),
      err.message)
    loader.connection:close()
    loader.connection = nil
    self:check_guard()
  end
end

-- With on_error = "continue" the tables of a pack do not fail for each other.
function Engine:load_or_note(unit, loader)
  if self.options.on_error ~= "continue" or #unit.tables < 2 then
    return self:attempt(self.load_with_retries, self, unit, loader)
  end
  local ok, err = pcall(self.load_with_retries, self, unit, loader)
  if not ok and is_final(errors.of(err)) then
    error(err, 0)
  elseif not ok then
    for i, t in ipairs(unit.tables) do
      local single = merge(unit, { tables = { t }, key = ("%s, %d"):format(unit.key, i) })
      self:attempt(self.load_with_retries, self, single, loader)
    end
  end
end

-- The next unit that waits for nobody; nil when there is none now, and whether there will be.
function Engine:next_unit()
  local waiting
  for i = self.first, #self.units do
    local unit = self.units[i]
    if not unit.taken then
      if work.is_ready(unit, self.pending) then
        return unit
      end
      waiting = waiting or unit
    elseif i == self.first then
      self.first = i + 1
    end
  end
  if waiting and self.n_running == 0 then
    return waiting -- they wait for each other
  end
  return nil, waiting ~= nil
end

-- A loader: takes units for as long as there are any.
function Engine:loader()
  local loader = {}
  local _ <close> = setmetatable({}, { __close = function()
    if loader.connection then
      loader.connection:close()
    end
  end })
  while true do
    local unit, later = self:next_unit()
    if unit then
      unit.taken = true
      self.n_running = self.n_running + 1
      self:load_or_note(unit, loader)
      self.n_running = self.n_running - 1
      work.done(unit, self.pending)
    elseif later then
      core_task.sleep(WAIT_MS)
    else
      return
    end
  end
end

-- Takes out what an interrupted restore had loaded. Returns the bytes that are left.
function Engine:skip_done()
  local n_done, left = 0, 0
  for i, unit in ipairs(self.units) do
    unit.key = ("%d %s"):format(i, unit.object.name)
    local sum = self.done[progress.unit(unit.key)]
    if sum then
      unit.taken, unit.sum, n_done = true, sum ~= "" and sum or nil, n_done + 1
      work.done(unit, self.pending)
    else
      left = left + unit.object.size
    end
  end
  if self.resumes then
    log.info("%d of %s had been loaded before", n_done, units.format_count(#self.units, "object"))
  end
  return left
end

function Engine:load_rows()
  self.units = work.units(self.steps.rows, self.options.data_only and {} or self.steps.before,
    self.manifest)
  if #self.units == 0 then
    return
  end
  self.first, self.n_running, self.pending = 1, 0, work.pending(self.units)
  self.meter = meters.new("restore into " .. tostring(self.shown), self:skip_done())
  local shown <close> = core_task.scope()
  shown:spawn(self.meter.show, self.meter)
  local loaders <close> = core_task.scope()
  for _ = 1, math.min(self.jobs, #self.units) do
    loaders:spawn(self.loader, self)
  end
  loaders:join()
  self:check_large_objects()
  if #self.failures == 0 then
    self:tell_rows()
  end
end

-- What was loaded; all of it as the manifest has it, else we would not be here.
function Engine:tell_rows()
  local tables, n_tables, n_rows = {}, 0, 0
  for _, unit in ipairs(self.units) do
    for _, t in ipairs(unit.tables) do
      n_tables = n_tables + (tables[t.name] and 0 or 1)
      tables[t.name] = true
      n_rows = n_rows + t.rows
    end
  end
  log.info("loaded %s of %s over %s: all are those that were dumped", units.format_count(n_rows, "row"),
    units.format_count(n_tables, "table"), units.format_count(self.jobs, "connection"))
end

function Engine:check_large_objects()
  local sum, any = sums.new(), false
  for _, unit in ipairs(self.units) do
    if unit.kind == "objects" and not unit.sum then
      return -- it has failed, which is told
    elseif unit.sum then
      any = true
      sum:add(unit.sum)
    end
  end
  if any then
    verify.check_large_objects(self.backup, self.store, sum)
  end
end

-- ---- all of it ------------------------------------------------------------------------------------

-- Memory for building indexes: as much of the server's own buffers as a connection's share is, within
-- 64 MiB and 1 GiB, and not less than the server would give.
local MAINTENANCE = [[
  SELECT greatest((SELECT setting::bigint FROM pg_catalog.pg_settings
      WHERE name = 'maintenance_work_mem'),
    least(1048576, greatest(65536, (SELECT setting::bigint * 8 / 2 FROM pg_catalog.pg_settings
      WHERE name = 'shared_buffers') / $1::int)))]]

function Engine:prepare()
  local connection <close> = self:connect()
  self.major = connection:major()
  self.maintenance_kb = connection:value(MAINTENANCE, self.jobs)
  log.debug("maintenance_work_mem is %d MiB for each of %d connections", self.maintenance_kb // 1024,
    self.jobs)
end

function Engine:begin_progress()
  local connection <close> = self:connect(true)
  progress.begin(connection, self.options.role)
  self.on_begun()
end

function Engine:end_progress()
  local connection <close> = self:connect(true)
  progress.drop(connection)
end

-- With on_error = "continue": one error for all that there were.
function Engine:tell_failures()
  if #self.failures == 0 then
    return
  end
  local details, n = {}, 0
  for i, err in ipairs(self.failures) do
    local text = err.detail or ""
    n = n + (tonumber(text:match "errors ignored on restore: (%d+)") or 1)
    details[i] = err.code == "PROCESS_FAILED" and text or "pg_restore: error: " .. err.message
  end
  errors.raise("PROCESS_FAILED", "the restore went on after errors", {
    detail = table.concat(details, "\n") .. ("\nerrors ignored on restore: %d"):format(n) })
end

function Engine:steps_in_order()
  self:prepare()
  if not self.resumes then
    self:run(self.steps.before)
    self:begin_progress()
  end
  self:load_rows()
  self:run(self.steps.values)
  self:run(self.steps.indexes, self.jobs)
  self:run(self.steps.after)
  self:run(self.steps.foreign_keys, self.jobs)
  self:run(self.steps.last)
  analyze.run(function() return self:connect() end, self.jobs)
  self:end_progress()
  self:run(self.steps.event_triggers)
  self:tell_failures()
end

-- The steps whose entries are noted: event triggers come when the notes are gone, which they could
-- see.
local NOTED = { "values", "indexes", "after", "foreign_keys", "last" }

-- Entries that come after the rows are noted. (Not when they are restored by others, who may not.)
local function note_entries(archive, steps, options)
  if table.concat(options.extra or {}, " "):find("session-auth", 1, true) then
    return
  end
  local noted = {}
  for _, name in ipairs(NOTED) do
    for _, entry in ipairs(steps[name]) do
      noted[entry.id] = progress.noting(entry)
    end
  end
  for i, entry in ipairs(archive.entries) do
    archive.entries[i] = noted[entry.id] or entry
  end
end

--- Restores a directory backup into a database that is empty and nobody else's. `plan`: backup,
--- store, target (the source of that database), options (see `restore` in definitions/tables.lua),
--- shown (the target as messages name it), guard (a connection that is open since before the
--- database was created, and by which it will be published: a server that crashes takes it away, and
--- with it what may have been lost), done (what an interrupted restore of the same options has done
--- there: see progress.lua), on_begun() (called when there is something to go on with). Raises
--- CORRUPT, RESTORE_FAILED (by pg_restore), PG_CONNECTION_LOST and the server's errors.
function M.restore(plan)
  local options, archive = plan.options, contents.archive(plan.backup, plan.store)
  if options.table then
    contents.choose(archive, options)
  end
  local pg_restore_options = merge(options)
  pg_restore_options.section = nil -- the steps see to that
  local self = setmetatable(merge(plan, { manifest = plan.backup.manifest, archive = archive,
    pg_restore_options = pg_restore_options, steps = contents.steps(archive, options), failures = {},
    done = plan.done or {}, resumes = plan.done ~= nil, jobs = options.jobs or M.DEFAULT_JOBS,
    encoding = toc.encoding(archive) }), Engine)
  note_entries(archive, self.steps, options)
  local folder <close> = tempdir.new()
  self.folder = folder
  fs.write(folder.path .. "/toc.dat", toc.write(toc.to_directory(archive, "none")))
  local ok, err = pcall(self.steps_in_order, self)
  if not ok then
    error(load.explain(errors.of(err), "pg_restore", plan.shown), 0)
  end
end

return M
