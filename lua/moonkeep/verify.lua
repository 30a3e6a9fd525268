--- Reading a backup of a store, and seeing that it is what was stored: see proof.lua.
---
---   stored    the store says that every object is there, of its size, and, where it knows it, with its
---             SHA-256
---   read      every stored byte has been read again, and its SHA-256 is the manifest's
---   decoded   the same, and everything was decompressed to its recorded length; one stream:
---             pg_restore reads the same table of contents from it; a directory: every table has the
---             rows, and the content hash, that it had when it was dumped
local core_task = require "moonkeep.core.task"
local envelope = require "moonkeep.encryption.envelope"
local errors = require "moonkeep.errors"
local flow = require "moonkeep.flow"
local log = require "moonkeep.log"
local manifests = require "moonkeep.manifest"
local meters = require "moonkeep.meter"
local rekey = require "moonkeep.encryption.rekey"
local single = require "moonkeep.dump.single"
local sums = require "moonkeep.dump.sums"
local tasks = require "moonkeep.task"
local toc = require "moonkeep.pg.toc"

local M = {}

local function damaged(store, backup, object, why)
  local asked, is_there = pcall(store.is_there, store, backup)
  if asked and not is_there then
    errors.raise("NOT_FOUND", ("%s has gone from store %s while it was read"):format(backup.id,
      store.name), { hint = "it has expired, or was removed: take another one, or hold it first" })
  end
  local message = ("%s in store %s: %s: %s"):format(backup.id, store.name, object.name, why)
  errors.raise("CORRUPT", message, {
    hint = "this backup must not be relied on: verify an older one, and look for the cause " ..
      "(disk errors, a store that lost data)" })
end

-- Runs a flow that reads an object; damage and absence become one error that names the backup.
-- A file that can't be read is damage; a pipe to a program that can't be made is not.
local READ_FAULTS = { CORRUPT = true, NOT_FOUND = true }

local function is_damage(err)
  return errors.is_error(err) and
    (READ_FAULTS[err.code] or err.code == "IO_ERROR" and err.op == "file")
end

function M.reading(store, backup, object, stages, options)
  local ok, report = pcall(flow.run, stages, options)
  if ok then
    return report
  elseif is_damage(report) then
    damaged(store, backup, object, report.message)
  end
  error(report, 0)
end

-- Whether so many bytes of this SHA-256 are what has replaced an object since the manifest was written.
local function is_replaced(store, backup, object, size, sha256)
  return object.role == "key" and rekey.is_version(rekey.read_mark(store, backup), size, sha256)
end

-- Compares what was read with what the manifest says.
function M.check_digest(store, backup, object, node)
  if (node.bytes_in ~= object.size or node.result ~= object.sha256) and
    is_replaced(store, backup, object, node.bytes_in, node.result) then
    return
  end
  if node.bytes_in ~= object.size then
    damaged(store, backup, object, ("it has %d bytes, not %d"):format(node.bytes_in, object.size))
  end
  if node.result ~= object.sha256 then
    damaged(store, backup, object, "its SHA-256 is not the recorded one")
  end
end

-- How a flow's progress is told: by itself, under a title, or as part of a meter's.
local function progress(object, title_or_meter)
  if type(title_or_meter) == "table" then
    return { meter = title_or_meter }
  end
  return { title = title_or_meter, total = object.size }
end

local AT_ONCE_ASKED = 8

-- One object, without reading it.
local function ask_of_object(backup, store, object)
  local stat = store:stat(backup, object)
  if not stat then
    damaged(store, backup, object, "it is not there")
  elseif (stat.size ~= object.size or stat.sha256 and stat.sha256 ~= object.sha256) and
    is_replaced(store, backup, object, stat.size, stat.sha256) then
    return
  elseif stat.size ~= object.size then
    damaged(store, backup, object, ("it has %d bytes, not %d"):format(stat.size, object.size))
  elseif stat.sha256 and stat.sha256 ~= object.sha256 then
    damaged(store, backup, object, "its SHA-256 is not the recorded one")
  end
end

--- Asks the store for what it has. Raises CORRUPT.
function M.stored(backup, store)
  local ok, err = pcall(tasks.each, manifests.stored(backup.manifest), { parallel = AT_ONCE_ASKED },
    function(object)
      ask_of_object(backup, store, object)
    end)
  if not ok and errors.is_denied(err) then
    log.warn("store %s does not let us look: all that is known of %s is that it has acknowledged " ..
      "each object with its checksum", store.name, backup.id)
  elseif not ok then
    error(err, 0)
  end
end

function M.read_object(backup, store, object, meter)
  local report = M.reading(store, backup, object, {
    store:source(backup, object),
    { kind = "sha256", label = "stored" },
  }, progress(object, meter or "reading " .. object.name))
  M.check_digest(store, backup, object, report.stored)
end

