--- How a backup is encrypted: it has an age key of its own, to which each of its objects is sealed as a
--- stock age file. `key.age` is that private key, sealed to the recipients (or by the passphrase) that
--- the job names: so a host that makes backups needs public keys only, a passphrase is tried once, and
--- other recipients later replace one small file (encryption/rekey.lua).
---
---   manifest.encryption = { recipient = the backup's own, recipients = { ... } or passphrase = true }
---
--- What tables there are, their rows and hashes, and what of the database's properties may be
--- confidential, are in the object `proof.json`, sealed like all others; in memory the manifest of a
--- backup that was opened has them where an open one's are.
---
--- RESTORE.txt, the manifest and its signature stay readable.
local age = require "moonkeep.encryption.age"
local errors = require "moonkeep.errors"
local json = require "moonkeep.core.json"
local keyring = require "moonkeep.encryption.keyring"
local list_of = require "moonkeep.list_of"
local merge = require "moonkeep.merge"
local secret = require "moonkeep.secret"

local M = { KEY = "key.age", PROOF = "proof.json", SUFFIX = ".age" }

--- What is confidential in a manifest: of itself, of `dump`, of `source`.
local PRIVATE = { "tables", "large_objects" }
local PRIVATE_DUMP = { "selection" }
local PRIVATE_SOURCE = { "comment", "settings", "acl" }

-- ---- making ---------------------------------------------------------------------------------------

--- The envelope of a new backup. `keys`: the job's `encrypt`. { stage, that seals; key_text, the bytes
--- of key.age; fields, for the manifest }.
function M.begin(keys)
  local identity, recipient = age.generate()
  local to, fields = M.target(keys)
  fields.recipient = recipient
  return { stage = { kind = "seal", recipients = { recipient } }, fields = fields,
    key_text = age.seal(identity .. "\n", to) }
end

--- To whom a job seals: what age.seal takes, and what manifests say of it.
function M.target(keys)
  if keys.passphrase then
    return { passphrase = secret.reveal(keys.passphrase) }, { passphrase = true }
  end
  local recipients = list_of(keys.recipients)
  return { recipients = recipients }, { recipients = recipients }
end

local function move(from, to, names)
  for _, name in ipairs(names) do
    to[name], from[name] = from[name], nil
  end
end

--- The manifest as it is stored, and the text of its proof object.
function M.split(manifest)
  local public = merge(manifest, { dump = merge(manifest.dump), source = merge(manifest.source) })
  local private = { dump = {}, source = {} }
  move(public, private, PRIVATE)
  move(public.dump, private.dump, PRIVATE_DUMP)
  move(public.source, private.source, PRIVATE_SOURCE)
  return public, json.encode(private) .. "\n"
end

-- ---- opening --------------------------------------------------------------------------------------

-- By manifest: { identity, by, is_joined }.
local opened = setmetatable({}, { __mode = "k" })

--- Whether the objects of a backup can be read.
function M.is_open(manifest)
  return not manifest.encryption or opened[manifest] ~= nil
end

--- Who has opened it: a recipient, or "passphrase"; nil: it is not encrypted, or not open.
function M.opened_by(manifest)
  return opened[manifest] and opened[manifest].by
end

local function no_key(backup, fields)
  local to = fields.passphrase and "by a passphrase" or "to " .. table.concat(fields.recipients or {},
    ", ")
  local has_any = fields.passphrase and keyring.has_passphrases() or
    not fields.passphrase and keyring.has_identities()
  errors.raise("WRONG_KEY", ("%s is encrypted %s, and %s"):format(backup.id, to, has_any and
    "no key here opens it" or "there is no key to open it here"), { hint = fields.passphrase and
    "give the passphrase in MOONKEEP_PASSPHRASE, or as `passphrase` of the job's `encrypt`" or
    "give the file of the private key: --identity FILE, MOONKEEP_IDENTITY=FILE, or `identity` of " ..
    "the job's `encrypt`" })
end

--- Opens key.age: the backup's own private key. `recipients`: who may open it, when that is not what
--- the manifest says. Returns it, and who has opened it. Raises WRONG_KEY, CORRUPT.
function M.open_key(backup, key_text, recipients)
  local fields = merge(backup.manifest.encryption, recipients and { recipients = recipients } or {})
  local found = keyring.open(key_text)
  if not found then
    no_key(backup, fields)
  end
  local identity = found.text:match "^(%S+)\n$"
  if not identity or age.recipient(identity) ~= fields.recipient then
    errors.raise("CORRUPT", ("%s holds the key of another backup"):format(M.KEY))
  end
  return identity, found.by
end

--- Opens a backup: from now on `stage` reads its objects. Raises WRONG_KEY, CORRUPT.
function M.open(backup, key_text, recipients)
  local identity, by = M.open_key(backup, key_text, recipients)
  opened[backup.manifest] = { identity = identity, by = by }
end

--- The stages that read an object: a list, empty when it is not encrypted.
function M.stages(manifest, object)
  if not manifest.encryption or object.role == "key" then
    return {}
  end
  return { { kind = "open", identities = { opened[manifest].identity } } }
end

--- Puts what the proof object says where it belongs. Raises CORRUPT.
function M.join(manifest, text)
  local ok, private = pcall(json.decode, text)
  if not ok or type(private) ~= "table" or type(private.dump) ~= "table" or
    type(private.source) ~= "table" then
    errors.raise("CORRUPT", "its proof object is not what moonkeep writes")
  end
  move(private, manifest, PRIVATE)
  move(private.dump, manifest.dump, PRIVATE_DUMP)
  move(private.source, manifest.source, PRIVATE_SOURCE)
  opened[manifest].is_joined = true
end

--- Whether that has been done.
function M.is_joined(manifest)
  return opened[manifest] ~= nil and opened[manifest].is_joined
end

--- The name of an object without what encryption adds to it.
function M.plain_name(name)
  return (name:gsub("%.age$", ""))
end

return M
