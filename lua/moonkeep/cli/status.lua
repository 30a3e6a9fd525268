--- moonkeep status: the last good backup of every job. For monitoring: exits with 5 when one is
--- older than the job's `fresh`, also when there is none.
local backup_id = require "moonkeep.core.backup_id"
local catalog = require "moonkeep.catalog"
local errors = require "moonkeep.errors"
local escrow = require "moonkeep.encryption.escrow"
local deliver = require "moonkeep.notify.deliver"
local events = require "moonkeep.notify.event"
local facts = require "moonkeep.retention.facts"
local host = require "moonkeep.core.host"
local kept = require "moonkeep.notify.kept"
local log = require "moonkeep.log"
local outbox = require "moonkeep.notify.outbox"
local output = require "moonkeep.cli.output"
local recipe = require "moonkeep.recipe"
local rollback = require "moonkeep.rollback"
local runner = require "moonkeep.runner"
local stores = require "moonkeep.store"
local targets = require "moonkeep.cli.targets"
local units = require "moonkeep.units"
local zone = require "moonkeep.schedule.zone"

local M = {}

local STALE = 5

-- The newest id of a survey that is a backup.
local function newest_in(ids, states)
  for i = #ids, 1, -1 do
    if states[i].is_there then
      return ids[i]
    end
  end
end

-- What the catalog knows of a store, and is not there: `lost` has, by series, the newest id that has
-- gone, or how many there were of a series of which there is nothing. Returns whether it has lost
-- anything.
local function add_lost(problems, store, lost)
  for series, what in pairs(lost) do
    problems[#problems + 1] = ("store %s has lost %s of %s, or was set back (if it was removed on " ..
      "purpose: moonkeep catalog rebuild)"):format(store.name, math.type(what) and
      units.format_count(what, "backup") or what, stores.unseries(series))
  end
  return next(lost) ~= nil
end

