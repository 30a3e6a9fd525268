--- Loading one unit of rows (work.lua): a transaction, which is committed only when the object's
--- digest, and the rows and the content hash of each of its tables, are those of the manifest.
---
--- All functions take the engine of native.lua: { backup, store, meter, guard, connect() }.
local core_task = require "moonkeep.core.task"
local errors = require "moonkeep.errors"
local log = require "moonkeep.log"
local progress = require "moonkeep.restore.progress"
local sums = require "moonkeep.dump.sums"
local verify = require "moonkeep.verify"

local M = {}

local MAX_TRIES = 3 -- of a unit whose connection was lost

--- Whether an error is no failure of what was tried: we are to end, or there is nobody to try it with.
function M.is_final(err)
  return core_task.canceled() or err.code == "CANCELED"
end

local function damaged(engine, unit, t, why)
  errors.raise("CORRUPT", ("%s in store %s: %s: %s of %s"):format(engine.backup.id, engine.store.name,
    unit.object.name, why, t.name), { hint = "nothing of it was committed; restore an older backup, " ..
    "or this one from another store" })
end

local function check(engine, unit, t, rows, sum)
  if tonumber(rows) ~= t.rows then
    damaged(engine, unit, t, ("the server took %s rows, not the %d"):format(rows, t.rows))
  elseif sum ~= t.sum then
    damaged(engine, unit, t, "the rows are not those")
  end
end

-- An object into the database, by these stages; `sum` is the one that sums it up on the way.
local function unpack(engine, unit, sum, stages)
  sum.label = "sum"
  return verify.unpack(engine.backup, engine.store, unit.object, { kind = "tee", { sum }, stages },
    engine.meter)
end

-- How the units of each kind are loaded.
local LOADERS = {}

function LOADERS.rows(engine, unit, connection)
  local t = unit.tables[1]
  local report = unpack(engine, unit, { kind = "rows" }, { { kind = "copy", label = "loaded",
    connection = connection.native, sql = t.sql } })
  check(engine, unit, t, report.loaded.result, report.sum.result)
end

function LOADERS.pack(engine, unit, connection)
  local members, rows = {}, {}
  for i, t in ipairs(unit.tables) do
    members[i] = { t.member, t.sql }
  end
  local report = unpack(engine, unit, { kind = "rows", packed = true }, { { kind = "unpack",
    label = "loaded", connection = connection.native, members = members } })
  local found = sums.by_member(report.sum.result)
  for count in report.loaded.result:gmatch "[^\n]+" do
    rows[#rows + 1] = count
  end
  for i, t in ipairs(unit.tables) do
    check(engine, unit, t, rows[i], found[t.member])
  end
end

-- Rows that no table keeps: the condition writes each into its object, and lets none of them pass.
local LARGE_OBJECTS = [[COPY pg_temp.moonkeep_large_objects FROM STDIN (FORMAT binary)
  WHERE pg_catalog.lo_put(oid, at, data) IS NULL]]

function LOADERS.objects(engine, unit, connection)
  connection:query [[CREATE TEMPORARY TABLE moonkeep_large_objects
    (oid oid, at bigint, data bytea) ON COMMIT DROP]]
  local report = unpack(engine, unit, { kind = "large_objects", packed = unit.packed, oid = unit.oid },
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
local function load(engine, unit, connection)
  connection:transaction(function()
    local truncate = {}
    for _, t in ipairs(unit.tables) do
      truncate[#truncate + 1] = t.truncate and "ONLY " .. t.truncate
    end
    if #truncate > 0 then -- so that rows may be frozen
      connection:query("TRUNCATE " .. table.concat(truncate, ", "))
    end
    LOADERS[unit.kind](engine, unit, connection)
    progress.add(connection, unit)
  end)
end

local WAIT_MS = 20 -- for the guard, when another loader asks

-- A server that has crashed may have lost what it had said was committed.
local function check_guard(engine)
  local ok, err
  repeat
    ok, err = pcall(engine.guard.value, engine.guard, "SELECT 1")
    err = not ok and errors.of(err)
    local is_busy = not ok and err.code == "BUSY"
    if is_busy then
      core_task.sleep(WAIT_MS)
    end
  until not is_busy
  if not ok and M.is_final(err) then
    error(err, 0)
  elseif not ok then
    errors.raise("PG_CONNECTION_LOST", "the server went away during the restore: " ..
      err.message, { hint = "see the server's log for the cause; then restore again" })
  end
end

--- The connection of `loader`, which is made when there is none.
function M.connection(engine, loader)
  if not loader.connection then
    local ok, connection = pcall(engine.connect, engine)
    if not ok then
      check_guard(engine) -- or the whole server is gone, which matters more
      error(connection, 0)
    end
    loader.connection = connection
  end
  return loader.connection
end

--- Lets go of a connection that was lost. Raises when the server is gone.
function M.lost(engine, loader)
  if loader.connection then
    loader.connection:close()
    loader.connection = nil
  end
  check_guard(engine)
end

-- Damage makes errors that look like something else: then that is what is told.
local function explain(engine, unit, err)
  if err.code == "PG_ERROR" then
    local ok, damage = pcall(verify.read_object, engine.backup, engine.store, unit.object, engine.meter)
    err = ok and err or errors.of(damage)
  end
  err.message = ("%s: %s"):format(names_of(unit, err), err.message)
  return err
end

--- Loads a unit over the connection of `loader`, which is made when there is none; again, when that
--- was lost.
function M.load(engine, unit, loader)
  for try = 1, MAX_TRIES do
    local connection = M.connection(engine, loader)
    if try > 1 and progress.has(connection, unit) then
      return -- it had been committed, but we were not told
    end
    local ok, err = pcall(load, engine, unit, connection)
    if ok then
      return
    end
    err = errors.of(err)
    if err.code ~= "PG_CONNECTION_LOST" or try == MAX_TRIES then
      error(explain(engine, unit, err), 0)
    end
    log.warn("the connection that loaded %s was lost: loading it again (%s)", names_of(unit),
      err.message)
    M.lost(engine, loader)
  end
end

return M
