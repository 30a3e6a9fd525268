--- What every backup goes through, whoever makes it: a session in each store, an id, small objects,
--- RESTORE.txt, and the manifest, which comes last.
local clock = require "moonkeep.clock"
local core_task = require "moonkeep.core.task"
local dump_options = require "moonkeep.pg.dump_options"
local errors = require "moonkeep.errors"
local flow = require "moonkeep.flow"
local host = require "moonkeep.core.host"
local manifests = require "moonkeep.manifest"
local redact = require "moonkeep.redact"
local restore_text = require "moonkeep.restore_text"

local M = {}

--- Begins a backup in every store; raises what the first of them that cannot says.
function M.begin(job, series, id, targets)
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

local LAST_END = 0xffffff

--- Ids are in the order in which backups were made: one of the same second as the newest ends higher.
--- `time` (of Unix): when that was; default: now.
function M.new_id(job, series, targets, time)
  while true do
    local second, lowest = clock.compact(time), 0
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

--- A small object with a checksum of its own, in every store.
function M.put(sessions, objects, name, role, text)
  local report = flow.run { { kind = "memory", text = text }, { kind = "sha256", label = "sum" } }
  for _, session in ipairs(sessions) do
    session:put(name, text)
  end
  objects[#objects + 1] = { name = name, role = role, codec = "none", size = #text,
    decoded_size = #text, sha256 = report.sum.result }
end

--- The manifest of a stream (backup.lua), of what is known of it (`fields`: id, job, series, began,
--- source, system, major, program, format, time, run, tags, globals, imported) and of what an engine
--- has said (`result`).
function M.manifest(stream, fields, result)
  local is_globals = stream.kind == "globals"
  return {
    format = manifests.FORMAT, kind = stream.kind, created_at = clock.iso(fields.time),
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

--- Writes RESTORE.txt, and last the manifest.
function M.publish(sessions, manifest)
  local text = restore_text.make(manifest)
  for _, session in ipairs(sessions) do
    session:put("RESTORE.txt", text)
  end
  local encoded = manifests.encode(redact.value(manifest))
  for _, session in ipairs(sessions) do
    session:publish(encoded)
  end
end

return M
