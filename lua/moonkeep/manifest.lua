--- Manifests: what a backup is, as JSON, and the proof that it exists. A backup exists if, and only
--- if, its manifest does; it is written last and never changed.
---
---   { "format": 1, "kind": "logical" | "globals", "id", "job", "series", "created_at",
---     "moonkeep": version, "host", "run": { "id", "seconds" }, "system_identifier": "7...",
---     "needs": { "pg_restore": major, "codec" }, "tags": {...},
---     "globals": id of the globals that were backed up with it,
---     "source": { "database", "server_version", "encoding", "collate", "ctype", "extensions",
---       "roles", "tablespaces", "checksums", and the database's own properties: see
---       pg/database.lua },
---     "dump": { "format": "custom" | "plain" | "tar" | "directory", "program": "pg_dump 15.20",
---       "toc_entries": n, "selection": the keys that make it less than the whole,
---       directory: "jobs", "lsn": of the snapshot, "settings": what the rows' text depends on },
---     "objects": [ { "name", "role", "codec", "size", "sha256", "decoded_size", "piece_size": of what
---       lies in several pieces (store/pieces.lua) } ],
---     directory:
---     "tables": [ { "oid", "schema", "name", "rows", "bytes", "hash", "parts": [ { "object",
---       "member": its file in a pack, "rows", "bytes", "hash" } ] } ],
---     "large_objects": { "count", "bytes", "hash" },
---     encrypted: "encryption": see encryption/envelope.lua, which has what is missing here then,
---     "restore_text": { "size", "sha256" } of RESTORE.txt,
---     signed: "signed_by": the id of the key (signature.lua) }
---
--- Roles: "data", the one stream, or rows of one table; "pack", rows of small tables; "objects",
--- large objects; "list", their names; "contents", toc.dat; "properties", database.sql; "proof" and
--- "key" of what is encrypted. Rows and bytes are those of COPY's text, hash is the content hash
--- (runtime/codec/content_hash.h).
local backup_id = require "moonkeep.core.backup_id"
local clock = require "moonkeep.clock"
local dump_options = require "moonkeep.pg.dump_options"
local errors = require "moonkeep.errors"
local flow = require "moonkeep.flow"
local host = require "moonkeep.core.host"
local json = require "moonkeep.core.json"
local keys = require "moonkeep.core.keys"

local M = { FORMAT = 1 }

local DUMP_FORMATS = { custom = true, plain = true, tar = true, directory = true }

function M.encode(manifest)
  return json.encode(manifest, true) .. "\n"
end

-- Manifests come from stores, which anybody may have written: nothing in them is trusted as a
-- path, and a shape that is wrong is damage.
local function corrupt(what)
  errors.raise("CORRUPT", "the manifest is damaged: " .. what)
end

local function is_time(value)
  return type(value) == "string" and value:find "^%d%d%d%d%-%d%d%-%d%dT%d%d:%d%d:%d%dZ$" ~= nil
end

local PRIVILEGES = { CONNECT = true, CREATE = true, TEMPORARY = true }
local TEXTS = { "owner", "comment", "tablespace", "locale", "icu_rules", "server_version" }

-- The database's own properties become SQL: see pg/database.lua.
local function check_properties(source)
  for _, key in ipairs(TEXTS) do
    if source[key] ~= nil and type(source[key]) ~= "string" then
      corrupt(("%q of its source is not a text"):format(key))
    end
  end
  if source.connection_limit ~= nil and math.type(source.connection_limit) ~= "integer" then
    corrupt "its connection limit is not a number"
  end
  for _, list in ipairs { source.acl or {}, source.settings or {} } do
    if type(list) ~= "table" then
      corrupt "a list of its source is none"
    end
  end
  for _, grant in ipairs(source.acl or {}) do
    if type(grant.role) ~= "string" or not PRIVILEGES[grant.privilege] then
      corrupt "it has a grant that databases have not"
    end
  end
  for _, entry in ipairs(source.settings or {}) do
    if type(entry.setting) ~= "string" or not entry.setting:find "^[%a_][%w_.]*=" or
      entry.role ~= nil and type(entry.role) ~= "string" then
      corrupt "it has a setting that is none"
    end
  end
end

local function is_count(value)
  return math.type(value) == "integer" and value >= 0
end

local function is_sum(value)
  return is_count(value.rows or value.count) and is_count(value.bytes) and
    type(value.hash) == "string" and value.hash:find "^%x+$" ~= nil
end

-- Where the rows of each table are: files that are opened, and files in archives.
local function check_tables(manifest)
  local names = {}
  for _, object in ipairs(manifest.objects) do
    names[object.name] = true
  end
  if type(manifest.tables) ~= "table" or
    manifest.large_objects ~= nil and not is_sum(manifest.large_objects) then
    corrupt "it does not say what is in its data"
  end
  for _, known in ipairs(manifest.tables) do
    if type(known.schema) ~= "string" or type(known.name) ~= "string" or not is_sum(known) or
      type(known.parts) ~= "table" then
      corrupt "it does not say what a table has"
    end
    for _, part in ipairs(known.parts) do
      if not names[part.object or ""] or not is_sum(part) or
        part.member ~= nil and not tostring(part.member):find "^%d+%.dat$" then
        corrupt(("it does not say where the rows of %s are"):format(known.name))
      end
    end
  end
end

--- Checks what an encrypted backup's proof object has added. Raises CORRUPT.
function M.check_private(manifest)
  check_properties(manifest.source)
  if manifest.dump.format == "directory" or manifest.tables ~= nil then
    check_tables(manifest)
  end
end

local function is_recipient(value)
  return type(value) == "string" and keys.age_is_recipient(value)
end

--- Whether a value is a list of public keys of age.
function M.are_recipients(list)
  if type(list) ~= "table" or #list == 0 then
    return false
  end
  for _, recipient in ipairs(list) do
    if not is_recipient(recipient) then
      return false
    end
  end
  return true
end

local function check_encryption(fields)
  if type(fields) ~= "table" or not is_recipient(fields.recipient) or
    not (fields.passphrase == true or M.are_recipients(fields.recipients)) then
    corrupt "it does not say how it is encrypted"
  end
end

-- What it says of what stands beside it: RESTORE.txt, the signature.
local function check_beside(manifest)
  local text = manifest.restore_text
  if text ~= nil and (type(text) ~= "table" or math.type(text.size) ~= "integer" or
    type(text.sha256) ~= "string") then
    corrupt "it does not say what its RESTORE.txt is"
  elseif manifest.signed_by ~= nil and not tostring(manifest.signed_by):find "^%x+$" then
    corrupt "it does not say who has signed it"
  end
end

local MAX_PIECES = 100000

function M.decode(text)
  local manifest = json.decode(text)
  if type(manifest) ~= "table" or math.type(manifest.format) ~= "integer" then
    corrupt "it has no format number"
  end
  if manifest.format > M.FORMAT then
    errors.raise("UNSUPPORTED", ("the backup has format %d, this moonkeep reads up to %d"):format(
      manifest.format, M.FORMAT), { hint = "install a newer moonkeep" })
  end
  for _, key in ipairs { "source", "dump", "objects", "needs" } do
    if type(manifest[key]) ~= "table" then
      corrupt(("it has no %q"):format(key))
    end
  end
  if math.type(manifest.needs.pg_restore) ~= "integer" or
    math.type(manifest.dump.toc_entries) ~= "integer" then
    corrupt "a version or a count is not a number"
  end
  for _, key in ipairs { "database", "encoding", "collate", "ctype" } do
    if type(manifest.source[key]) ~= "string" then
      corrupt(("its source has no %q"):format(key))
    end
  end
  if not is_time(manifest.created_at) or type(manifest.dump.program) ~= "string" or
    manifest.run ~= nil and type(manifest.run) ~= "table" then
    corrupt "it does not say when, or by what, it was made"
  end
  check_properties(manifest.source)
  if not DUMP_FORMATS[manifest.dump.format] then
    errors.raise("UNSUPPORTED", ("the dump has the format %s, which is unknown here"):format(
      tostring(manifest.dump.format)), { hint = "install a newer moonkeep" })
  end
  for _, object in ipairs(manifest.objects) do
    if type(object.name) ~= "string" or not object.name:match "^%w[%w._-]*$" then
      corrupt "an object has no proper name"
    end
    if math.type(object.size) ~= "integer" or math.type(object.decoded_size) ~= "integer" or
      type(object.sha256) ~= "string" then
      corrupt(("object %s has no size or checksum"):format(object.name))
    end
    if object.piece_size ~= nil and (math.type(object.piece_size) ~= "integer" or object.piece_size < 1
      or object.size // object.piece_size > MAX_PIECES) then
      corrupt(("object %s lies in no pieces that can be"):format(object.name))
    end
    if type(object.codec) ~= "string" or not pcall(flow.codec, object.codec) then
      errors.raise("UNSUPPORTED", ("object %s is compressed by %s, which is unknown here"):format(
        object.name, tostring(object.codec)), { hint = "install a newer moonkeep" })
    end
  end
  check_beside(manifest)
  if manifest.encryption ~= nil then
    check_encryption(manifest.encryption)
  elseif manifest.dump.format == "directory" then
    check_tables(manifest)
  end
  return manifest
end

--- The manifest of a stream (backup.lua), of what is known of it (`fields`: id, job, series, began,
--- source, system, major, program, format, run, tags, globals, imported) and of what an engine
--- has said (`result`).
function M.make(stream, fields, result)
  local is_globals = stream.kind == "globals"
  return {
    format = M.FORMAT, kind = stream.kind, created_at = backup_id.created_at(fields.id),
    moonkeep = host.version(), host = host.name(), id = fields.id, job = fields.job,
    series = fields.series, source = fields.source, system_identifier = fields.system,
    run = fields.began and { id = fields.run, seconds = (clock.monotonic() - fields.began) / 1000 } or
      nil,
    needs = { pg_restore = fields.major, codec = (flow.codec(stream.codec)) },
    dump = { format = is_globals and "plain" or fields.format, program = fields.program,
      toc_entries = result.entries, selection = dump_options.selection(stream.options),
      passwords = is_globals and stream.with_passwords or nil, jobs = result.jobs,
      lsn = result.lsn, settings = result.settings },
    objects = result.objects, tables = result.tables, large_objects = result.large_objects,
    tags = fields.tags, globals = fields.globals, imported = fields.imported,
  }
end

--- The objects of a role, in the manifest's order.
function M.objects(manifest, role)
  local list = {}
  for _, object in ipairs(manifest.objects) do
    list[#list + 1] = object.role == role and object or nil
  end
  return list
end

--- RESTORE.txt as an object; nil when the manifest does not know it (of earlier versions).
function M.restore_text(manifest)
  local text = manifest.restore_text
  return text and { name = "RESTORE.txt", role = "text", codec = "none", size = text.size,
    decoded_size = text.size, sha256 = text.sha256 }
end

--- All that is stored of a backup: its objects, and RESTORE.txt.
function M.stored(manifest)
  local list = table.move(manifest.objects, 1, #manifest.objects, 1, {})
  list[#list + 1] = M.restore_text(manifest)
  return list
end

--- The object that a dump of one stream is in.
function M.data_object(manifest)
  for _, object in ipairs(manifest.objects) do
    if object.role == "data" then
      return object
    end
  end
  corrupt "it has no data object"
end

--- How many bytes its objects have: as they are stored, and decompressed.
function M.sizes(manifest)
  local size, decoded_size = 0, 0
  for _, object in ipairs(manifest.objects) do
    size, decoded_size = size + object.size, decoded_size + object.decoded_size
  end
  return size, decoded_size
end

return M
