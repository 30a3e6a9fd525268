--- Taking over a dump that somebody else has made (dump/foreign.lua) into stores, as a backup like any
--- other, with a manifest and checksums.
---
--- A stream (custom, tar, plain) stays what it is; every byte of it is read by PostgreSQL's own program
--- on the way, so one that is cut is not taken over. A directory becomes a backup of the native engine:
--- rows are counted and hashed on the way.
local clock = require "moonkeep.clock"
local copies_of = require "moonkeep.copies"
local errors = require "moonkeep.errors"
local flow = require "moonkeep.flow"
local foreign = require "moonkeep.dump.foreign"
local fs = require "moonkeep.fs"
local log = require "moonkeep.log"
local manifests = require "moonkeep.manifest"
local restore_text = require "moonkeep.restore_text"
local single = require "moonkeep.dump.single"
local stores = require "moonkeep.store"
local sums = require "moonkeep.dump.sums"
local tasks = require "moonkeep.task"
local toc = require "moonkeep.pg.toc"
local tools = require "moonkeep.pg.tools"

local M = {}

local function damaged(path, why)
  errors.raise("CORRUPT", ("%s: %s"):format(path, why), { hint =
    "nothing was taken over; make a new dump, or look for a better copy of this one" })
end

-- ---- streams --------------------------------------------------------------------------------------

-- A custom archive is read and decompressed to its end by pg_restore, which does nothing with it. That
-- never ends on a tar archive that was cut; but its last file has always the same name.
local function whole_stage(found)
  if found.format == "tar" then
    return { kind = "process", argv = { "tar", "--extract", "--to-stdout", "--file=-", "restore.sql" } }
  end
  return { kind = "process", argv = { tools.reader(found.major), "--file=/dev/null",
    "--format=" .. found.format } }
end

