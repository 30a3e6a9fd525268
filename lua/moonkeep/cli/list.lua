--- moonkeep list: the backups of stores, in restic's spirit.
local catalog = require "moonkeep.catalog"
local errors = require "moonkeep.errors"
local facts = require "moonkeep.retention.facts"
local host = require "moonkeep.core.host"
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

-- A function (where, store) -> the stores of `where` (nil: none) and that one: { names, urls }. There
-- are few sets of stores, and many backups: each is one table.
local function places_with()
  local none = { names = {}, urls = {} }
  local more = { [none] = {} }
  return function(where, store)
    where = where or none
    local known = more[where][store.url]
    if not known then
      known = { names = { table.unpack(where.names) }, urls = { table.unpack(where.urls) } }
      table.insert(known.names, store.name)
      table.insert(known.urls, store.url)
      more[where][store.url], more[known] = known, {}
    end
    return known
  end
end

-- One entry for each backup, with every store that has it. A manifest that cannot be read is an
-- entry too: it must not look as if there were no backup.
local function collect(options)
  local entries, groups = {}, {}
  local knowledge, with = catalog.knowledge(), places_with()
  local group, of_job, of_series
  targets.each(targets.places(options), options, function(store, job, series, id, marks)
    if job ~= of_job or series ~= of_series then
      local name = job .. "\0" .. series
      of_job, of_series, group = job, series, groups[name] or { database = stores.unseries(series) }
      groups[name] = group
    end
    local entry = group[id]
    if not entry then
      entry = { id = id, job = job, series = series, database = group.database, where = with(nil, store),
        proof = "stored", key = id:sub(1, 16) .. series .. id }
      group[id], entries[#entries + 1] = entry, entry
    else
      entry.where = with(entry.where, store)
    end
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
  -- by their second, then by name: ids end at random
  table.sort(entries, function(a, b) return a.key < b.key end)
  for _, entry in ipairs(entries) do
    entry.stores, entry.urls = entry.where.names, entry.where.urls
    entry.where, entry.key = nil, nil
  end
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
  local rows, total, now = {}, 0, host.wall() // 1000
  for i, entry in ipairs(entries) do
    local created = entry.created_at and zone.parse_time(entry.created_at)
    total = total + (entry.size or 0)
    rows[i] = { output.short(entry.id), entry.created_at or "?", created and output.age(created,
      now) or "?", entry.job, entry.database, entry.size and units.format_size(entry.size) or "?",
      proof_of(entry) .. (entry.held and ", held" or ""),
      table.concat(entry.stores, ", ") }
    entries[i] = false -- there may be very many
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
