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

--- Whether it was found damaged there. What the catalog says of it may be older than the store's marks.
function M.is_damaged(marks, known)
  if known and known.proof == "damaged" then
    for mark in pairs(marks) do
      if mark:find "^proof%-" then
        return marks.damaged or false
      end
    end
    return true
  end
  return marks.damaged or false
end

local NO_TAGS = {}

local UNREADABLE = { CORRUPT = true, UNSUPPORTED = true, UNTRUSTED = true }

local MAX_READ = 50 -- manifests in memory: one may be large

-- What a manifest says; as a second value why it cannot be read.
local function read_manifest(store, fact, read)
  local ok, backup = pcall(store.backup, store, fact.job, fact.series, fact.id)
  if ok then
    read[#read + 1] = { backup = backup, store = store }
    if #read >= MAX_READ then
      catalog.record_facts(table.move(read, 1, #read, 1, {}))
      for i = #read, 1, -1 do
        read[i] = nil
      end
    end
    return { size = manifests.sizes(backup.manifest), tags = backup.manifest.tags,
      globals = backup.manifest.globals }
  elseif UNREADABLE[errors.of(backup).code] then
    return {}, errors.of(backup).message
  end
  error(backup, 0)
end

local function tags_of(text)
  return text == "{}" and NO_TAGS or json.decode(text)
end

--- Reads the manifest of a backup whose facts are the catalog's: it may be damaged. What is found is the
--- fact's `broken`.
function M.check_manifest(store, fact)
  if fact.is_from_catalog then
    fact.is_from_catalog = nil
    local _, why = read_manifest(store, fact, {})
    fact.broken = why
  end
end

-- What all facts of a series have, as a metatable: there may be very many.
local function shared_by(folder, series)
  return { __index = { job = folder, series = series, database = stores.unseries(series),
    tags = NO_TAGS, damaged = false } }
end

local function fact_of(store, shared, item, known, read)
  local fact = setmetatable({ id = item.id, time = M.time_of(item.id), marks = item.marks,
    proof = M.proof_of(item.marks, known) }, shared)
  fact.damaged = M.is_damaged(item.marks, known) or nil
  local said = known and known.tags and known
  if said then
    fact.is_from_catalog = true
  else
    said, fact.broken = read_manifest(store, fact, read)
  end
  fact.size, fact.globals = said.size, said.globals
  local tags = type(said.tags) == "string" and tags_of(said.tags) or said.tags or NO_TAGS
  fact.tags = next(tags) and tags or nil
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
  local known = catalog.knowledge()
  for _, folder in ipairs(folders) do
    for i, series in ipairs(store:series(folder)) do
      there[#there + 1] = i == 1 and folder or nil
      by_series[series] = by_series[series] or {}
      local shared = shared_by(folder, series)
      for _, item in ipairs(store:survey(folder, series)) do
        if item.is_there then
          table.insert(by_series[series], fact_of(store, shared, item, known(folder, series, item.id,
            store), read))
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
