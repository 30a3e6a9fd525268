--- Making a backup: dump, compress, upload.
---
--- `dump` describes a stream without starting it, `compress` decorates it, `upload` alone moves
--- bytes: one flow from pg_dump through the compressor into every store at once, with no temporary
--- file. On the way the table of contents is read by pg_restore itself, so a dump that it cannot
--- read is never published. The manifest comes last.
local clock = require "moonkeep.clock"
local errors = require "moonkeep.errors"
local flow = require "moonkeep.flow"
local host = require "moonkeep.core.host"
local log = require "moonkeep.log"
local manifests = require "moonkeep.manifest"
local process = require "moonkeep.process"
local spec = require "moonkeep.spec"
local stores = require "moonkeep.store"
local tools = require "moonkeep.pg.tools"
local units = require "moonkeep.units"

local M = {}

local DEFAULT_CODEC = "zstd:1"

local Stream = {}
Stream.__index = Stream

M.DUMP_OPTIONS = {
  format = { type = "string", check = function(value)
    return value ~= "custom" and "must be \"custom\"" or nil
  end },
}

-- What the manifest says of the source; also proves that the server can be reached.
local function describe(source)
  local connection <close> = source:connect()
  local row = connection:row [[
    SELECT current_database() AS database, current_setting('server_version') AS server_version,
           pg_catalog.pg_encoding_to_char(d.encoding) AS encoding, d.datcollate AS collate,
           d.datctype AS ctype,
           -- by name, for these columns came with 15 and were renamed in 17
           coalesce(to_jsonb(d)->>'datlocprovider', 'c') = 'i' AS icu,
           coalesce(to_jsonb(d)->>'daticulocale', to_jsonb(d)->>'datlocale') AS icu_locale
    FROM pg_catalog.pg_database d WHERE d.datname = current_database()]]
  -- Not granted to everybody, and absent on some managed services.
  local ok, system = pcall(connection.value, connection,
    "SELECT system_identifier::text FROM pg_catalog.pg_control_system()")
  return row, connection:major(), ok and system or nil
end

function M.is_stream(value)
  return getmetatable(value) == Stream
end

--- An unstarted dump of a source, as one stream in pg_dump's custom format.
function M.dump(source, options)
  options = options or {}
  spec.check("dump", M.DUMP_OPTIONS, options)
  return setmetatable({ source = source, codec = DEFAULT_CODEC }, Stream)
end

--- The same stream, compressed: "zstd:3", "gzip:6", "none".
function M.compress(stream, codec)
  flow.codec(codec) -- raises on an unknown one
  stream.codec = codec
  return stream
end

local RESTORE_TEXT = [[
How to restore this backup without moonkeep
===========================================

It is a dump of the database %s, made by %s in custom format%s.
Run these commands with bash, in the folder of this file. NEWDB is the name of the database to
create; give host, port and user as you usually do (PGHOST, PGPORT, PGUSER).

    set -euo pipefail

First make sure that the file is whole:

    echo "%s  %s" | sha256sum --check

Then restore it:

    createdb --template=template0 %s "$NEWDB"
    %spg_restore --exit-on-error --dbname="$NEWDB"%s

pg_restore must be of version %d or newer%s. The roles that own things in the database must exist
on the new server; if they don't, add --no-owner --no-privileges to pg_restore.
]]

-- For a shell, in single quotes.
local function shell_quote(text)
  return "'" .. text:gsub("'", "'\\''") .. "'"
end