local function import_stream(found, codec, copies)
  local _, _, suffix = flow.codec(codec)
  local stored = { { kind = "encode", codec = codec } }
  local object = { name = copies:append(stored, single.object_name(found.format) .. suffix),
    role = "data", codec = codec }
  local branches = { kind = "tee", { single.proof_stage(found.format, found.major) },
    { { kind = "null", label = "plain" } }, stored }
  if found.format ~= "plain" then
    branches[#branches + 1] = { whole_stage(found) }
  end
  local ok, report = pcall(flow.run, { { kind = "file", path = found.path },
    { kind = "decode", codec = found.codec }, branches },
    { title = "importing " .. found.path, total = fs.stat(found.path).size })
  if not ok and errors.of(report).code == "PROCESS_FAILED" then
    damaged(found.path, "it cannot be read to its end: " .. (report.detail or report.message))
  elseif not ok then
    error(report, 0)
  end
  object.size, object.sha256 = report.stored.bytes_in, report.stored.result
  object.decoded_size = report.plain.bytes_in
  local entries, why = single.check_proof(found.format, report.proof.result)
  if not entries then
    damaged(found.path, why)
  end
  return { objects = { object }, entries = entries }
end

-- ---- directories ----------------------------------------------------------------------------------

local SUFFIXES = { [""] = "none", [".gz"] = "gzip", [".zst"] = "zstd", [".lz4"] = "lz4" }

-- Names come from the archive: only those that pg_dump gives are files of the folder.
local function file_of(found, name)
  for suffix, codec in pairs(name:find "^%w[%w_]*%.%l+$" and SUFFIXES or {}) do
    local path = ("%s/%s%s"):format(found.path, name, suffix)
    if fs.exists(path) then
      return path, codec
    end
  end
  damaged(found.path, ("it has no file %s"):format(name))
end

-- One file into the stores; `digest`: the stage that sums it up.
local function move(found, codec, copies, name, role, digest, result)
  local path, its = file_of(found, name)
  local _, _, suffix = flow.codec(codec)
  local stored = { { kind = "encode", codec = codec, threads = 1 } }
  local object = { name = copies:append(stored, name .. suffix), role = role, codec = codec }
  digest.label = "sum"
  local ok, report = pcall(flow.run, { { kind = "file", path = path }, { kind = "decode", codec = its },
    { kind = "tee", { digest }, { { kind = "null", label = "plain" } }, stored } })
  if not ok and errors.of(report).code == "CORRUPT" then
    damaged(path, report.message)
  elseif not ok then
    error(report, 0)
  end
  object.size, object.sha256 = report.stored.bytes_in, report.stored.result
  object.decoded_size = report.plain.bytes_in
  table.insert(result.objects, object)
  return sums.parse(report.sum.result), object.name
end

local function import_table(found, codec, copies, entry, result)
  if not utf8.len(entry.name) or not utf8.len(entry.schema or "") then
    errors.raise("UNSUPPORTED", ("%s has names of tables in %s"):format(found.path,
      found.source.encoding), { hint = "make it with pg_dump --encoding=UTF8" })
  end
  local sum, object = move(found, codec, copies, entry.file, "data", { kind = "rows" }, result)
  table.insert(result.tables, { oid = tonumber(entry.oid) or 0, schema = entry.schema or "",
    name = entry.name, rows = sum.rows, bytes = sum.bytes, hash = sum.hash, parts = { {
    object = object, rows = sum.rows, bytes = sum.bytes, hash = sum.hash } } })
end

-- The files that a list of large objects names.
local function import_objects(found, codec, copies, entry, result)
  local path, codec_of_list = file_of(found, entry.file)
  if codec_of_list ~= "none" then
    damaged(found.path, ("%s is compressed"):format(entry.file))
  end
  local list = fs.read(path)
  copies:put(result.objects, entry.file, "list", list)
  if not (list == "" or list:sub(-1) == "\n") then
    damaged(found.path, entry.file .. " was cut")
  end
  for line in list:gmatch "[^\n]+" do
    local oid, name = line:match "^(%d+) (%S+)$"
    if not oid then
      damaged(found.path, ("%s is no list of large objects"):format(entry.file))
    end
    local sum = move(found, codec, copies, name, "objects", { kind = "large_objects",
      oid = math.tointeger(tonumber(oid)) }, result)
    result.objects_sum = result.objects_sum or sums.new()
    result.objects_sum:add(sum)
  end
end

local AT_ONCE = 2

local function import_directory(found, codec, copies)
  local result = { objects = {}, tables = {} }
  local with_data = {}
  for _, entry in ipairs(found.archive.entries) do
    with_data[#with_data + 1] = entry.has_data and entry or nil
  end
  tasks.each(with_data, { parallel = AT_ONCE }, function(entry)
    local import = entry.kind == "BLOBS" and import_objects or import_table
    import(found, codec, copies, entry, result)
  end)
  table.sort(result.objects, function(a, b) return a.size > b.size end)
  local sum = result.objects_sum
  result.large_objects = sum and { count = sum.rows, bytes = sum.bytes, hash = sum.hash } or nil
  local directory = toc.to_directory(found.archive, (flow.codec(codec)))
  result.entries, result.format = #directory.entries, "directory"
  copies:put(result.objects, "toc.dat", "contents", toc.write(directory))
  return result
end

-- ---- all of them ----------------------------------------------------------------------------------

local function complete(found, options)
  found.source.database = options.database or found.source.database
  if not found.source.database then
    errors.raise("USAGE", ("%s does not say which database it is of"):format(found.path),
      { hint = "say it: --database NAME" })
  end
  found.time = options.time or found.time
end

--- Takes a dump over into every store of the list. `options`: database (the name, when the dump does
--- not say it), time (of Unix: when it was made), codec, encrypt and sign (of the job). Returns the
--- backup, as backup.upload does. On any failure nothing is published. Raises NOT_FOUND,
--- UNSUPPORTED, CORRUPT, USAGE.
function M.import(job, path, targets, options)
  local found = foreign.inspect(path)
  complete(found, options)
  local codec = found.is_compressed and found.format ~= "directory" and "none" or options.codec
  local source, series = found.source, stores.series(found.source.database)
  local copies <close> = copies_of.begin(job, series, targets, { time = found.time,
    encrypt = options.encrypt, sign = options.sign })
  log.info("importing %s: a dump of %s of %s, by %s, in %s format", path, source.database,
    clock.iso(found.time), found.program, found.format)
  local import = found.format == "directory" and import_directory or import_stream
  local ok, result = pcall(import, found, codec, copies)
  if not ok then
    copies:blame(result)
  end
  copies:put(result.objects, "database.sql", "properties",
    restore_text.properties_sql(source))
  local manifest = manifests.make({ kind = "logical", options = {}, codec = codec }, { id = copies.id,
    job = job, series = series, source = source, major = found.major, program = found.program,
    format = found.format, imported = { file = path:match "([^/]+)/*$",
    at = clock.iso() } }, result)
  local backup = copies:publish(job, series, manifest)
  copies:complete(backup)
  return backup
end

return M
