--- Proving a backup, store by store.
---
---   read      every stored byte has been read again, and its SHA-256 is the manifest's
---   decoded   the same, and the stream was decompressed to its recorded length, and pg_restore
---             reads the same table of contents from it
local backups = require "moonkeep.backup"
local errors = require "moonkeep.errors"
local flow = require "moonkeep.flow"
local log = require "moonkeep.log"
local manifests = require "moonkeep.manifest"

local M = { LEVELS = require("moonkeep.definitions.tables").LEVELS }

local function damaged(store, backup, object, why)
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

-- Compares what was read with what the manifest says.
function M.check_digest(store, backup, object, node)
  if node.bytes_in ~= object.size then
    damaged(store, backup, object, ("it has %d bytes, not %d"):format(node.bytes_in, object.size))
  end
  if node.result ~= object.sha256 then
    damaged(store, backup, object, "its SHA-256 is not the recorded one")
  end
end

function M.read_object(backup, store, object)
  local report = M.reading(store, backup, object, {
    store:source(backup.job, backup.series, backup.id, object.name),
    { kind = "sha256", label = "stored" },
  }, { title = "reading " .. object.name, total = object.size })
  M.check_digest(store, backup, object, report.stored)
end

function M.read(backup, store)
  for _, object in ipairs(backup.manifest.objects) do
    M.read_object(backup, store, object)
  end
end

-- The format by which the stream is proved: globals end with a line of their own.
local function format_of(manifest)
  return manifest.kind == "globals" and "globals" or manifest.dump.format
end

function M.decoded(backup, store)
  local manifest = backup.manifest
  local object = manifests.data_object(manifest)
  local ok, report = pcall(M.reading, store, backup, object, {
    store:source(backup.job, backup.series, backup.id, object.name),
    { kind = "tee",
      { { kind = "sha256", label = "stored" } },
      { { kind = "decode", codec = object.codec },
        { kind = "tee",
          { { kind = "null", label = "decoded" } },
          { backups.proof_stage(format_of(manifest), manifest.needs.pg_restore) } } } },
  }, { title = "decoding " .. object.name, total = object.size })
  if not ok and report.code == "PROCESS_FAILED" then
    damaged(store, backup, object, report.message)
  elseif not ok then
    error(report, 0)
  end
  M.check_digest(store, backup, object, report.stored)
  if report.decoded.bytes_in ~= object.decoded_size then
    damaged(store, backup, object, ("it decodes to %d bytes, not %d"):format(
      report.decoded.bytes_in, object.decoded_size))
  end
  local entries, why = backups.check_proof(format_of(manifest), report.proof.result)
  if entries ~= manifest.dump.toc_entries then
    damaged(store, backup, object, why or ("its table of contents has %d entries, not %d"):format(
      entries, manifest.dump.toc_entries))
  end
  for _, other in ipairs(manifest.objects) do
    if other ~= object then
      M.read_object(backup, store, other)
    end
  end
end

--- Proves a backup in each of its stores. `level`: one of LEVELS, which callers have checked.
function M.verify(backup, level)
  if level == "stored" then
    return backup
  end
  for _, store in ipairs(backup.stores) do
    M[level](backup, store)
    log.info("verified %s in %s: %s", backup.id, store.name, level)
  end
  backup.proof = level
  return backup
end

return M
