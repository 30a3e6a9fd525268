--- What retention has to know of a job's backups in a store. Proofs, holds and damage are read from the
--- store's marks (and, for what was proved before there were any, from the catalog); what manifests
--- say, which never changes, is asked of the catalog first. What cannot be read raises, so that nothing
--- is judged by half of what there is.
local backup_id = require "moonkeep.core.backup_id"
local catalog = require "moonkeep.catalog"
local errors = require "moonkeep.errors"
local json = require "moonkeep.core.json"
local judge = require "moonkeep.retention.judge"
local manifests = require "moonkeep.manifest"
local stores = require "moonkeep.store"
local task = require "moonkeep.task"
local units = require "moonkeep.units"

local M = {}

local proofs = setmetatable({}, { __mode = "k" }) -- by marks, of which many backups have the same

local function proof_of_marks(marks)
  local best = proofs[marks]
  if not best then
    best = "stored"
    for mark in pairs(marks) do
      local level = mark:match "^proof%-(%l+)$"
      best = level and (judge.RANK[level] or 0) > judge.RANK[best] and level or best
    end
    proofs[marks] = best
  end
  return best
end

--- The strongest proof that a backup's marks in a store tell of, or the catalog: `known`, a proof or
--- nil.
function M.proof_of(marks, known)
  local best = proof_of_marks(marks)
  return (judge.RANK[known] or 0) > judge.RANK[best] and known or best
end

--- Whether it was found damaged there. What the catalog says of it may be older than the store's marks.
function M.is_damaged(marks, known)
  if known == "damaged" then
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

-- What many facts of a series have in common, as their metatable: a function (marks, proof that the
-- catalog knows) -> that. There may be very many facts, and are few of these.
local function commons(folder, series)
  local database, by_marks = stores.unseries(series), {}
  return function(marks, known)
    local of_marks = by_marks[marks] or {}
    by_marks[marks] = of_marks
    local common = of_marks[known or ""]
    if not common then
      common = { __index = { job = folder, series = series, database = database, tags = NO_TAGS,
        marks = marks, proof = M.proof_of(marks, known), damaged = M.is_damaged(marks, known) } }
      of_marks[known or ""] = common
    end
    return common
  end
end

-- The manifest is read when the catalog (`known`, columns and a row) does not know it.
local function fact_of(store, common, id, marks, read, known, row)
  local is_known = known and known.tags[row] ~= nil
  local fact = setmetatable({ id = id, time = backup_id.time_of(id), is_from_catalog = is_known or nil,
    size = is_known and known.size[row] or nil }, common(marks, known and known.proof[row]))
  local tags
  if is_known then
    tags, fact.globals = tags_of(known.tags[row]), known.globals[row]
  else
    local said
    said, fact.broken = read_manifest(store, fact, read)
    fact.size, fact.globals, tags = said.size, said.globals, said.tags or NO_TAGS
  end
  fact.tags = next(tags) and tags or nil
  fact.hold = marks.hold and store:hold_of(fact) or nil
  local lock = store.options.lock
  fact.locked_until = lock and fact.time + units.duration(lock) // 1000
  return fact
end

--- The backups of a job in a store by series: { [series] = facts }, as retention/judge.lua takes them,
--- with job (the folder), series and marks; what has expired: a list of { job, series, id };
--- and the folders that there are. `folders`: the names that the job has or had.
function M.of(folders, store)
  local by_series, expired, there, list = {}, {}, {}, {}
  for _, folder in ipairs(folders) do
    for i, series in ipairs(store:series(folder)) do
      there[#there + 1] = i == 1 and folder or nil
      by_series[series] = by_series[series] or {}
      list[#list + 1] = { job = folder, series = series }
    end
  end
  catalog.open()
  task.each(list, { parallel = stores.SERIES_AT_ONCE }, function(of)
    local common, read, facts = commons(of.job, of.series), {}, by_series[of.series]
    local ids, states = store:survey(of.job, of.series)
    local known = catalog.known(of.job, of.series, store)
    for i, id in ipairs(ids) do
      local marks = states[i].marks
      if states[i].is_there then
        facts[#facts + 1] = fact_of(store, common, id, marks, read, known(id))
      elseif marks.expired then
        expired[#expired + 1] = { job = of.job, series = of.series, id = id }
      end
    end
    catalog.record_facts(read)
  end)
  return by_series, expired, there
end

return M
