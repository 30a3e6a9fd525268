--- moonkeep copy: brings backups into stores that lack them, from stores that have them.
local catalog = require "moonkeep.catalog"
local copies = require "moonkeep.copy"
local errors = require "moonkeep.errors"
local json = require "moonkeep.core.json"
local log = require "moonkeep.log"
local output = require "moonkeep.cli.output"
local proof = require "moonkeep.proof"
local run = require "moonkeep.cli.run"
local runner = require "moonkeep.runner"
local stores = require "moonkeep.store"
local surveys = require "moonkeep.surveys"
local targets = require "moonkeep.cli.targets"
local units = require "moonkeep.units"

local M = {}

-- Where to: the places' store of that name, else a store of its own.
local function target_of(options, places)
  for _, place in ipairs(places) do
    if place.store.name == options.to then
      return place.store
    end
  end
  return stores.new("target", stores.url_of(options.to))
end

-- The places whose stores were not left out.
local function without(places, left_out)
  local is_silent, list = {}, {}
  for _, one in ipairs(left_out) do
    is_silent[one.store.url] = true
  end
  for _, place in ipairs(places) do
    list[#list + 1] = not is_silent[place.store.url] and place or nil
  end
  return list
end

-- The stores that a job's backups belong into.
local function wanted_stores(places, job, target)
  if target then
    return { target }
  end
  local list = {}
  for _, place in ipairs(places) do
    list[#list + 1] = (not place.job or place.job == job) and place.store or nil
  end
  return list
end

-- The backups that are meant, with the stores that have them; and what was left out, for it cannot be
-- read, which does not keep the others from what they lack.
local function meant(options, places)
  if not options.all then
    local backup = targets.find(options, options.backup)
    return { backup }, backup.left_out
  end
  local list, by_key = {}, {}
  local found, left_out = targets.surveys(places, options)
  surveys.each(found, function(of, id)
    local key = table.concat({ of.job, of.series, id }, "\0")
    if not by_key[key] then
      by_key[key] = { job = of.job, series = of.series, id = id, stores = {} }
      list[#list + 1] = by_key[key]
    end
    table.insert(by_key[key].stores, of.store)
  end)
  return list, left_out
end

-- A function (store, backup) -> what the store has of it, as its survey says; or nil. Each series is
-- listed once.
local function looker()
  local seen = {} -- by store, job and series, then by id
  return function(store, backup)
    local key = table.concat({ store.url, backup.job, backup.series }, "\0")
    seen[key] = seen[key] or store:survey_by_id(backup.job, backup.series)
    return seen[key][backup.id]
  end
end

-- What is to be done: a list of { backup, store }. What has expired in a store is brought back there
-- only if it is asked for by its id.
local function missing(options, places, found, left_out)
  local target, look, list = options.to and target_of(options, places), looker(), {}
  local read = without(places, left_out)
  for _, backup in ipairs(found) do
    for _, store in ipairs(wanted_stores(read, backup.job, target)) do
      local there = not copies.is_in(backup.stores, store) and look(store, backup) or nil
      if not copies.is_in(backup.stores, store) and not (there and (there.is_there or
        there.marks.expired and options.all)) then
        list[#list + 1] = { backup = backup, store = store }
      end
    end
  end
  return list
end

-- From the first store whose copy is whole; what has arrived is read again.
local function copy(backup, to)
  local bytes
  copies.from_any(backup.stores, function(from)
    bytes = copies.backup(from:backup(backup.job, backup.series, backup.id), from, to)
  end)
  local copied = to:backup(backup.job, backup.series, backup.id)
  local ok, err = pcall(proof.prove, copied, "read")
  if not ok and errors.of(err).code == "CORRUPT" then
    to:remove(copied) -- the others are what they were
  end
  if not ok then
    error(err, 0)
  end
  catalog.record_proof(copied)
  return bytes
end

local function do_one(item, options)
  local backup, result = item.backup, { id = item.backup.id, job = item.backup.job,
    series = item.backup.series, store = item.store.url }
  if options.dry_run then
    result.ok = true
    return result
  end
  local ok, bytes = xpcall(copy, errors.handler, backup, item.store)
  if not ok and errors.of(bytes).code == "CANCELED" then
    error(bytes, 0)
  end
  result.ok, result.size = ok, ok and bytes or nil
  if not ok then
    local err = errors.explain(errors.of(bytes))
    result.error = runner.plain(err)
    runner.report(err, backup.id)
  end
  return result
end

local function show(result, store, options)
  if options.dry_run then
    log.show("%s  of %s would be copied to %s", result.id, result.job, store.name)
  elseif result.ok then
    log.show("%s  %s  copied to %s, %s, read again", output.paint("green", "OK"), result.id,
      store.name, units.format_size(result.size))
  end
end

function M.run(options)
  targets.check_named(options)
  run.open_log()
  local places = targets.places(options)
  local found, left_out = meant(options, places)
  local list, results, n_bad = missing(options, places, found, left_out), {}, #left_out
  targets.report(left_out)
  for i, item in ipairs(list) do
    local result = do_one(item, options)
    results[i] = result
    n_bad = n_bad + (result.ok and 0 or 1)
    if not options.json then
      show(result, item.store, options)
    end
  end
  if options.json then
    output.json("copy", { ok = n_bad == 0, results = json.array(results),
      left_out = targets.plain(left_out) })
  elseif #list == 0 and n_bad == 0 then
    log.show "every store has what it should have"
  end
  return n_bad == 0 and runner.OK or runner.FAILED
end

return M
