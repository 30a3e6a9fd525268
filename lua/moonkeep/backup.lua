--- Making a backup: dump, compress, upload.
---
--- `dump` describes a stream without starting it, `compress` decorates it, `upload` alone moves
--- bytes, from the server through the compressor into every store at once, with no temporary file:
--- by the native engine (dump/native.lua), or as one stream of pg_dump's (dump/single.lua). The
--- manifest comes last.
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
local native = require "moonkeep.dump.native"
local redact = require "moonkeep.redact"
local restore_text = require "moonkeep.restore_text"
local server = require "moonkeep.dump.server"
local single = require "moonkeep.dump.single"
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

--- An unstarted dump of a source. `options`: the table `dump`.
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

-- ---- the engines --------------------------------------------------------------------------------

-- About how many bytes a dump will have: those of the one before it.
local function expected_bytes(job, series, store)
  local ok, latest = pcall(store.latest, store, job, series)
  if not ok or not latest then
    return nil
  end
  local _, decoded = manifests.sizes(latest.manifest)
  return decoded
end

-- Dumps by the native engine; nil when only pg_dump can, which is said.
local function dump_natively(stream, plan)
  local why = dump_options.only_pg_dump(stream.options)
  if not why then
    local ok, result = pcall(native.dump, plan)
    if ok then
      return result
    elseif errors.of(result).code ~= "NOT_NATIVE" then
      error(result, 0)
    end
    why = result.message
  end
  log.warn("pg_dump makes this backup, in one stream, for %s", why)
end

-- Returns what an engine does (see dump/native.lua and dump/single.lua), and the format it made.
local function dump(stream, plan)
  local format = stream.kind == "globals" and "globals" or stream.options.format
  if not format then
    local result = dump_natively(stream, plan)
    if result then
      return result, "directory"
    end
  end
  plan.format = format or "custom"
  plan.with_passwords = stream.with_passwords
  return single.dump(plan), plan.format
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
  local connection <close> = source:connect { patient = true }
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
local function put(sessions, objects, name, role, text)
  local report = flow.run { { kind = "memory", text = text }, { kind = "sha256", label = "sum" } }
  for _, session in ipairs(sessions) do
    session:put(name, text)
  end
  objects[#objects + 1] = { name = name, role = role, codec = "none", size = #text,
    decoded_size = #text, sha256 = report.sum.result }
end

local function version_of(program, major)
  return ("%s %s"):format(program, tools.version(tools.find(program, major)) or "?")
end

-- " and 2 connections" of the native engine.
local function connections(stream)
  if stream.kind == "globals" or stream.options.format then
    return ""
  end
  local jobs = stream.options.jobs or native.DEFAULT_JOBS
  return " and " .. units.format_count(jobs, "connection")
end

local function manifest_of(stream, fields, result)
  local is_globals = stream.kind == "globals"
  return {
    format = manifests.FORMAT, kind = stream.kind, created_at = clock.iso(),
    moonkeep = host.version(), host = host.name(), id = fields.id, job = fields.job,
    series = fields.series, source = fields.source, system_identifier = fields.system,
    run = { id = fields.run, seconds = (clock.monotonic() - fields.began) / 1000 },
    needs = { pg_restore = fields.major, codec = (flow.codec(stream.codec)) },
    dump = { format = is_globals and "plain" or fields.format, program = fields.program,
      toc_entries = result.entries, selection = dump_options.selection(stream.options),
      passwords = is_globals and stream.with_passwords or nil, jobs = result.jobs,
      lsn = result.lsn, settings = result.settings },
    objects = result.objects, tables = result.tables, large_objects = result.large_objects,
    tags = fields.tags, globals = fields.globals,
  }
end

local function publish(sessions, manifest)
  local text = restore_text.make(manifest)
  for _, session in ipairs(sessions) do
    session:put("RESTORE.txt", text)
  end
  local encoded = manifests.encode(redact.value(manifest))
  for _, session in ipairs(sessions) do
    session:publish(encoded)
  end
end

--- Moves a stream into every store of the list and publishes it there. Returns the backup:
--- { id, job, series, manifest, stores, proof }. On any failure nothing is published anywhere.
--- `extra`: fields for the manifest (tags, globals, run).
function M.upload(job, stream, targets, extra)
  extra = extra or {}
  local began = clock.monotonic()
  local source = server.choose(stream.source, stream.options)
  local description, major, system = describe(source)
  local is_globals = stream.kind == "globals"
  local series = is_globals and globals.SERIES or stores.series(description.database)
  local id = new_id(job, series, targets)
  local program = version_of(is_globals and "pg_dumpall" or "pg_dump", major)
  local sessions <close> = begin_all(job, series, id, targets)

  log.info("dumping %s%s with %s%s, %s", is_globals and "roles and tablespaces of " or "",
    tostring(stream.source), program, connections(stream), stream.codec)
  local result, format = dump(stream, { source = source, options = stream.options, major = major,
    codec = stream.codec, sessions = sessions,
    primary = stream.options.prefer == "standby" and function(why)
      return server.choose_primary(stream.source, why)
    end or nil,
    title = ("%s of %s"):format(is_globals and "globals" or "dump", tostring(stream.source)),
    total = expected_bytes(job, series, targets[1]),
    put = function(...) put(sessions, ...) end })
  if not is_globals then
    put(sessions, result.objects, "database.sql", "properties",
      restore_text.properties_sql(description))
  end
  local manifest = manifest_of(stream, { id = id, job = job, series = series, began = began,
    source = description, system = system, major = major, program = program, format = format,
    run = extra.run, tags = extra.tags, globals = extra.globals }, result)
  publish(sessions, manifest)
  local size, decoded = manifests.sizes(manifest)
  log.info("published %s: %s, %s before compression, in %s", id, units.format_size(size),
    units.format_size(decoded), #targets == 1 and targets[1].name or (#targets .. " stores"))
  return stores.backup { id = id, job = job, series = series, manifest = manifest,
    stores = targets, proof = "stored" }
end

return M
