--- The native restore of a directory backup into a database of our own, which nobody uses yet: rows by
--- COPY over several connections straight from the store, everything else by pg_restore.
---
---   contents   which entries, in which steps                   -> contents.lua
---   units      which object goes into which tables             -> work.lua
---   loaders    store -> SHA-256, codec -> content hash, COPY   -> loader.lua
---
--- Each unit is a transaction, so nothing wrong is ever committed. Nothing is kept on disk here but the
--- table of contents. What has been done is noted in the database itself, in the transaction that
--- does it (progress.lua): so a unit whose connection was lost is loaded again only if it had not been
--- committed, and a restore that was interrupted goes on.
local adapters = require "moonkeep.restore.adapters"
local analyze = require "moonkeep.restore.analyze"
local clock = require "moonkeep.clock"
local contents = require "moonkeep.restore.contents"
local core_task = require "moonkeep.core.task"
local dump_options = require "moonkeep.pg.dump_options"
local errors = require "moonkeep.errors"
local fs = require "moonkeep.fs"
local load = require "moonkeep.pg.load"
local loaders = require "moonkeep.restore.loader"
local log = require "moonkeep.log"
local merge = require "moonkeep.merge"
local meters = require "moonkeep.meter"
local options_of = require "moonkeep.restore.options"
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
  if self.options.on_error ~= "continue" or loaders.is_final(err) then
    error(err, 0)
  end
  table.insert(self.failures, err)
end

-- ---- rows -----------------------------------------------------------------------------------------

-- With on_error = "continue" the tables of a pack do not fail for each other.
function Engine:load_or_note(unit, loader)
  if self.options.on_error ~= "continue" or #unit.tables < 2 then
    return self:attempt(loaders.load, self, unit, loader)
  end
  local ok, err = pcall(loaders.load, self, unit, loader)
  if not ok and loaders.is_final(errors.of(err)) then
    error(err, 0)
  elseif not ok then
    for i, t in ipairs(unit.tables) do
      local single = merge(unit, { tables = { t }, key = ("%s, %d"):format(unit.key, i) })
      self:attempt(loaders.load, self, single, loader)
    end
  end
end

-- Builds an index whose table is loaded. It is tried again, and what keeps it from being built is told,
-- when all rows are there.
function Engine:build_index(unit, loader)
  local entry = unit.entry
  local ok, err = pcall(function()
    loaders.connection(self, loader):transaction(function(connection)
      connection:query(("SET LOCAL maintenance_work_mem = '%dkB'"):format(self.maintenance_kb))
      if (entry.tablespace or "") ~= "" and not self.options.no_tablespaces then
        connection:query("SET LOCAL default_tablespace = " .. pg.literal(entry.tablespace))
      end
      connection:query(entry.create)
      progress.add_entry(connection, entry)
    end)
  end)
  if ok then
    self.done[progress.entry(entry)] = ""
    return
  end
  err = errors.of(err)
  if loaders.is_final(err) then
    error(err, 0)
  end
  log.debug("%s is left for later: %s", entry.name, err.message)
  if err.code ~= "PG_ERROR" then
    loaders.lost(self, loader)
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
      if unit.kind == "index" then
        self:build_index(unit, loader)
      else
        self:load_or_note(unit, loader)
      end
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