-- The newest backup of each series in the job's stores whose manifest can be read; what is wrong there;
-- and whether a store has lost any.
local function newest_of(job, knowledge)
  local by_series, problems, is_lost = {}, {}, false
  for _, store in ipairs(job.keys.upload or {}) do
    local ok, err = pcall(function()
      local lost = catalog.series_in(job.name, store.url)
      for _, series in ipairs(store:series(job.name)) do
        local ids, states = store:survey(job.name, series)
        lost[series] = rollback.lost(job.name, series, store.url, newest_in(ids, states))
        for i = #ids, 1, -1 do
          local id, marks = ids[i], states[i].marks
          local read, manifest = pcall(store.manifest, store, job.name, series, id)
          local best = by_series[series]
          local known = knowledge(job.name, series, id, store)
          local proof = known and known.proof
          if not read and errors.of(manifest).code == "UNTRUSTED" then
            problems[#problems + 1] = errors.of(manifest).message
          end
          read = read and not facts.is_damaged(marks, proof)
          if read and (not best or id > best.id) then
            by_series[series] = { id = id, created_at = backup_id.created_at(id),
              proof = facts.proof_of(marks, proof) }
          end
          if read then
            break
          end
        end
      end
      is_lost = add_lost(problems, store, lost) or is_lost
    end)
    if not ok then
      problems[#problems + 1] = ("store %s: %s"):format(store.name, errors.of(err).message)
    end
  end
  return by_series, problems, is_lost
end

local function series_entry(job, series, best, now)
  local age = best and now - (zone.parse_time(best.created_at) or 0)
  local limit = job.keys.fresh and units.duration(job.keys.fresh) // 1000
  return { database = series and stores.unseries(series), id = best and best.id,
    created_at = best and best.created_at, proof = best and best.proof, age_seconds = age,
    stale = (limit or job.rule) and not age or (limit and age and age > limit) or false }
end

-- A job of mk.verify has no backups of its own: its last good run counts.
local function verification_entry(job, now)
  local ended = catalog.last_good_run(job.name)
  return series_entry(job, nil, ended and { created_at = zone.format_utc(ended // 1000) }, now)
end

local function status_of(job, knowledge, now)
  local by_series, problems, is_lost = newest_of(job, knowledge)
  local warning, hint = escrow.warning(job.keys)
  problems[#problems + 1] = warning and ("%s; %s"):format(warning, hint) or nil
  local item = { job = job.name, recipe = job.path, fresh = job.keys.fresh, series = {},
    lost = is_lost,
    problems = #problems > 0 and problems or nil }
  local names = {}
  for series in pairs(by_series) do
    names[#names + 1] = series
  end
  table.sort(names)
  for i, series in ipairs(names) do
    item.series[i] = series_entry(job, series, by_series[series], now)
  end
  if job.is_verification then
    item.series[1] = verification_entry(job, now)
  elseif #names == 0 then
    item.series[1] = series_entry(job, nil, nil, now)
  end
  for _, entry in ipairs(item.series) do
    item.stale = item.stale or entry.stale
  end
  local last = catalog.last_run(job.name)
  item.last_run = last and { id = last.id, status = last.status, log = last.log,
    started_at = zone.format_utc(last.started_ms // 1000), error = last.error_code and
      { code = last.error_code, message = last.error_message, where = last.error_where } }
  return item
end

local RUN_COLORS = { ok = "green", running = "yellow", degraded = "yellow" }

local function rows_of(item)
  local rows = {}
  local last = item.last_run
  for i, entry in ipairs(item.series) do
    local verdict = entry.stale and output.paint("red", "STALE") or
      item.lost and output.paint("red", "LOST") or
      not entry.age_seconds and output.paint("yellow", "none") or output.paint("green", "ok")
    rows[i] = { verdict, i == 1 and item.job or "", entry.database or "-",
      entry.age_seconds and units.format_duration(math.max(entry.age_seconds, 1) * 1000) or "never",
      item.fresh or "-", entry.proof or "-", entry.id and output.short(entry.id) or "-",
      i == 1 and (last and output.paint(RUN_COLORS[last.status] or "red", last.status) or
        "never") or "" }
  end
  return rows
end

local function show(items)
  local rows = {}
  for _, item in ipairs(items) do
    table.move(rows_of(item), 1, #item.series, #rows + 1, rows)
  end
  output.table({ "STATUS", "JOB", "DATABASE", ">AGE", ">FRESH", "PROOF", "BACKUP", "LAST RUN" },
    rows)
  for _, item in ipairs(items) do
    for _, problem in ipairs(item.problems or {}) do
      log.show("%s: %s", item.job, problem)
    end
    local err = item.last_run and item.last_run.error
    if err then
      log.show("%s: the last run %s: %s", item.job, item.last_run.status == "degraded" and
        "is degraded" or "failed: " .. err.code, err.message)
      if item.last_run.log then
        log.show("  its log: %s", item.last_run.log)
      end
    end
  end
end

-- The jobs, as far as they load. A recipe that does not is told of.
local function load_all(options)
  local list, failures = recipe.load_all(#options.recipe > 0 and options.recipe or { "." })
  for _, failure in ipairs(failures) do
    local path = kept.path(failure.path)
    runner.report(failure.error, failure.path)
    deliver.tell(events.of_recipe(path, runner.plain(errors.explain(failure.error))), kept.load(path))
  end
  return list, #failures
end

-- Tells of stale jobs whomever they name, and sends what waits.
local function tell(list, items)
  local recipes = {}
  for i, job in ipairs(list) do
    local path = kept.path(job.path)
    recipes[path] = true
    if items[i].stale then
      deliver.tell(events.of_stale(job.name, path, items[i].fresh), kept.of(path, { job }))
    end
  end
  outbox.flush { recipes = recipes }
end

function M.run(options)
  local items, list, is_stale, n_failures = {}, {}, false, 0
  local knowledge, now = catalog.knowledge(), host.wall() // 1000
  local loaded
  if options.notify then
    loaded, n_failures = load_all(options)
  else
    loaded = targets.load(options, options.recipe)
  end
  for _, job in ipairs(loaded) do
    if job.kind == "job" then
      list[#list + 1], items[#items + 1] = job, status_of(job, knowledge, now)
      is_stale = is_stale or items[#items].stale or items[#items].lost
    end
  end
  if options.notify then
    local ok, err = xpcall(tell, errors.handler, list, items)
    if not ok then
      log.error("not everybody could be told: %s", tostring(err))
    end
  end
  if options.json then
    output.json("status", { stale = is_stale, jobs = items, undelivered = outbox.describe() })
  elseif #items == 0 then
    log.show "there is no job here"
  else
    show(items)
    local undelivered = outbox.describe()
    if undelivered then
      log.show("%s", undelivered)
    end
  end
  return n_failures > 0 and runner.FAILED or is_stale and STALE or runner.OK
end

return M
