--- The native dump engine: rows by COPY over several connections under one snapshot, everything else
--- as pg_dump says it. What comes out is a PostgreSQL archive in directory format.
---
---   leader      snapshot, locks            -> session.lua
---   pg_dump     the table of contents      -> contents.lua
---   units       what is read by whom       -> work.lua, large_objects.lua
---   followers   COPY -> hash -> codec -> SHA-256 and every store
---
--- Nothing is kept on disk here. A unit whose connection was lost is read again, under the same
--- snapshot, by a new one; a table that a follower cannot lock is read by the leader, which has its
--- lock. The table of contents is written last.
local contents = require "moonkeep.dump.contents"
local core_task = require "moonkeep.core.task"
local errors = require "moonkeep.errors"
local flow = require "moonkeep.flow"
local large_objects = require "moonkeep.dump.large_objects"
local log = require "moonkeep.log"
local merge = require "moonkeep.merge"
local meters = require "moonkeep.meter"
local session = require "moonkeep.dump.session"
local sums = require "moonkeep.dump.sums"
local throttle = require "moonkeep.dump.throttle"
local toc = require "moonkeep.pg.toc"
local units = require "moonkeep.units"
local watch = require "moonkeep.dump.watch"
local work = require "moonkeep.dump.work"

local M = { DEFAULT_JOBS = 2 }

local MAX_TRIES = 3 -- of a unit whose connection was lost
local ANEW_WAIT_MS = 200

-- ---- the beginning: snapshot, table of contents, locks --------------------------------------------

-- One try: a leader with all locks, the archive and its tables; nil and the name of a table that
-- somebody is changing.
local function try_begin(source, options, watcher)
  local leader = session.lead(source, options)
  local ok, tables, archive = pcall(function()
    watcher.pids[leader.pid] = true
    local dump <close> = contents.read(leader, watcher)
    leader:set_encoding(toc.encoding(dump.archive))
    local found = work.tables(leader.connection, dump.archive)
    local locked, changing = contents.lock(leader, found)
    if not locked then
      return nil, changing
    end
    dump:finish()
    return found, dump.archive
  end)
  if not ok or not tables then
    watcher.pids[leader.pid] = nil
    leader:close()
    if not ok then
      error(tables, 0)
    end
    return nil, archive
  end
  return leader, archive, tables
end

local function begin(source, options, watcher)
  local lock_timeout = options.lock_timeout and units.duration(options.lock_timeout)
  local waited = 0
  while true do
    local leader, result, tables = try_begin(source, options, watcher)
    if leader then
      return leader, result, tables
    elseif lock_timeout and waited >= lock_timeout then
      errors.raise("LOCK_TIMEOUT", ("the lock of %s was not free within %s"):format(result,
        options.lock_timeout), { hint = "see who has it: SELECT * FROM pg_locks WHERE NOT granted" })
    end
    log.info("%s is being changed by somebody: beginning anew, with a new snapshot", result)
    core_task.sleep(ANEW_WAIT_MS)
    waited = waited + ANEW_WAIT_MS
  end
end

-- ---- moving units ---------------------------------------------------------------------------------

local Engine = {}
Engine.__index = Engine

-- Each take_* keeps what a flow has told of a unit.

-- Rows of one table, or of a range of it.
function Engine:take_rows(unit, report)
  unit.sums = { sums.parse(report.source.result) }
end

-- Members of a pack; those that were too large become units of their own.
function Engine:take_pack(unit, report)
  local i = 0
  unit.sums = {}
  for line in report.source.result:gmatch "[^\n]+" do
    i = i + 1
    if line == "-" then
      table.insert(self.units, work.single(unit.tables[i]))
    end
    unit.sums[i] = line ~= "-" and sums.parse(line)
  end
end

function Engine:take_objects(unit, report)
  unit.sums = { sums.parse(report.files.result) }
end

-- From the connection to what is stored: COPY compresses by itself, but for gzip, which is made in
-- parallel, and large objects, which become files first.
function Engine:stages(unit, connection)
  local stage = merge(unit.stage, { connection = connection.native })
  local encode = { kind = "encode", codec = self.codec, threads = 1 }
  if unit.kind == "objects" then
    return { stage, { kind = "large_object_files", packed = unit.packed, label = "files" }, encode }
  elseif flow.codec(self.codec) == "gzip" or self.limiter then
    return { stage, encode } -- what is limited is what is read: so it must come out in small pieces
  end
  stage.codec = self.codec
  return { stage }
end

