--- What retention has to know of a job's backups in a store. Proofs, holds and damage are read from the
--- store's marks (and, for what was proved before there were any, from the catalog); what manifests
--- say, which never changes, is asked of the catalog first. What cannot be read raises, so that nothing
--- is judged by half of what there is.
local catalog = require "moonkeep.catalog"
local errors = require "moonkeep.errors"
local json = require "moonkeep.core.json"
local judge = require "moonkeep.retention.judge"
local manifests = require "moonkeep.manifest"
local stores = require "moonkeep.store"
local units = require "moonkeep.units"
local zone = require "moonkeep.schedule.zone"

local M = {}

--- When a backup was made, by its id: seconds since 1970.
function M.time_of(id)
  return zone.unix(id:match "^(%d%d%d%d)(%d%d)(%d%d)T(%d%d)(%d%d)(%d%d)Z")
end

--- The strongest proof that a backup's marks in a store tell of, or the catalog (`known`, a row or nil).
function M.proof_of(marks, known)
  local best = known and known.proof ~= "damaged" and known.proof or nil
  for mark in pairs(marks) do
    local level = mark:match "^proof%-(%l+)$"
    if level and (judge.RANK[level] or 0) > (judge.RANK[best] or 0) then
      best = level
    end
  end
  return best or "stored"
end

--- Whether it was found damaged there.
function M.is_damaged(marks, known)
  return marks.damaged or known ~= nil and known.proof == "damaged"
end

local UNREADABLE = { CORRUPT = true, UNSUPPORTED = true }

-- What a manifest says; as a second value why it cannot be read.
local function read_manifest(store, fact, read)
  local ok, backup = pcall(store.backup, store, fact.job, fact.series, fact.id)
  if ok then
    read[#read + 1] = { backup = backup, store = store }
    return { size = manifests.sizes(backup.manifest), tags = backup.manifest.tags,
      globals = backup.manifest.globals }
  elseif UNREADABLE[errors.of(backup).code] then
    return {}, errors.of(backup).message
  end
  error(backup, 0)
end

local function fact_of(store, folder, series, item, known, proof, read)
  local fact = { job = folder, series = series, id = item.id, time = M.time_of(item.id),
    database = stores.unseries(series), marks = item.marks, proof = M.proof_of(item.marks, proof),
    damaged = M.is_damaged(item.marks, proof) }
  local said = known
  if not said then
    said, fact.broken = read_manifest(store, fact, read)
  end
  fact.size, fact.globals = said.size, said.globals
  fact.tags = type(said.tags) == "string" and json.decode(said.tags) or said.tags or {}
  fact.hold = item.marks.hold and store:hold_of(fact) or nil
  local lock = store.options.lock
  fact.locked_until = lock and fact.time + units.duration(lock) // 1000
  return fact
end

--- The backups of a job in a store by series: { [series] = facts }, as retention/judge.lua takes them,
--- with job (the folder), series and marks; what has expired: a list of { job, series, id }; and the
--- folders that there are. `folders`: the names that the job has or had.
function M.of(folders, store)
  local by_series, expired, read, there = {}, {}, {}, {}
  local proofs = catalog.proofs()
  for _, folder in ipairs(folders) do
    local known = catalog.facts(folder, store)
    for i, series in ipairs(store:series(folder)) do
      there[#there + 1] = i == 1 and folder or nil
      by_series[series] = by_series[series] or {}
      for _, item in ipairs(store:survey(folder, series)) do
        if item.is_there then
          table.insert(by_series[series], fact_of(store, folder, series, item, known(series, item.id),
            proofs(folder, series, item.id, store), read))
        elseif item.marks.expired then
          expired[#expired + 1] = { job = folder, series = series, id = item.id }
        end
      end
    end
  end
  catalog.record_facts(read)
  return by_series, expired, there
end

return M
