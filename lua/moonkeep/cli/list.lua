--- moonkeep list: the backups of stores, in restic's spirit.
local catalog = require "moonkeep.catalog"
local errors = require "moonkeep.errors"
local facts = require "moonkeep.retention.facts"
local json = require "moonkeep.core.json"
local judge = require "moonkeep.retention.judge"
local log = require "moonkeep.log"
local manifests = require "moonkeep.manifest"
local output = require "moonkeep.cli.output"
local runner = require "moonkeep.runner"
local stores = require "moonkeep.store"
local targets = require "moonkeep.cli.targets"
local units = require "moonkeep.units"
local zone = require "moonkeep.schedule.zone"

local M = {}

-- What its manifest says, or, so that it need not be read, what the catalog knows of it.
local function read(entry, store, known)
  if known and known.tags then
    entry.size, entry.created_at, entry.error = known.size, known.created_at, nil
    return
  end
  local ok, manifest = pcall(store.manifest, store, entry.job, entry.series, entry.id)
  if ok then
    entry.size, entry.created_at, entry.error = manifests.sizes(manifest), manifest.created_at, nil
  else
    local err = errors.of(manifest)
    entry.error, entry.untrusted = err.message, err.code == "UNTRUSTED" or nil
  end
end

-- One entry for each backup, with every store that has it. A manifest that cannot be read is an
-- entry too: it must not look as if there were no backup.
local function collect(options)
  local entries, by_key = {}, {}
  local knowledge = catalog.knowledge()
  targets.each(targets.places(options), options, function(store, job, series, id, marks)
    local key = table.concat({ job, series, id }, "\0")
    local entry = by_key[key]
    if not entry then
      entry = { id = id, job = job, series = series, database = stores.unseries(series),
        stores = {}, urls = {}, proof = "stored" }
      by_key[key], entries[#entries + 1] = entry, entry
    end
    entry.stores[#entry.stores + 1] = store.name
    entry.urls[#entry.urls + 1] = store.url
    local known = knowledge(job, series, id, store)
    if not entry.size then
      read(entry, store, known)
    end
    local proof = facts.proof_of(marks, known)
    entry.held = entry.held or marks.hold
    if facts.is_damaged(marks, known) then
      entry.damaged_in = json.array(entry.damaged_in or {})
      table.insert(entry.damaged_in, store.name)
    elseif judge.RANK[proof] > judge.RANK[entry.proof] then
      entry.proof = proof
    end
  end)
  table.sort(entries, function(a, b) -- by their second, then by name: ids end at random
    local second_a, second_b = a.id:sub(1, 16), b.id:sub(1, 16)
    if second_a ~= second_b then
      return second_a < second_b
    end
    return a.series < b.series or a.series == b.series and a.id < b.id
  end)
  return entries
end
M.collect = collect

local function proof_of(entry)
  if entry.untrusted then
    return output.paint("red", "not trusted")
  elseif entry.error or entry.damaged_in and #entry.damaged_in == #entry.stores then
    return output.paint("red", "damaged")
  elseif entry.damaged_in then
    return ("%s, %s"):format(entry.proof, output.paint("red", "damaged in " ..
      table.concat(entry.damaged_in, ", ")))
  end
  return entry.proof
end

function M.run(options)
  local entries = collect(options)
  if options.json then
    for _, entry in ipairs(entries) do
      entry.stores, entry.urls = entry.urls, nil
    end
    output.json("list", { backups = entries })
    return runner.OK
  end
  local rows, total = {}, 0
  for i, entry in ipairs(entries) do
    local created = entry.created_at and zone.parse_time(entry.created_at)
    total = total + (entry.size or 0)
    rows[i] = { output.short(entry.id), entry.created_at or "?", created and output.age(created) or
      "?", entry.job, entry.database, entry.size and units.format_size(entry.size) or "?",
      proof_of(entry) .. (entry.held and ", held" or ""),
      table.concat(entry.stores, ", ") }
  end
  if #rows == 0 then
    log.show "no backup yet"
    return runner.OK
  end
  output.table({ "ID", "CREATED", ">AGE", "JOB", "DATABASE", ">SIZE", "PROOF", "STORES" }, rows)
  log.show("%s", output.paint("dim", ("%s, %s"):format(units.format_count(#rows, "backup"),
    units.format_size(total))))
  return runner.OK
end

return M
