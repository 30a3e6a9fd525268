--- Giving an encrypted backup to other recipients: its own key stays, and with it all objects; only
--- `key.age` is sealed anew, to those of now.
---
--- The manifest does not change, so the size and SHA-256 of the new key.age are in the mark `key`:
--- { at, host, recipients or passphrase, versions = { { size, sha256 } ... } }. It is written first, and
--- has the version before as well, so whatever a killed run leaves is known; the next one finishes it.
local age = require "moonkeep.encryption.age"
local clock = require "moonkeep.clock"
local envelope = require "moonkeep.encryption.envelope"
local errors = require "moonkeep.errors"
local hash = require "moonkeep.core.hash"
local host = require "moonkeep.core.host"
local manifests = require "moonkeep.manifest"
local merge = require "moonkeep.merge"
local names_of = require "moonkeep.names_of"

local M = { MARK = "key" }

local function version_of(text)
  return { size = #text, sha256 = hash.hex(hash.sha256(text)) }
end

local function is_same(a, b)
  return a.size == b.size and a.sha256 == b.sha256
end

local function set_of(list)
  local set = {}
  for _, one in ipairs(list or {}) do
    set[one] = true
  end
  return table.concat(names_of(set), " ")
end

-- Whether key.age is sealed to these already: as the mark says, and in the mark's last version.
local function is_done(fields, mark, current)
  if not fields.recipients then
    return false -- a passphrase may be another one
  end
  local known = mark and mark.recipients or not mark and fields.was or nil
  local last = mark and mark.versions and mark.versions[1]
  return set_of(known) == set_of(fields.recipients) and (not last or is_same(last, current))
end

--- Seals the key of a backup, in one store, to whom `keys` says (`encrypt` of a job). Returns false when
--- it is already. Raises WRONG_KEY, CORRUPT, BUSY.
function M.rekey(backup, store, keys, is_dry)
  local object = manifests.objects(backup.manifest, "key")[1]
  if not object then
    errors.raise("UNSUPPORTED", ("%s is not encrypted"):format(backup.id))
  end
  local to, fields = envelope.target(keys)
  local changed = false
  store:locked(backup, function()
    local text = store:text(backup, object.name)
    local mark, current = store:read_mark(backup, M.MARK), version_of(text)
    if is_done(merge(fields, { was = backup.manifest.encryption.recipients }), mark, current) then
      return
    end
    local identity = envelope.open_key(backup, text, mark and mark.recipients)
    changed = true
    if is_dry then
      return
    end
    local sealed = age.seal(identity .. "\n", to)
    store:replace(backup, object.name, sealed, M.MARK, merge(fields, { at = clock.iso(),
      host = host.name(), versions = { version_of(sealed), current } }))
    if store:text(backup, object.name) ~= sealed then
      errors.raise("IO_ERROR", ("store %s does not give back the key that was written"):format(
        store.name))
    end
  end)
  return changed
end

return M
