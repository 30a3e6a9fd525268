--- Whether the private key of encrypted backups still exists, and works: a host that makes backups
--- cannot know, and a backup whose key is lost is none. So whoever opens one, by a restore or a
--- `verify` as `decoded`, leaves that in the job's folder: `opened.json`, { [recipient] = { at, host,
--- id } }; and until there is a time that is young enough, of one of the job's recipients, its runs
--- warn. (It is a witness, no proof: whoever may write into the store may forge it.)
local clock = require "moonkeep.clock"
local core_task = require "moonkeep.core.task"
local envelope = require "moonkeep.encryption.envelope"
local errors = require "moonkeep.errors"
local host = require "moonkeep.core.host"
local list_of = require "moonkeep.list_of"
local log = require "moonkeep.log"
local tasks = require "moonkeep.task"
local units = require "moonkeep.units"
local zone = require "moonkeep.schedule.zone"

local M = { NAME = "opened", STANDARD = "90d" }

local MAX_SKEW = 86400 -- seconds that a clock may be ahead

local noted = {} -- by store, job and recipient: once in a process is enough

-- What is known of a job in a store; what cannot be understood is nothing.
local function read(store, job)
  local ok, fields = pcall(store.read_beside, store, job, M.NAME)
  if not ok and errors.of(fields).code ~= "CORRUPT" then
    error(fields, 0)
  end
  return ok and fields or {}
end

--- Writes down that a backup of a store has been opened by a private key. Who may not write there loses
--- only that.
function M.note(backup, store)
  local by = envelope.opened_by(backup.manifest)
  local key = by and table.concat({ store.url, backup.job, by }, "\0")
  if not by or by == "passphrase" or noted[key] then
    return
  end
  noted[key] = true
  local ok, why = pcall(function()
    local fields = read(store, backup.job)
    fields[by] = { at = clock.iso(), host = host.name(), id = backup.id }
    store:write_beside(backup.job, M.NAME, fields)
  end)
  if not ok and core_task.canceled() then
    error(why, 0)
  elseif not ok then
    log.warn("that a private key has opened %s could not be written into store %s: %s", backup.id,
      store.name, errors.of(why).message)
  end
end

-- When a recipient's key was last seen to work: seconds since 1970; nil: never.
local function time_of(fields, recipient)
  local one = fields[recipient]
  local at = type(one) == "table" and type(one.at) == "string" and zone.parse_time(one.at)
  return at and at <= clock.wall() // 1000 + MAX_SKEW and at or nil
end

--- When each recipient of a job has last opened one of its backups, as its stores say: a list of
--- { recipient, time (of Unix; nil: never) }; and what kept a store from being asked, or nil.
function M.witnesses(job)
  local list, why = {}, nil
  for i, recipient in ipairs(list_of(job.encrypt.recipients)) do
    list[i] = { recipient = recipient }
  end
  for _, store in ipairs(job.upload or {}) do
    local ok, fields = pcall(tasks.timeout, store:stall(), read, store, job.name)
    if not ok and core_task.canceled() then
      error(fields, 0)
    end
    why = why or not ok and errors.of(fields).message or nil
    for _, item in ipairs(ok and list or {}) do
      local time = time_of(fields, item.recipient)
      item.time = time and math.max(time, item.time or 0) or item.time
    end
  end
  return list, why
end

--- Why a job's backups may be worth nothing: a text, and what to do; nil when a private key has opened
--- one lately, or it needs none. `job`: keys of a job.
function M.warning(job)
  local encrypt = job.encrypt or {}
  if not encrypt.recipients or encrypt.escrow == false then
    return nil
  end
  local within = encrypt.escrow or M.STANDARD
  local since = clock.wall() // 1000 - units.duration(within) // 1000
  local witnesses, why = M.witnesses(job)
  for _, item in ipairs(witnesses) do
    if item.time and item.time >= since then
      return nil
    end
  end
  local url = job.upload and job.upload[1] and job.upload[1].url or "STORE"
  return ("no private key is known to have opened a backup of %s within %s%s"):format(job.name, within,
    why and (" (%s)"):format(why) or ""), ("make sure that there still is one: on the machine that " ..
    "has it, moonkeep verify latest --from %s --job %s --identity FILE"):format(url, job.name)
end

return M
