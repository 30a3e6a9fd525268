--- Making a backup: dump, compress, upload.
---
--- `dump` describes a stream without starting it, `compress` decorates it, `upload` alone moves
--- bytes: one flow from pg_dump through the compressor into every store at once, with no temporary
--- file. On the way the table of contents is read by pg_restore itself, so a dump that it cannot
--- read is never published. The manifest comes last.
local clock = require "moonkeep.clock"
local core_task = require "moonkeep.core.task"
local database = require "moonkeep.pg.database"
local dump_options = require "moonkeep.pg.dump_options"
local errors = require "moonkeep.errors"
local flow = require "moonkeep.flow"
local globals = require "moonkeep.pg.globals"
local host = require "moonkeep.core.host"
local log = require "moonkeep.log"
local manifests = require "moonkeep.manifest"
local redact = require "moonkeep.redact"
local restore_text = require "moonkeep.restore_text"
local stores = require "moonkeep.store"
local tools = require "moonkeep.pg.tools"
local units = require "moonkeep.units"

local M = {}

M.DEFAULT_CODEC = "zstd:1"

local Stream = { __name = "moonkeep.Stream" }
Stream.__index = Stream

function Stream:__tostring()
  return ("an unstarted dump of %s"):format(tostring(self.source))
end

--- An unstarted dump of a source: pg_dump's one stream. `options`: the table `dump`.
function M.dump(source, options)
  return setmetatable({ source = source, options = options or {}, codec = M.DEFAULT_CODEC,
    kind = "logical" }, Stream)
end

--- An unstarted dump of roles and tablespaces.
function M.dump_globals(source, with_passwords)
  return setmetatable({ source = source, options = {}, codec = M.DEFAULT_CODEC, kind = "globals",
    with_passwords = with_passwords }, Stream)
end

--- The same stream, compressed: "zstd:3", "gzip:6", "none".
function M.compress(stream, codec)
  stream.codec = codec
  return stream
end

-- ---- the flow -----------------------------------------------------------------------------------

-- What each format is called, and how its end is proved while it is being made: by pg_restore,
-- which reads its table of contents, or by the line that pg_dump writes last.
local FORMATS = {
  custom = { object = "data.dump" },
  tar = { object = "data.tar" },
  plain = { object = "data.sql", last_line = "-- PostgreSQL database dump complete" },
  globals = { object = "globals.sql", last_line = "-- PostgreSQL database cluster dump complete" },
}

local TAIL_BYTES = 200

--- The stage that proves a stream of a format to be whole, for a tee: `report.proof.result` then
--- goes to check_proof.
function M.proof_stage(format, major)
  if FORMATS[format].last_line then
    return { kind = "process", label = "proof", keep_stdout = true,
      argv = { "tail", "--bytes=" .. TAIL_BYTES } }
  end
  return { kind = "process", label = "proof", early = true, keep_stdout = true,
    argv = { tools.find("pg_restore", major), "--list", "--format=" .. format } }
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

--- The number of entries in the table of contents (0 for SQL); nil, why when the stream is not
--- whole.
function M.check_proof(format, result)
  local last_line = FORMATS[format].last_line
  if not last_line then
    return count_toc(result)
  elseif result:find(last_line, 1, true) then
    return 0
  end
  return nil, ("it does not end with the line %q"):format(last_line)
end

