--- How a backup is encrypted: it has an age key of its own, to which each of its objects is sealed as a
--- stock age file. `key.age` is that private key, sealed to the recipients (or by the passphrase) that
--- the job names: so a host that makes backups needs public keys only, a passphrase is tried once, and
--- other recipients later replace one small file (encryption/rekey.lua).
---
---   manifest.encryption = { recipient = the backup's own, recipients = { ... } or passphrase = true }
---
--- The text in key.age names the backup, so that nobody passes the key of one for that of another.
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
local manifests = require "moonkeep.manifest"
local merge = require "moonkeep.merge"
local secret = require "moonkeep.secret"

local M = { KEY = "key.age", PROOF = "proof.json", SUFFIX = ".age" }

--- No key.age is larger: 64 recipients are 7 KiB.
M.MAX_KEY_BYTES = 32 << 10

--- What is confidential in a manifest: of itself, of `dump`, of `source`.
local PRIVATE = { "tables", "large_objects" }
local PRIVATE_DUMP = { "selection" }
local PRIVATE_SOURCE = { "comment", "settings", "acl" }

-- ---- making ---------------------------------------------------------------------------------------

--- To whom a job seals: what age.seal takes, and what manifests say of it.
function M.target(keys)
  if keys.passphrase then
    return { passphrase = secret.reveal(keys.passphrase) }, { passphrase = true }
  end
  local recipients = list_of(keys.recipients)
  return { recipients = recipients }, { recipients = recipients }
end

local KEY_TEXT = "# the key of the backup %s/%s/%s\n%s\n"

--- The bytes of key.age: the backup's own key, sealed to whom `to` says. `place`: { job, series, id }.
function M.seal_key(identity, place, to)
  return age.seal(KEY_TEXT:format(place.job, place.series, place.id, identity), to)
end

--- The envelope of a new backup. `keys`: the job's `encrypt`; `place`: { job, series, id }. { stage,
--- that seals; key_text, the bytes of key.age; fields, for the manifest }.
function M.begin(keys, place)
  local identity, recipient = age.generate()
  local to, fields = M.target(keys)
  fields.recipient = recipient
  return { stage = { kind = "seal", recipients = { recipient } }, fields = fields,
    key_text = M.seal_key(identity, place, to) }
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

-- By manifest: { identity, by, stores = { [url]: whose key.age has opened it }, joined = { [url]: whose
-- proof object is in it } }.
local opened = setmetatable({}, { __mode = "k" })

--- Whether the objects of a backup in a store can be read.
function M.is_open(manifest, store)
  return not manifest.encryption or opened[manifest] ~= nil and opened[manifest].stores[store.url]
end

--- Who has opened it: a recipient, or "passphrase"; nil: it is not encrypted, or not open.
function M.opened_by(manifest)
  return opened[manifest] and opened[manifest].by
end

--- To whom a backup is sealed, for messages. `mark`: what has become of that since (rekey.read_mark).
function M.shown(manifest, mark)
  local fields = mark or manifest.encryption
  return fields.passphrase and "by a passphrase" or "to " .. table.concat(fields.recipients or {}, ", ")
end

-- Nothing opens it; `tried`: public keys.
local function no_key(backup, mark, tried)
  local by_passphrase = (mark or backup.manifest.encryption).passphrase
  local why = "there is no key to open it here"
  if by_passphrase and keyring.has_passphrases() then
    why = "the passphrase here is another one"
  elseif not by_passphrase and #tried > 0 then
    why = "the keys here are of " .. table.concat(tried, ", ")
  end
  errors.raise("WRONG_KEY", ("%s is encrypted %s, and %s"):format(backup.id, M.shown(backup.manifest,
    mark), why), { hint = by_passphrase and
    "give the passphrase in MOONKEEP_PASSPHRASE, or as `passphrase` of the job's `encrypt`" or
    "give the file of the private key: --identity FILE, MOONKEEP_IDENTITY=FILE, or `identity` of " ..
    "the job's `encrypt`" })
end

--- Opens key.age: the backup's own private key. `mark`: see `shown`. Returns it, and who has opened it.
--- Raises WRONG_KEY, CORRUPT.
function M.open_key(backup, key_text, mark)
  local manifest = backup.manifest
  local found, tried = keyring.open(key_text)
  if not found then
    no_key(backup, mark, tried)
  end
  local identity = found.text:match "^[^\n]*\n(%S+)\n$" or ""
  if found.text ~= KEY_TEXT:format(manifest.job, manifest.series, manifest.id, identity) or
    age.recipient(identity) ~= manifest.encryption.recipient then
    errors.raise("CORRUPT", ("%s holds the key of another backup"):format(M.KEY))
  end
  return identity, found.by
end

--- Opens a backup of a store: from now on `stages` reads its objects. Raises WRONG_KEY, CORRUPT.
function M.open(backup, store, key_text, mark)
  local identity, by = M.open_key(backup, key_text, mark)
  local state = opened[backup.manifest] or { identity = identity, stores = {}, joined = {} }
  opened[backup.manifest], state.by, state.stores[store.url] = state, by, true
end

--- The stages that read an object: a list, empty when it is not encrypted.
function M.stages(manifest, object)
  if not manifest.encryption or object.role == "key" then
    return {}
  end
  return { { kind = "open", identities = { opened[manifest].identity } } }
end

--- Puts what the proof object of a store says where it belongs. Raises CORRUPT.
function M.join(manifest, store, text)
  local ok, private = pcall(json.decode, text)
  if not ok or type(private) ~= "table" or type(private.dump) ~= "table" or
    type(private.source) ~= "table" then
    errors.raise("CORRUPT", "it is not what moonkeep writes")
  end
  move(private, manifest, PRIVATE)
  move(private.dump, manifest.dump, PRIVATE_DUMP)
  move(private.source, manifest.source, PRIVATE_SOURCE)
  manifests.check_private(manifest)
  opened[manifest].joined[store.url] = true
end

--- Whether that has been done.
function M.is_joined(manifest, store)
  return opened[manifest] ~= nil and opened[manifest].joined[store.url]
end

--- The name of an object without what encryption adds to it.
function M.plain_name(name)
  return (name:gsub("%.age$", ""))
end

return M