local function createdb_options(source)
  local options = { "--encoding=" .. shell_quote(source.encoding),
    "--lc-collate=" .. shell_quote(source.collate), "--lc-ctype=" .. shell_quote(source.ctype) }
  if source.icu then
    options[#options + 1] = "--locale-provider=icu --icu-locale=" .. shell_quote(source.icu_locale)
  end
  return table.concat(options, " ")
end

-- What to install, how to decompress, per codec.
local STOCK = {
  none = { "", "", " %s" },
  gzip = { ", compressed by gzip", "gzip --decompress --stdout %s | ", "" },
  lz4 = { ", compressed by lz4", "lz4 -d -c %s | ", "" },
  zstd = { ", compressed by zstd", "zstd --decompress --stdout %s | ", "" },
}

local function restore_text(manifest, object, major)
  local codec = flow.codec(object.codec)
  local what, before, after = table.unpack(STOCK[codec])
  local packaged = codec == "zstd" or codec == "lz4"
  local unpacker = packaged and ("; %s is in the package of that name"):format(codec) or ""
  return RESTORE_TEXT:format(manifest.source.database, manifest.dump.program, what,
    object.sha256, object.name, createdb_options(manifest.source),
    before:format(object.name), after:format(object.name), major, unpacker)
end

-- Entries of `pg_restore -l`, whose other lines are comments.
local function count_toc(listing)
  local n = 0
  for line in listing:gmatch "[^\n]+" do
    if line:sub(1, 1) ~= ";" then
      n = n + 1
    end
  end
  return n
end
M.count_toc = count_toc

local function begin_all(job, series, id, targets)
  local sessions = setmetatable({}, { __close = function(list)
    for _, session in ipairs(list) do
      session:close()
    end
  end })
  for _, store in ipairs(targets) do
    local ok, session = pcall(store.begin, store, job, series, id)
    if not ok then
      getmetatable(sessions).__close(sessions)
      local err = errors.of(session)
      err.message = ("store %s: %s"):format(store.name, err.message)
      error(err, 0)
    end
    sessions[#sessions + 1] = session
  end
  return sessions
end

local function move(stream, major, object, sessions)
  local conninfo, env = stream.source:for_program()
  local stored = { kind = "tee", { { kind = "sha256", label = "stored" } } }
  for _, session in ipairs(sessions) do
    stored[#stored + 1] = { session:sink(object.name) }
  end
  return flow.run({
    { kind = "process", env = env, argv = { tools.find("pg_dump", major), "--format=custom",
      "--compress=0", "--no-password", "--dbname=" .. conninfo } },
    { kind = "tee",
      { { kind = "process", label = "toc", early = true, keep_stdout = true,
        argv = { tools.find("pg_restore", major), "--list" } } },
      { { kind = "encode", codec = object.codec }, stored } },
  }, { title = "dump of " .. tostring(stream.source) })
end

--- Moves a stream into every store of the list and publishes it there. Returns the backup:
--- { id, job, series, manifest, stores }. On any failure nothing is published anywhere.
function M.upload(job, stream, targets)
  local began = clock.monotonic()
  local description, major, system = describe(stream.source)
  local series = stores.series(description.database)
  local id = clock.compact() .. "-" .. host.random(3)
  local _, _, suffix = flow.codec(stream.codec)
  local object = { name = "data.dump" .. suffix, role = "data", codec = stream.codec }
  local sessions <close> = begin_all(job, series, id, targets)

  log.info("dumping %s with pg_dump %d, %s", tostring(stream.source), major, stream.codec)
  local report = move(stream, major, object, sessions)
  object.size = report.stored.bytes_in
  object.sha256 = report.stored.result
  object.decoded_size = report.source.bytes_out
  if object.decoded_size == 0 then
    errors.raise("EMPTY_DUMP", "pg_dump ended without an error and without a byte")
  end

  local version = process.run { argv = { tools.find("pg_dump", major), "--version" } }
  local manifest = {
    format = manifests.FORMAT, kind = "logical", id = id, job = job, series = series,
    created_at = clock.iso(), moonkeep = host.version(), source = description,
    system_identifier = system,
    run = { seconds = (clock.monotonic() - began) / 1000 },
    needs = { pg_restore = major, codec = (flow.codec(object.codec)) },
    dump = { format = "custom", program = "pg_dump " .. (version:match "(%d+[%w.]*)" or "?"),
      toc_entries = count_toc(report.toc.result) },
    objects = { object },
  }
  local text = restore_text(manifest, object, major)
  for _, session in ipairs(sessions) do
    session:put("RESTORE.txt", text)
  end
  local encoded = manifests.encode(manifest)
  for _, session in ipairs(sessions) do
    session:publish(encoded)
  end
  log.info("published %s: %s, %s before compression, in %s", id, units.format_size(object.size),
    units.format_size(object.decoded_size), #targets == 1 and targets[1].name or
    (#targets .. " stores"))
  return { id = id, job = job, series = series, manifest = manifest, stores = targets,
    proof = "stored" }
end

return M
