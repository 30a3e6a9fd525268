--- Whose a job's folder in a store is: `<job>/job.json`, { uid, system_identifier, host, created_at },
--- made with the first backup. Two environments that have one job name and one bucket would otherwise
--- push each other's backups out.
---
--- A run compares the cluster it backs up with the one that is written there, where both are known
--- (some managed services tell nobody), and the folder's uid with the one that this machine has seen
--- there before. A prune wants one of the two to agree.
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
    store.name, why), { hint = ("give one of the two jobs another name, or its store another folder; " ..
    "if it is the same database after all (a new cluster, after pg_upgrade or a restore): moonkeep " ..
    "adopt --job %s"):format(job) })
end

local function check_system(job, store, found, system)
  if system and found.system_identifier and system ~= found.system_identifier then
    refuse(job, store, ("they are of the cluster %s, by host %s, and this one is %s"):format(
      found.system_identifier, tostring(found.host), system))
  end
end

local function check_uid(job, store, found)
  local known = catalog.identity(job, store)
  if known and known ~= found.uid then
    refuse(job, store, "the folder is not the one that this machine has written to before")
  end
  return known ~= nil
end

local function fields_of(uid, system)
  return { uid = uid or host.random(8), system_identifier = system, host = host.name(),
    created_at = clock.iso() }
end

local function write(job, store, fields, exclusive)
  store:write_job(job, fields, exclusive)
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
    check_system(self.job, store, found, self.system)
    if not check_uid(self.job, store, found) then
      catalog.record_identity(self.job, store, found.uid)
    end
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

--- Lets a store say what another one says of a job, if it says nothing: it has a copy now.
function M.copy(job, from, to)
  local found = not to:read_job(job) and from:read_job(job)
  if found then
    to:write_job(job, found, true)
  end
end

-- The system identifier of a job's source, or nil.
local function ask(source)
  if not source then
    return nil
  end
  local ok, system = pcall(function()
    local connection <close> = source:connect()
    return M.system_of(connection)
  end)
  if not ok then
    log.debug("%s does not say which cluster it is: %s", tostring(source), errors.of(system).message)
  end
  return ok and system or nil
end

--- Before backups of a job are removed from a store. Raises OTHER_IDENTITY when they may be another's.
function M.confirm(job, store, source)
  local found = store:read_job(job)
  if not found then
    refuse(job, store, "nothing there says whose they are (the next run will)")
  elseif check_uid(job, store, found) then
    return
  end
  local system = ask(source)
  check_system(job, store, found, system)
  if not system or not found.system_identifier then
    refuse(job, store, "this machine has never written there, and cannot see whether it is the same " ..
      "cluster")
  end
  catalog.record_identity(job, store, found.uid)
end

--- Makes a job's folder in a store this machine's and its cluster's. Returns what it was, or nil, and
--- the system identifier that it has now.
function M.adopt(job, store, source)
  local found, system = store:read_job(job), ask(source)
  write(job, store, fields_of(found and found.uid, system), false)
  return found, system
end

return M