local function argv_of(stream, major)
  local conninfo, env = stream.source:for_program()
  local argv
  if stream.kind == "globals" then
    argv = { tools.find("pg_dumpall", major), "--globals-only", "--no-password" }
    argv[#argv + 1] = not stream.with_passwords and "--no-role-passwords" or nil
  else
    argv = { tools.find("pg_dump", major), "--format=" .. (stream.options.format or "custom"),
      "--no-password" }
    argv[#argv + 1] = (stream.options.format or "custom") == "custom" and "--compress=0" or nil
    dump_options.add_dump(argv, stream.options, major)
  end
  argv[#argv + 1] = "--dbname=" .. conninfo
  return argv, env
end

local function format_of(stream)
  return stream.kind == "globals" and "globals" or stream.options.format or "custom"
end

-- About how many bytes a dump will have: those of the one before it.
local function expected_bytes(job, series, store)
  local ok, latest = pcall(store.latest, store, job, series)
  return ok and latest and manifests.data_object(latest.manifest).decoded_size or nil
end

local function move(stream, major, object, sessions, total)
  local argv, env = argv_of(stream, major)
  local stored = { kind = "tee", { { kind = "sha256", label = "stored" } } }
  for _, session in ipairs(sessions) do
    stored[#stored + 1] = { session:sink(object.name) }
  end
  return flow.run({
    { kind = "process", env = env, argv = argv },
    { kind = "tee", { M.proof_stage(format_of(stream), major) },
      { { kind = "encode", codec = object.codec }, stored } },
  }, { title = ("%s of %s"):format(stream.kind == "globals" and "globals" or "dump",
    tostring(stream.source)), total = total })
end

-- ---- publication --------------------------------------------------------------------------------

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
      error(errors.explain(err), 0)
    end
    sessions[#sessions + 1] = session
  end
  return sessions
end

-- What the manifest says of the source; also proves that the server can be reached.
local function describe(source)
  local connection <close> = source:connect()
  -- Not granted to everybody, and absent on some managed services.
  local ok, system = pcall(connection.value, connection,
    "SELECT system_identifier::text FROM pg_catalog.pg_control_system()")
  return database.describe(connection), connection:major(), ok and system or nil
end

local LAST_END = 0xffffff

-- Ids are in the order in which backups were made: one of the same second as the newest ends higher.
local function new_id(job, series, targets)
  while true do
    local second, lowest = clock.compact(), 0
    for _, store in ipairs(targets) do
      local ok, ids = pcall(store.list, store, job, series)
      local newest = ok and ids[#ids] or ""
      if newest:sub(1, #second) == second then
        lowest = math.max(lowest, tonumber(newest:match "%x+$", 16) + 1)
      end
    end
    if lowest <= LAST_END then
      local random = tonumber(host.random(3), 16)
      return ("%s-%06x"):format(second, lowest + random % (LAST_END + 1 - lowest))
    end
    core_task.sleep(100)
  end
end

-- A small object with a checksum of its own, in every store.
local function put(sessions, manifest, name, role, text)
  local report = flow.run { { kind = "memory", text = text }, { kind = "sha256", label = "sum" } }
  for _, session in ipairs(sessions) do
    session:put(name, text)
  end
  manifest.objects[#manifest.objects + 1] = { name = name, role = role, codec = "none",
    size = #text, decoded_size = #text, sha256 = report.sum.result }
end

local function version_of(program, major)
  return ("%s %s"):format(program, tools.version(tools.find(program, major)) or "?")
end

--- Moves a stream into every store of the list and publishes it there. Returns the backup:
--- { id, job, series, manifest, stores, proof }. On any failure nothing is published anywhere.
--- `extra`: fields for the manifest (tags, globals, run).
function M.upload(job, stream, targets, extra)
  local began = clock.monotonic()
  local description, major, system = describe(stream.source)
  local is_globals = stream.kind == "globals"
  local series = is_globals and globals.SERIES or stores.series(description.database)
  local id = new_id(job, series, targets)
  local format = format_of(stream)
  local _, _, suffix = flow.codec(stream.codec)
  local object = { name = FORMATS[format].object .. suffix, role = "data", codec = stream.codec }
  local program = is_globals and "pg_dumpall" or "pg_dump"
  local sessions <close> = begin_all(job, series, id, targets)

  log.info("dumping %s%s with %s, %s", is_globals and "roles and tablespaces of " or "",
    tostring(stream.source), version_of(program, major), stream.codec)
  local report = move(stream, major, object, sessions, expected_bytes(job, series, targets[1]))
  object.size = report.stored.bytes_in
  object.sha256 = report.stored.result
  object.decoded_size = report.source.bytes_out
  if object.decoded_size == 0 then
    errors.raise("EMPTY_DUMP", program .. " ended without an error and without a byte")
  end
  local entries, why = M.check_proof(format, report.proof.result)
  if not entries then
    errors.raise("TRUNCATED_DUMP", ("%s ended without an error, but its output is not whole: %s")
      :format(program, why))
  end

  local manifest = {
    format = manifests.FORMAT, kind = stream.kind, id = id, job = job, series = series,
    created_at = clock.iso(), moonkeep = host.version(), host = host.name(),
    source = description, system_identifier = system,
    run = { id = extra and extra.run, seconds = (clock.monotonic() - began) / 1000 },
    needs = { pg_restore = major, codec = (flow.codec(object.codec)) },
    dump = { format = format == "globals" and "plain" or format,
      program = version_of(program, major), toc_entries = entries,
      selection = dump_options.selection(stream.options),
      passwords = is_globals and stream.with_passwords or nil },
    objects = { object }, tags = extra and extra.tags, globals = extra and extra.globals,
  }
  if not is_globals then
    put(sessions, manifest, "database.sql", "properties",
      restore_text.properties_sql(description))
  end
  local text = restore_text.make(manifest)
  for _, session in ipairs(sessions) do
    session:put("RESTORE.txt", text)
  end
  local encoded = manifests.encode(redact.value(manifest))
  for _, session in ipairs(sessions) do
    session:publish(encoded)
  end
  log.info("published %s: %s, %s before compression, in %s", id, units.format_size(object.size),
    units.format_size(object.decoded_size), #targets == 1 and targets[1].name or
    (#targets .. " stores"))
  return stores.backup { id = id, job = job, series = series, manifest = manifest,
    stores = targets, proof = "stored" }
end

return M