function M.read(backup, store)
  for _, object in ipairs(manifests.stored(backup.manifest)) do
    M.read_object(backup, store, object)
  end
end

-- The backup's own key, from key.age. A key of another backup, or an object that is sealed to another
-- one, is damage.
local function open_envelope(backup, store)
  local object = manifests.objects(backup.manifest, "key")[1]
  if not object then
    errors.raise("CORRUPT", "the manifest is damaged: it has no key")
  end
  local stat = store:stat(backup, object)
  if stat and stat.size > envelope.MAX_KEY_BYTES then
    damaged(store, backup, object, "it is too large")
  end
  local report = M.reading(store, backup, object, { store:source(backup, object), { kind = "tee",
    { { kind = "sha256", label = "stored" } }, { { kind = "text", limit = envelope.MAX_KEY_BYTES,
    label = "text" } } } })
  M.check_digest(store, backup, object, report.stored)
  local mark = rekey.read_mark(store, backup)
  local ok, err = pcall(envelope.open, backup, store, report.text.result, mark)
  if not ok and errors.of(err).code == "CORRUPT" then
    damaged(store, backup, object, err.message)
  elseif not ok then
    error(err, 0)
  end
end

--- Reads an object, opens it if it is encrypted, and decompresses it into a sink; what was read is
--- compared with the manifest. `title`: for its progress, or the meter that counts it. Returns the
--- flow's report. Raises CORRUPT, and WRONG_KEY when nothing here opens the backup.
function M.unpack(backup, store, object, sink, title)
  if not envelope.is_open(backup.manifest, store) then
    open_envelope(backup, store)
  end
  local plain = envelope.stages(backup.manifest, object)
  plain[#plain + 1] = { kind = "decode", codec = object.codec }
  plain[#plain + 1] = sink
  local ok, report = pcall(M.reading, store, backup, object, { store:source(backup, object),
    { kind = "tee", { { kind = "sha256", label = "stored" } }, plain } }, progress(object, title))
  if not ok and errors.of(report).code == "WRONG_KEY" then
    damaged(store, backup, object, "it is sealed to another key than the backup's")
  elseif not ok then
    error(report, 0)
  end
  M.check_digest(store, backup, object, report.stored)
  return report
end

-- The same, and what came out has the recorded length; a program that fails on it means damage.
local function decode(backup, store, object, sink, meter)
  local ok, report = pcall(M.unpack, backup, store, object,
    { kind = "tee", { { kind = "null", label = "decoded" } }, { sink } },
    meter or "decoding " .. object.name)
  if not ok and report.code == "PROCESS_FAILED" then
    damaged(store, backup, object, report.message)
  elseif not ok then
    error(report, 0)
  end
  if report.decoded.bytes_in ~= object.decoded_size then
    damaged(store, backup, object, ("it decodes to %d bytes, not %d"):format(
      report.decoded.bytes_in, object.decoded_size))
  end
  return report
end

local MAX_TEXT_BYTES = 1 << 30

--- The contents of a small object, with every byte checked.
function M.text(backup, store, object, meter)
  return decode(backup, store, object, { kind = "text", limit = MAX_TEXT_BYTES, label = "text" },
    meter).text.result
end

-- Opens an encrypted backup in a store: its manifest gets what is confidential in it
-- (encryption/envelope.lua).
local function unlock_in(backup, store)
  local manifest = backup.manifest
  if envelope.is_joined(manifest, store) then
    return
  end
  local object = manifests.objects(manifest, "proof")[1]
  if not object then
    errors.raise("CORRUPT", "the manifest is damaged: it has no proof object")
  end
  local text = M.text(backup, store, object)
  local ok, err = pcall(envelope.join, manifest, store, text)
  if not ok then
    damaged(store, backup, object, errors.of(err).message)
  end
end

--- Opens an encrypted backup, from the first of its stores that has a whole key, which is its first one
--- then. Of any other it does nothing. Raises WRONG_KEY, CORRUPT.
function M.unlock(backup)
  if not backup.manifest.encryption then
    return
  end
  local first
  for i, store in ipairs(backup.stores) do
    local ok, err = xpcall(unlock_in, errors.handler, backup, store)
    if ok then
      table.insert(backup.stores, 1, table.remove(backup.stores, i))
      return
    end
    first = first or err
    if core_task.canceled() or errors.of(err).code == "WRONG_KEY" then
      error(err, 0)
    end
    log.warn("%s cannot be opened in store %s: %s", backup.id, store.name, errors.of(err).message)
  end
  error(first, 0)
end

-- ---- decoded: one stream --------------------------------------------------------------------------

-- The format by which the stream is proved: globals end with a line of their own.
local function format_of(manifest)
  return manifest.kind == "globals" and "globals" or manifest.dump.format
end

local function decode_stream(backup, store, object)
  local manifest = backup.manifest
  local report = decode(backup, store, object,
    single.proof_stage(format_of(manifest), manifest.needs.pg_restore))
  local entries, why = single.check_proof(format_of(manifest), report.proof.result)
  if entries ~= manifest.dump.toc_entries then
    damaged(store, backup, object, why or ("its table of contents has %d entries, not %d"):format(
      entries, manifest.dump.toc_entries))
  end
end

-- ---- decoded: a directory -------------------------------------------------------------------------

-- What the manifest says of the rows in each object: { [object] = { [member or ""] = "sum" } }.
local function expected_rows(manifest)
  local expected, names = {}, {}
  for _, known in ipairs(manifest.tables) do
    for _, part in ipairs(known.parts) do
      expected[part.object] = expected[part.object] or {}
      expected[part.object][part.member or ""] = sums.text(part)
      names[part.object .. (part.member or "")] = known.schema .. "." .. known.name
    end
  end
  return expected, names
end

local Directory = {}
Directory.__index = Directory

function Directory:check(object, member, sum)
  local expected = (self.expected[object.name] or {})[member]
  if sum ~= expected then
    damaged(self.store, self.backup, object, ("the rows of %s are not those that were dumped")
      :format(self.names[object.name .. member] or member))
  end
  self.seen[object.name .. member] = true
end

-- How objects are read, by their role; all others are only read.
local READERS = {}

function READERS.data(self, object)
  self:check(object, "", decode(self.backup, self.store, object,
    { kind = "rows", label = "rows" }, self.meter).rows.result)
end

function READERS.pack(self, object)
  local text = decode(self.backup, self.store, object,
    { kind = "rows", packed = true, label = "rows" }, self.meter).rows.result
  for member, sum in text:gmatch "(%S+) (%S+)\n" do -- also of one that comes twice
    self:check(object, member, sum)
  end
end

function READERS.objects(self, object)
  local oid = object.name:match "^blob_(%d+)"
  local text = decode(self.backup, self.store, object, { kind = "large_objects", label = "sum",
    packed = not oid, oid = oid and tonumber(oid) }, self.meter).sum.result
  self.large_objects:add(text)
end

function READERS.contents(self, object)
  local text = M.text(self.backup, self.store, object, self.meter)
  local ok, archive = pcall(toc.read, text)
  local wanted = self.backup.manifest.dump.toc_entries
  if not ok then
    damaged(self.store, self.backup, object, archive.message)
  elseif #archive.entries ~= wanted then
    damaged(self.store, self.backup, object, ("its table of contents has %d entries, not %d")
      :format(#archive.entries, wanted))
  end
end

--- Compares the sum of all large objects with the manifest's. Raises CORRUPT.
function M.check_large_objects(backup, store, sum)
  local wanted = backup.manifest.large_objects
  if wanted and sum:text() ~= sums.text(wanted) then
    damaged(store, backup, { name = "blobs" }, "the large objects are not those that were dumped")
  end
end

-- Nothing may be missing either: every part has been seen, and the large objects sum up.
function Directory:finish()
  for name, members in pairs(self.expected) do
    for member in pairs(members) do
      if not self.seen[name .. member] then
        damaged(self.store, self.backup, { name = name }, ("the rows of %s are missing"):format(
          self.names[name .. member]))
      end
    end
  end
  M.check_large_objects(self.backup, self.store, self.large_objects)
end

-- What there is nothing to say of but that it can be read: opened, too, when it is encrypted.
local function read_other(backup, store, object, meter)
  if backup.manifest.encryption and object.role ~= "key" and object.role ~= "text" then
    decode(backup, store, object, { kind = "null" }, meter)
  else
    M.read_object(backup, store, object, meter)
  end
end

function Directory:read(object)
  local reader = READERS[object.role] or function()
    read_other(self.backup, self.store, object, self.meter)
  end
  reader(self, object)
end

local AT_ONCE = 2 -- objects; decompressing is what takes the time

local function decode_directory(backup, store)
  local expected, names = expected_rows(backup.manifest)
  local self = setmetatable({ backup = backup, store = store, expected = expected, names = names,
    seen = {}, large_objects = sums.new(), meter = meters.new("verifying " .. backup.id,
    (manifests.sizes(backup.manifest))) }, Directory)
  local shown <close> = core_task.scope()
  shown:spawn(self.meter.show, self.meter)
  tasks.each(manifests.stored(backup.manifest), { parallel = AT_ONCE }, function(object)
    self:read(object)
  end)
  self:finish()
end

function M.decoded(backup, store)
  if backup.manifest.encryption then
    unlock_in(backup, store)
  end
  if backup.manifest.dump.format == "directory" then
    return decode_directory(backup, store)
  end
  local data = manifests.data_object(backup.manifest)
  for _, object in ipairs(manifests.stored(backup.manifest)) do
    if object == data then
      decode_stream(backup, store, object)
    else
      read_other(backup, store, object)
    end
  end
end

return M
