--- Giving an encrypted backup to other recipients: its own key stays, and with it all objects; only
--- `key.age` is sealed anew, to those of now.
---
--- The manifest does not change, so the size and SHA-256 of the new key.age are in the mark `key`:
---
---   { payload = JSON of { job, series, id, at, host, recipients or passphrase, versions = { { size,
---     sha256 } ... } }, signature = of the payload, where manifests are signed }
---
--- It is written first, and has the version before as well, so whatever a killed run leaves is known;
--- the next one finishes it. Of a job with `trust` only a mark that is signed is believed: a forged one
--- would let a worthless key.age pass for a replaced one.
local age = require "moonkeep.encryption.age"
local clock = require "moonkeep.clock"
local envelope = require "moonkeep.encryption.envelope"
local errors = require "moonkeep.errors"
local hash = require "moonkeep.core.hash"
local host = require "moonkeep.core.host"
local json = require "moonkeep.core.json"
local log = require "moonkeep.log"
local manifests = require "moonkeep.manifest"
local merge = require "moonkeep.merge"
local names_of = require "moonkeep.names_of"
local set_of = require "moonkeep.set_of"
local trust = require "moonkeep.trust"

local M = { MARK = "key" }

-- ---- the mark -------------------------------------------------------------------------------------

local function is_version(version)
  return type(version) == "table" and math.type(version.size) == "integer" and
    type(version.sha256) == "string"
end

-- Marks come from stores, which anybody may have written.
local function is_proper(fields, backup)
  if type(fields) ~= "table" or type(fields.versions) ~= "table" or #fields.versions == 0 or
    fields.job ~= backup.job or fields.series ~= backup.series or fields.id ~= backup.id or
    not fields.passphrase and not manifests.are_recipients(fields.recipients) then
    return false
  end
  for _, version in ipairs(fields.versions) do
    if not is_version(version) then
      return false
    end
  end
  return true
end

-- What the mark says; nil, why when it is not to be believed.
local function parse(raw, backup)
  local ok, fields = pcall(json.decode, type(raw.payload) == "string" and raw.payload or "")
  if not ok or not is_proper(fields, backup) then
    return nil, "it is not what moonkeep writes"
  end
  local is_trusted, why = trust.is_signed(backup.job, raw.payload, raw.signature)
  if not is_trusted then
    return nil, why
  end
  return fields
end

--- What has become of a backup's key in a store since its manifest was written: the fields of the mark's
--- payload, and the mark itself; nil when nothing has. What is not to be believed is nothing, and told.
function M.read_mark(store, backup)
  local ok, raw = pcall(store.read_mark, store, backup, M.MARK)
  if not ok and errors.of(raw).code ~= "CORRUPT" then
    error(raw, 0)
  elseif ok and not raw then
    return nil
  end
  local fields, why
  if ok then
    fields, why = parse(raw, backup)
  end
  if not fields then
    log.warn("what store %s says of a new key of %s is not believed: %s", store.name, backup.id,
      why or errors.of(raw).message)
    return nil
  end
  return fields, raw
end

-- ---- replacing ------------------------------------------------------------------------------------

local function version_of(text)
  return { size = #text, sha256 = hash.hex(hash.sha256(text)) }
end

local function is_same(a, b)
  return a.size == b.size and a.sha256 == b.sha256
end

--- Whether so many bytes (of this SHA-256, if it is known) are one of a mark's versions of key.age.
function M.is_version(fields, size, sha256)
  for _, version in ipairs(fields and fields.versions or {}) do
    if version.size == size and (not sha256 or version.sha256 == sha256) then
      return true
    end
  end
  return false
end

-- A list as one text, whatever its order.
local function sorted(list)
  return table.concat(names_of(set_of(list)), " ")
end

-- Whether key.age is sealed to these already.
local function is_done(text, to, backup, mark, object)
  if to.passphrase then
    return (pcall(age.open, text, to))
  end
  local known = mark or backup.manifest.encryption
  return sorted(known.recipients) == sorted(to.recipients) and
    is_same(version_of(text), mark and mark.versions[1] or object)
end

local function read_key(backup, store, object)
  local stat = store:stat(backup, object)
  if not stat then
    errors.raise("CORRUPT", ("%s in store %s has no %s"):format(backup.id, store.name, object.name),
      { hint = "verify --repair takes it from another store" })
  elseif stat.size > envelope.MAX_KEY_BYTES then
    errors.raise("CORRUPT", ("%s of %s in store %s is too large to be one"):format(object.name,
      backup.id, store.name))
  end
  return store:text(backup, object.name)
end

-- The payload of the new mark, signed if the job signs.
local function new_mark(backup, fields, versions, signer)
  local payload = json.encode(merge(fields, { job = backup.job, series = backup.series, id = backup.id,
    at = clock.iso(), host = host.name(), versions = versions }))
  return { payload = payload, signature = signer and signer:sign(payload, ("the key of %s/%s/%s"):format(
    backup.job, backup.series, backup.id)) or nil }
end

--- Seals the key of a backup, in one store, to whom `keys` says (`encrypt` of a job). `how`: is_dry, and
--- signer (signature.signer), which a job with `trust` needs. Returns false when it is already. Raises
--- WRONG_KEY, CORRUPT, BUSY, USAGE.
function M.rekey(backup, store, keys, how)
  local object = manifests.objects(backup.manifest, "key")[1]
  if not object then
    errors.raise("UNSUPPORTED", ("%s is not encrypted"):format(backup.id))
  elseif trust.is_required(backup.job) and not how.signer then
    errors.raise("USAGE", ("job %s trusts only what is signed: its keys can only be replaced where " ..
      "`sign` is"):format(backup.job))
  end
  local to, fields = envelope.target(keys)
  local has_changed = false
  store:locked(backup, function(_, check_lock)
    local text = read_key(backup, store, object)
    local mark, current = M.read_mark(store, backup), version_of(text)
    if not is_same(current, object) and not M.is_version(mark, current.size, current.sha256) then
      errors.raise("CORRUPT", ("%s of %s in store %s is not the recorded one"):format(object.name,
        backup.id, store.name))
    elseif is_done(text, to, backup, mark, object) then
      return
    end
    local identity = envelope.open_key(backup, text, mark)
    has_changed = true
    if how.is_dry then
      return
    end
    local sealed = envelope.seal_key(identity, backup.manifest, to)
    check_lock()
    store:replace(backup, object.name, sealed, M.MARK, new_mark(backup, fields, { version_of(sealed),
      current }, how.signer))
    if store:text(backup, object.name) ~= sealed then
      errors.raise("IO_ERROR", ("store %s does not give back the key that was written"):format(
        store.name))
    end
  end)
  return has_changed
end

return M
