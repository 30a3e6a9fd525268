--- Whose a job's folder in a store is: `<job>/job.json`, { uid, system_identifier, host, created_at },
--- made with the first backup. Two environments that have one job name and one bucket would otherwise
--- push each other's backups out.
---
--- A run compares the cluster it backs up with the one that is written there; where one of them is not
--- known (some managed services tell nobody), the folder's uid with the one that this machine has seen
--- there before. A prune wants one of the two to agree. Limit: a clone of a cluster (pg_basebackup, a
--- snapshot) has the identifier of the first.
local catalog = require "moonkeep.catalog"
local clock = require "moonkeep.clock"
local errors = require "moonkeep.errors"
local host = require "moonkeep.core.host"
local log = require "moonkeep.log"

local M = {}

local SYSTEM = "SELECT system_identifier::text FROM pg_catalog.pg_control_system()"

--- The system identifier of the server that a connection is to; nil where it may not be asked for.
function M.system_of(connection)
  local ok, system = pcall(connection.value, connection, SYSTEM)
  return ok and system or nil
end

local function refuse(job, store, why)
  errors.raise("OTHER_IDENTITY", ("the backups of job %s in store %s are another's: %s"):format(job,
    store.name, why), { hint = "give one of the two jobs another name, or its store another folder; " ..
    "if it is the same database after all (a new cluster, after pg_upgrade or a restore): moonkeep " ..
    "adopt, with its recipe" })
end

-- Whether two clusters are known to be the same; nil: one of them is not known.
local function is_same(found, system)
  if system and found.system_identifier then
    return system == found.system_identifier
  end
end

-- Raises when a folder is another cluster's, or, where that is not known, when it is not the one that
-- this machine has seen there before.
local function check(job, store, found, system)
  local same, known = is_same(found, system), catalog.identity(job, store)
  if same == false then
    refuse(job, store, ("they are of the cluster %s, by host %s, and this one is %s"):format(
      found.system_identifier, tostring(found.host), system))
  elseif not same and known and known ~= found.uid then
    refuse(job, store, "the folder is not the one that this machine has written to before")
  elseif known ~= found.uid then
    catalog.record_identity(job, store, found.uid)
  end
end

local function fields_of(uid, system)
  return { uid = uid or host.random(8), system_identifier = system, host = host.name(),
    created_at = clock.iso() }
end

local function write(job, store, fields, exclusive)
  store:write_beside(job, "job", fields, exclusive)
  catalog.record_identity(job, store, fields.uid)
end

local Checker = {}
Checker.__index = Checker

--- For backups of a job, of the cluster `system` (or nil), into stores.
function M.checker(job, system)
  return setmetatable({ job = job, system = system, fields = fields_of(nil, system), silent = {} },
    Checker)
end

--- Before one is begun in a store. Raises OTHER_IDENTITY.
function Checker:check(store)
  local ok, found = pcall(store.read_job, store, self.job)
  if not ok and not errors.is_denied(found) then -- whoever may only write cannot see it
    error(found, 0)
  elseif ok and found then
    check(self.job, store, found, self.system)
    self.fields = found
  end
  self.silent[store] = ok and not found
end

--- Before one is published: a store that says nothing yet gets what another one says. Raises
--- OTHER_IDENTITY when somebody else was faster.
function Checker:settle(store)
  if not self.silent[store] then
    return
  end
  local made, err = pcall(write, self.job, store, self.fields, true)
  if not made and errors.of(err).code ~= "ALREADY_EXISTS" then
    error(err, 0)
  elseif not made then
    self:check(store)
  end
  self.silent[store] = nil
end

local function read_if_allowed(store, job)
  local ok, found = pcall(store.read_job, store, job)
  if ok then
    return found
  elseif not errors.is_denied(found) then
    error(found, 0)
  end
end

--- Before backups of a job are copied from one store into another. Raises OTHER_IDENTITY. Returns a
--- function that lets the other one say what the first says, if it says nothing, and never raises.
function M.copier(job, from, to)
  local found, there = read_if_allowed(from, job), read_if_allowed(to, job)
  if found and there and is_same(there, found.system_identifier) == false then
    refuse(job, to, ("they are of the cluster %s, and those of store %s of %s"):format(
      there.system_identifier, from.name, found.system_identifier))
  end
  return function()
    local ok, err = pcall(function()
      if found and not there then
        to:write_beside(job, "job", found, true)
      end
    end)
    if not ok then
      log.debug("could not say in %s whose %s is: %s", to.name, job, errors.of(err).message)
    end
  end
end

-- The system identifier of a job's source; nil where it has none, or may not be asked.
local function ask(source)
  if source then
    local connection <close> = source:connect()
    return M.system_of(connection)
  end
end

--- Before backups of a job are removed from a store. Raises OTHER_IDENTITY when they may be another's.
function M.confirm(job, store, source)
  local found = store:read_job(job)
  if not found then
    errors.raise("OTHER_IDENTITY", ("nothing says whose the backups of job %s in store %s are"):format(
      job, store.name), { hint = "if they are this job's: moonkeep adopt, with its recipe" })
  elseif catalog.identity(job, store) == found.uid then
    return
  end
  local ok, system = pcall(ask, source)
  if not ok or is_same(found, system) == nil then
    refuse(job, store, ("this machine has not written there before, and cannot see whether it is the " ..
      "same cluster%s"):format(ok and "" or ": " .. errors.of(system).message))
  end
  check(job, store, found, system)
end

--- Makes a job's folder in a store this machine's and its cluster's. Returns what it was, or nil, and
--- the system identifier that it has now. Raises what connecting raises.
function M.adopt(job, store, source)
  local ok, found = pcall(store.read_job, store, job)
  if not ok and errors.of(found).code ~= "CORRUPT" then
    error(found, 0)
  end
  found = ok and found or nil
  local system = ask(source) or found and found.system_identifier
  write(job, store, fields_of(found and found.uid, system), false)
  return found, system
end

return M