-- One flow from a connection into every store.
function Engine:move(unit, connection)
  local name, stages = unit.file .. self.suffix, self:stages(unit, connection)
  if self.copies then
    name = self.copies:append(stages, name)
  else
    stages[#stages + 1] = { kind = "null", label = "stored" }
  end
  local report = flow.run(stages, { meter = self.meter, limiter = self.limiter })
  local plain = report.files and report.files.bytes_out or report.source.bytes_read
  unit.object = { name = name, role = unit.kind == "rows" and "data" or unit.kind,
    codec = self.codec, size = report.stored.bytes_in, sha256 = report.stored.result,
    decoded_size = plain }
  self["take_" .. unit.kind](self, unit, report)
end

-- With the leave to read foreign tables where it is needed.
function Engine:copy(unit, connection)
  if unit.foreign then
    session.allow_foreign(connection, true)
  end
  self:move(unit, connection)
  if unit.foreign then
    session.allow_foreign(connection, false)
  end
end

local LOCK_NOT_AVAILABLE = "55P03"

-- What became of a unit that failed: "leader" has to read it, or it is to be tried "again". Anything
-- else is raised.
function Engine:judge(unit, err)
  err = errors.of(err)
  if err.sqlstate == LOCK_NOT_AVAILABLE then
    log.info("a lock of %s is waited for by somebody else: the leader reads it", unit.file)
    return "leader"
  elseif err.code == "PG_CONNECTION_LOST" and unit.tries < MAX_TRIES then
    log.warn("the connection that read %s was lost: reading it again (%s)", unit.file, err.message)
    return "again"
  end
  error(err, 0)
end

-- A worker: takes units for as long as there are any.
function Engine:work()
  local connection
  local _ <close> = setmetatable({}, { __close = function()
    if connection then
      connection:close()
    end
  end })
  while self.next <= #self.units do
    local unit = self.units[self.next]
    self.next = self.next + 1
    unit.file = unit.file or self:pack_name()
    repeat
      unit.tries = (unit.tries or 0) + 1
      if not connection then
        connection = self.leader:follower()
        self.pids[connection.native:backend_pid()] = true
      end
      local ok, err = pcall(self.copy, self, unit, connection)
      local verdict = not ok and self:judge(unit, err)
      if verdict then
        self.pids[connection.native:backend_pid()] = nil
        connection:close()
        connection = nil
      end
      if verdict == "leader" then
        table.insert(self.for_leader, unit)
      end
    until verdict ~= "again"
  end
end

function Engine:pack_name()
  self.n_packs = (self.n_packs or 0) + 1
  return ("pack-%d.tar"):format(self.n_packs)
end

-- All units, then what is left for the leader.
function Engine:run_units()
  local scope <close> = core_task.scope()
  for _ = 1, math.min(self.jobs, #self.units) do
    scope:spawn(self.work, self)
  end
  scope:join()
  local for_leader = self.for_leader
  self.for_leader = {}
  for _, unit in ipairs(for_leader) do
    self:copy(unit, self.leader.connection)
  end
  if self.next <= #self.units then -- what was left out of packs by the last ones
    self:run_units()
  end
end

-- ---- the result -----------------------------------------------------------------------------------

-- What the manifest says of a table.
local function new_table(t)
  return { oid = t.oid, schema = t.shown.schema, name = t.shown.name, parts = {}, sum = sums.new() }
end

local function add_part(known, part, sum, number)
  known.sum:add(sum)
  part.rows, part.bytes, part.hash = sum.rows, sum.bytes, sum.hash
  known.parts[number] = part
end

-- The tables by entry, and the files of each.
function Engine:collect()
  local by_entry, files = {}, {}
  local function of(t)
    local id = t.entry.id
    by_entry[id] = by_entry[id] or new_table(t)
    files[id] = files[id] or {}
    return by_entry[id], files[id]
  end
  for _, unit in ipairs(self.units) do
    if unit.kind == "rows" then
      local known, list = of(unit.table)
      add_part(known, { object = unit.object.name }, unit.sums[1], unit.range or 1)
      list[unit.range or 1] = unit.file
    elseif unit.kind == "pack" then
      for i, t in ipairs(unit.tables) do
        if unit.sums[i] then
          local known, list = of(t)
          add_part(known, { object = unit.object.name, member = unit.stage.members[i][1] },
            unit.sums[i], 1)
          list[1] = unit.stage.members[i][1]
        end
      end
    end
  end
  return by_entry, files
end

function Engine:sum_of_objects()
  local sum, any = sums.new(), false
  for _, unit in ipairs(self.units) do
    if unit.kind == "objects" then
      any = true
      sum:add(unit.sums[1])
    end
  end
  return any and { count = sum.rows, bytes = sum.bytes, hash = sum.hash } or nil
end

function Engine:finish(result)
  local by_entry, files = self:collect()
  local directory = toc.to_directory(self.archive, (flow.codec(self.codec)))
  result.tables = {}
  for _, entry in ipairs(directory.entries) do
    local known = by_entry[entry.id]
    if known then
      known.rows, known.bytes, known.hash = known.sum.rows, known.sum.bytes, known.sum.hash
      known.sum = nil
      result.tables[#result.tables + 1] = known
    end
  end
  result.large_objects = self:sum_of_objects()
  for _, unit in ipairs(self.units) do
    result.objects[#result.objects + 1] = unit.object
  end
  for name, text in pairs(large_objects.lists(self.leader.connection, directory)) do
    result.put(name, "list", text)
  end
  work.place(directory, files)
  work.chain(directory, self.tables)
  result.entries, result.archive = #directory.entries, directory
  result.put("toc.dat", "contents", toc.write(directory))
end

local function run(plan, watcher, throttled, result)
  local options = plan.options
  local leader <close>, archive, tables = begin(plan.source, options, watcher)
  local _, _, suffix = flow.codec(plan.codec)
  local self = setmetatable({ leader = leader, archive = archive, copies = plan.copies,
    codec = plan.codec, suffix = suffix, jobs = options.jobs or M.DEFAULT_JOBS, next = 1,
    limiter = throttled and throttled.limiter, for_leader = {}, pids = watcher.pids,
    meter = meters.new(plan.title, plan.total) }, Engine)
  self.tables = tables
  self.units = work.units(tables, { connection = leader.connection,
    major = leader.connection:major(), jobs = self.jobs,
    range_bytes = options.range_size and math.max(1, units.size(options.range_size)),
    block_size = leader.connection:value "SELECT current_setting('block_size')::int" })
  if large_objects.is_in(archive) then
    large_objects.add_units(self.units, leader.connection)
  end
  work.sort(self.units)
  local shown <close> = core_task.scope()
  shown:spawn(self.meter.show, self.meter)
  self:run_units()
  self:finish(result)
  result.lsn, result.jobs = leader.lsn, self.jobs
  result.settings = { lc_monetary = leader.connection:value "SHOW lc_monetary" }
end

local function try_dump(plan)
  local lock_timeout = plan.options.lock_timeout and units.duration(plan.options.lock_timeout)
  local watcher <close> = watch.new(plan.source, lock_timeout)
  local throttled <close> = throttle.new(plan.source, plan.options.throttle)
  local result = { objects = {} }
  function result.put(name, role, text)
    if plan.copies then
      plan.copies:put(result.objects, name, role, text)
    end
  end
  local scope <close> = core_task.scope()
  scope:spawn(watcher.run, watcher)
  if throttled and throttled.fn then
    scope:spawn(throttled.run, throttled)
  end
  scope:spawn(function()
    run(plan, watcher, throttled, result)
    scope:cancel() -- those who watch
  end)
  scope:join()
  return result
end

-- A standby cancels what keeps its replay waiting for too long.
local function is_conflict(err)
  return errors.is_error(err) and (err.message .. (err.detail or "")):find("conflict with recovery", 1,
    true) ~= nil
end

local MAX_CONFLICTS = 3

--- Dumps a source into every store. `plan`: source (one server), options (the table `dump`), codec,
--- copies (moonkeep.copies), title, total (bytes that are expected), primary (function(why): another
--- source, for when a standby cancels the dump again and again; nil: there is none). Without copies
--- everything is only read and summed up. Returns {
--- objects, tables, large_objects, entries (how many), archive (pg/toc.lua), lsn, jobs }. Raises
--- NOT_NATIVE for what only pg_dump can dump: nothing has been written then.
function M.dump(plan)
  local n_conflicts = 0
  while true do
    local ok, result = pcall(try_dump, plan)
    if ok then
      return result
    elseif not is_conflict(result) then
      error(result, 0)
    end
    n_conflicts = n_conflicts + 1
    local why = ("the standby canceled the dump, for its replay had waited long enough (%s)"):format(
      result.message)
    if n_conflicts < MAX_CONFLICTS then
      log.warn("%s: beginning anew", why)
    elseif plan.primary then
      plan.source, plan.primary = plan.primary(why), nil
    else
      result.hint = "on the standby: ALTER SYSTEM SET hot_standby_feedback = on; or " ..
        "max_standby_streaming_delay = -1; then SELECT pg_reload_conf()"
      error(result, 0)
    end
    if plan.copies then
      plan.copies:clear()
    end
  end
end

return M
