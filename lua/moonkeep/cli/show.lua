--- moonkeep show: everything that is known of one backup.
local backup_id = require "moonkeep.core.backup_id"
local catalog = require "moonkeep.catalog"
local envelope = require "moonkeep.encryption.envelope"
local errors = require "moonkeep.errors"
local facts = require "moonkeep.retention.facts"
local load = require "moonkeep.pg.load"
local log = require "moonkeep.log"
local output = require "moonkeep.cli.output"
local rekey = require "moonkeep.encryption.rekey"
local run = require "moonkeep.cli.run"
local runner = require "moonkeep.runner"
local targets = require "moonkeep.cli.targets"
local units = require "moonkeep.units"

local M = {}

local function line(label, text)
  if text and text ~= "" then
    log.show("  %-10s %s", label, text)
  end
end

local function selection_of(selection)
  local parts = {}
  for key, value in pairs(selection or {}) do
    parts[#parts + 1] = ("%s = %s"):format(key, type(value) == "table" and
      table.concat(value, ", ") or tostring(value))
  end
  table.sort(parts)
  return #parts > 0 and table.concat(parts, "; ") or nil
end

-- What has become of a backup in a store: how far it is proved, or "damaged"; what holds it; and what
-- the catalog knows.
local function state_of(backup, store, knowledge)
  local known = knowledge(backup.job, backup.series, backup.id, store)
  local ok, marks = pcall(store.marks_of, store, backup)
  marks = ok and marks or {}
  return facts.is_damaged(marks, known and known.proof) and "damaged" or
    facts.proof_of(marks, known and known.proof),
    marks.hold and store:hold_of(backup) or nil, known
end

-- To whom it is sealed: in its first store, which may have been given another key.
local function encryption_of(backup)
  return backup.manifest.encryption and envelope.shown(backup.manifest,
    rekey.read_mark(backup.stores[1], backup)) or nil
end

local PROVIDERS = { c = "libc", i = "icu", b = "builtin" }

local function show(backup, knowledge)
  local manifest = backup.manifest
  local source, described = manifest.source, run.describe(backup)
  log.show("%s", output.paint("bold", backup.id))
  line("created", ("%s (%s)"):format(backup_id.created_at(backup.id),
    output.age(backup_id.time_of(backup.id))))
  line("job", backup.job)
  line(manifest.kind == "globals" and "holds" or "database", manifest.kind == "globals" and
    "roles and tablespaces" .. (manifest.dump.passwords and ", with password hashes" or
    ", without passwords") or source.database)
  line("server", ("PostgreSQL %s, %s, %s%s"):format(source.server_version, source.encoding,
    source.locale or source.collate, source.locale_provider and (" (%s)"):format(
    PROVIDERS[source.locale_provider] or source.locale_provider) or ""))
  line("dump", ("%s, %s format%s"):format(manifest.dump.program, manifest.dump.format,
    manifest.dump.format ~= "plain" and (", %d entries"):format(manifest.dump.toc_entries) or ""))
  line("selection", selection_of(manifest.dump.selection))
  line("size", ("%s, %s before compression"):format(units.format_size(described.size),
    units.format_size(described.decoded_size)))
  line("took", manifest.run and manifest.run.seconds and
    units.format_duration(math.floor(manifest.run.seconds * 1000)))
  line("encrypted", encryption_of(backup))
  line("signed", manifest.signed_by and "by " .. manifest.signed_by)
  line("roles", manifest.globals and "in backup " .. manifest.globals)
  for _, object in ipairs(manifest.objects) do
    line("object", ("%s  %s  sha256 %s"):format(object.name, units.format_size(object.size),
      object.sha256))
  end
  for _, store in ipairs(backup.stores) do
    local proof, hold, known = state_of(backup, store, knowledge)
    line("in", ("%s: %s%s"):format(store.url, proof, known and known.proved_ms and
      (" (%s)"):format(output.age(known.proved_ms // 1000)) or ""))
    line("held", hold and ("%s%s"):format(hold["until"] and "until " .. hold["until"] or "for ever",
      hold.reason and ": " .. hold.reason or ""))
  end
  line("restore", manifest.kind == "globals" and
    "with the databases that belong to it: moonkeep restore ... -s globals=true" or
    ("moonkeep restore %s --into CONNECTION"):format(output.short(backup.id)))
end

function M.run(options)
  local backup = targets.find(options, options.backup)
  if options.contents then
    if backup.manifest.dump.format == "plain" then
      errors.raise("INVALID", "a plain dump has no table of contents: it is SQL text")
    end
    log.show("%s", (load.contents(backup, backup.stores[1]):gsub("\n$", "")))
    return runner.OK
  end
  local knowledge = catalog.knowledge()
  if options.json then
    local described = run.describe(backup)
    for i, store in ipairs(backup.stores) do
      local proof, hold = state_of(backup, store, knowledge)
      described.stores[i] = { url = store.url, proof = proof, hold = hold }
    end
    described.proof = nil
    output.json("show", { backup = described, manifest = backup.manifest })
  else
    show(backup, knowledge)
  end
  return runner.OK
end

return M