-- Indexes are built by whoever finds no rows to load.
function Engine:add_indexes()
  if self.jobs == 1 or not self.notes then
    return
  end
  for _, unit in ipairs(work.index_units(self.archive, self.steps, self.units)) do
    if not self.done[progress.entry(unit.entry)] and contents.is_chosen(unit.entry, self.options) then
      self.units[#self.units + 1] = unit
    end
  end
end

function Engine:load_rows()
  self.units = work.units(self.steps.rows, self.options.data_only and {} or self.steps.before,
    self.manifest)
  if #self.units == 0 then
    return
  end
  self.first, self.n_running, self.pending = 1, 0, work.pending(self.units)
  self.meter = meters.new("restore into " .. tostring(self.shown), self:skip_done())
  self:add_indexes()
  local shown <close> = core_task.scope()
  shown:spawn(self.meter.show, self.meter)
  local scope <close> = core_task.scope()
  for _ = 1, math.min(self.jobs, #self.units) do
    scope:spawn(self.loader, self)
  end
  scope:join()
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
  self.working:begin()
end

function Engine:end_progress()
  local connection <close> = self:connect(true)
  progress.drop(connection)
end

function Engine:call_adapters(which)
  local connection <close> = self:connect(true)
  adapters.call(connection, which)
end

-- What comes before the rows: extensions, and the schemas that they are in, first.
function Engine:run_before()
  if self.resumes then
    return self:call_adapters "before"
  end
  local first, rest, last = {}, {}, 0
  for i, entry in ipairs(self.steps.before) do
    last = entry.kind == "EXTENSION" and i or last
  end
  for i, entry in ipairs(self.steps.before) do
    table.insert(i <= last and first or rest, entry)
  end
  self:run(first)
  self:call_adapters "before"
  self:run(rest)
  self:begin_progress()
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

function Engine:analyze()
  analyze.run(function() return self:connect() end, self.jobs)
end

-- Calls a method, and notes how long it took.
function Engine:step(name, method, ...)
  local began = clock.monotonic()
  method(self, ...)
  log.debug("%s: %d ms", name, clock.monotonic() - began)
end

-- Event triggers come when nothing else is left, not even the notes of what was done. (A restore that
-- was interrupted in this step may have left either.)
function Engine:finish()
  self:end_progress()
  self:run(self.steps.event_triggers)
  self:tell_failures()
end

function Engine:steps_in_order()
  local steps, run = self.steps, self.run
  self:step("settings", self.prepare)
  if self.working.state == "triggers" then
    return self:finish()
  end
  self:step("before", self.run_before)
  self:step("rows", self.load_rows)
  self:step("values", run, steps.values)
  self:step("indexes", run, steps.indexes, self.jobs)
  self:step("after", run, steps.after)
  self:step("foreign keys", run, steps.foreign_keys, self.jobs)
  self:step("last", run, steps.last)
  self:step("adapters", self.call_adapters, "after")
  self:step("statistics", self.analyze)
  self.working:set_state "triggers"
  self:finish()
end

-- The steps whose entries are noted: event triggers come when the notes are gone, which they could
-- see.
local NOTED = { "values", "indexes", "after", "foreign_keys", "last" }

-- Entries that come after the rows are noted. (Not when they are restored by others, who may not.)
local function note_entries(archive, steps, options)
  if options_of.changes_users(options) then
    return false
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
  return true
end

--- Restores a directory backup into a database that is empty and nobody else's. `plan`: backup,
--- store, archive (contents.chosen), target (the source of that database), options (see `restore`
--- in definitions/tables.lua), shown (the target as messages name it), working (see pg/working.lua; its
--- connection is open since before the database was created, and publishes it: a server that crashes
--- takes it away, and with it what may have been lost; its `done` is what an interrupted restore has
--- done: see progress.lua). Raises CORRUPT, RESTORE_FAILED (by pg_restore), PG_CONNECTION_LOST and the
--- server's errors.
function M.restore(plan)
  local options, archive = plan.options, plan.archive
  local pg_restore_options = merge(options)
  pg_restore_options.section = nil -- the steps see to that
  local self = setmetatable(merge(plan, { manifest = plan.backup.manifest,
    pg_restore_options = pg_restore_options, steps = contents.steps(archive, options), failures = {},
    guard = plan.working.admin, done = plan.working.done or {}, resumes = plan.working.done ~= nil,
    jobs = options.jobs or M.DEFAULT_JOBS, encoding = toc.encoding(archive) }), Engine)
  self.notes = note_entries(archive, self.steps, options)
  local folder <close> = tempdir.new()
  self.folder = folder
  fs.write(folder.path .. "/toc.dat", toc.write(toc.to_directory(archive, "none")))
  local ok, err = pcall(self.steps_in_order, self)
  if not ok then
    error(load.explain(errors.of(err), "pg_restore", plan.shown), 0)
  end
end

return M
