--- Whether the private key of encrypted backups still exists, and works: a host that makes backups
--- cannot know, and a backup whose key is lost is none. So whoever opens one, by a restore or a
--- `verify` as `decoded`, leaves a mark `opened` beside it, { at, host, by = the recipient, or
--- "passphrase" }; and until there is one that is young enough, by one of the job's recipients, its runs
--- warn.
local clock = require "moonkeep.clock"
local envelope = require "moonkeep.encryption.envelope"
local errors = require "moonkeep.errors"
local host = require "moonkeep.core.host"
local list_of = require "moonkeep.list_of"
local log = require "moonkeep.log"
local units = require "moonkeep.units"
local zone = require "moonkeep.schedule.zone"

local M = { MARK = "opened", STANDARD = "90d" }

--- Marks a backup that has been opened in a store, if it is an encrypted one. Who may not write there
--- loses only that.
function M.note(backup, store)
  local by = envelope.opened_by(backup.manifest)
  if not by then
    return
  end
  local fields = { at = clock.iso(), host = host.name(), by = by }
  local ok, why = pcall(store.mark, store, backup, M.MARK, fields)
  if not ok then
    log.warn("that %s was opened could not be written into store %s: %s", backup.id, store.name,
      errors.of(why).message)
  end
end

-- Whether a mark says that one of these has opened the backup since then.
local function is_witness(store, backup, is_recipient, since)
  local ok, fields = pcall(store.read_mark, store, backup, M.MARK)
  local at = ok and fields and type(fields.at) == "string" and zone.parse_time(fields.at)
  return at and at >= since and is_recipient[fields.by] or false
end

-- Backups that were opened in any series of a job, newest first.
local function opened_in(store, job)
  local found = {}
  for _, series in ipairs(store:series(job)) do
    for _, item in ipairs(store:survey(job, series)) do
      found[#found + 1] = item.is_there and item.marks[M.MARK] and
        { job = job, series = series, id = item.id } or nil
    end
  end
  table.sort(found, function(a, b) return a.id > b.id end)
  return found
end

local MOST_READ = 20 -- marks, of each store

local function has_witness(store, job, is_recipient, since)
  for i, backup in ipairs(opened_in(store, job)) do
    if i > MOST_READ then
      break
    elseif is_witness(store, backup, is_recipient, since) then
      return true
    end
  end
  return false
end

--- Why a job's backups may be worth nothing: a text; nil when a private key has opened one lately, or it
--- needs none.
function M.warning(job)
  local encrypt = job.encrypt
  if not encrypt or not encrypt.recipients then
    return nil
  end
  local is_recipient, within = {}, encrypt.escrow or M.STANDARD
  for _, recipient in ipairs(list_of(encrypt.recipients)) do
    is_recipient[recipient] = true
  end
  local since = clock.wall() // 1000 - units.duration(within) // 1000
  local n_unreadable = 0
  for _, store in ipairs(job.upload or {}) do
    local ok, found = pcall(has_witness, store, job.name, is_recipient, since)
    if ok and found then
      return nil
    end
    n_unreadable = n_unreadable + (ok and 0 or 1)
  end
  local what = n_unreadable == #(job.upload or {}) and "no store tells whether" or
    "nothing shows that"
  return ("%s a private key has opened a backup of %s within %s: if it is lost, so are they"):format(
    what, job.name, within)
end

--- What to do about it.
M.HINT = "where the private key is: moonkeep verify latest --identity FILE, which proves that it " ..
  "works, and leaves a mark"

return M
