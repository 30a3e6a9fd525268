--- Making a backup: dump, compress, upload.
---
--- `dump` describes a stream without starting it, `compress` decorates it, `upload` alone moves
--- bytes, from the server through the compressor into every store at once, with no temporary file:
--- by the native engine (dump/native.lua), or as one stream of pg_dump's (dump/single.lua). The
--- manifest comes last.
local clock = require "moonkeep.clock"
local copies_of = require "moonkeep.copies"
local database = require "moonkeep.pg.database"
local dump_options = require "moonkeep.pg.dump_options"
local errors = require "moonkeep.errors"
local globals = require "moonkeep.pg.globals"
local identity = require "moonkeep.store.identity"
local log = require "moonkeep.log"
local manifests = require "moonkeep.manifest"
local native = require "moonkeep.dump.native"
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

-- What the manifest says of the source; also proves that the server can be reached.
local function describe(source)
  local connection <close> = source:connect { patient = true }
  return database.describe(connection), connection:major(), identity.system_of(connection)
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

--- Moves a stream into every store of the list and publishes it there. Returns the backup: see
--- Copies:publish. `extra`: fields for the manifest (tags, globals, run), `piece_size`, `encrypt` and
--- `sign` of the job, `is_anonymous`
--- (its job's name says nothing of whose it is), and `published`, a list that it is added to as soon as
--- it is published anywhere; when this raises before, it is nowhere.
function M.upload(job, stream, targets, extra)
  extra = extra or {}
  local began = clock.monotonic()
  local source = server.choose(stream.source, stream.options)
  local description, major, system = describe(source)
  local is_globals = stream.kind == "globals"
  local series = is_globals and globals.SERIES or stores.series(description.database)
  local program = version_of(is_globals and "pg_dumpall" or "pg_dump", major)
  local copies <close> = copies_of.begin(job, series, targets, { piece_size = extra.piece_size,
    encrypt = extra.encrypt, sign = extra.sign,
    identity = not extra.is_anonymous and identity.checker(job, system) or nil })

  log.info("dumping %s%s with %s%s, %s", is_globals and "roles and tablespaces of " or "",
    tostring(stream.source), program, connections(stream), stream.codec)
  local ok, result, format = pcall(dump, stream, { source = source, options = stream.options,
    major = major, codec = stream.codec, copies = copies,
    primary = stream.options.prefer == "standby" and function(why)
      return server.choose_primary(stream.source, why)
    end or nil,
    title = ("%s of %s"):format(is_globals and "globals" or "dump", tostring(stream.source)),
    total = expected_bytes(job, series, copies:first()) })
  if not ok then
    copies:blame(result)
  end
  if not is_globals then
    copies:put(result.objects, "database.sql", "properties",
      restore_text.properties_sql(description))
  end
  local manifest = manifests.make(stream, { id = copies.id, job = job, series = series, began = began,
    source = description, system = system, major = major, program = program, format = format,
    run = extra.run, tags = extra.tags, globals = extra.globals }, result)
  local backup = copies:publish(job, series, manifest)
  if extra.published then
    table.insert(extra.published, backup)
  end
  copies:complete(backup)
  return backup
end

return M
