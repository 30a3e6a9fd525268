--- moonkeep rekey: seals the keys of encrypted backups to the recipients of now.
local catalog = require "moonkeep.catalog"
local core_task = require "moonkeep.core.task"
local errors = require "moonkeep.errors"
local json = require "moonkeep.core.json"
local log = require "moonkeep.log"
local merge = require "moonkeep.merge"
local output = require "moonkeep.cli.output"
local rekeys = require "moonkeep.encryption.rekey"
local run = require "moonkeep.cli.run"
local runner = require "moonkeep.runner"
local secret = require "moonkeep.secret"
local signatures = require "moonkeep.signature"
local stores = require "moonkeep.store"
local targets = require "moonkeep.cli.targets"
local types = require "moonkeep.definitions.types"
local units = require "moonkeep.units"

local M = {}

-- What the options say: { encrypt, sign }; for what they don't the jobs of the recipes do.
local function given(options)
  local why = #options.recipient > 0 and types.recipients.check(options.recipient)
  if why then
    errors.raise("USAGE", "--recipient " .. why)
  end
  return { encrypt = #options.recipient > 0 and { recipients = options.recipient } or nil,
    sign = options.sign and secret.file(options.sign) or nil }
end

-- The copies of a place: a list of { store, job, series, id, place }. What the catalog knows to have
-- been there, and is not, is an error: a disk that is not mounted must not pass for one without backups.
local function copies_in(place, options)
  local list, has = {}, {}
  targets.each({ place }, options, function(store, job, series, id)
    list[#list + 1] = { store = store, job = job, series = series, id = id, place = place }
    has[job .. "\0" .. series] = true
  end)
  for series, n in pairs(place.job and catalog.series_in(place.job, place.store.url) or {}) do
    if not options.series and not has[place.job .. "\0" .. series] then
      errors.raise("NOT_FOUND", ("store %s does not have %s of %s that were there"):format(
        place.store.name, units.format_count(n, "backup"), stores.unseries(series)), { hint =
        "their keys are as they were: when the store is back, rekey again" })
    end
  end
  return list
end

-- The copies that are meant. A place that cannot be read is told of, and does not keep the others from
-- theirs: returns how many there are.
local function copies_of(options, places)
  local list, n_bad = {}, 0
  if not options.all then
    local backup = targets.find(options, options.backup)
    for i, store in ipairs(backup.stores) do
      list[i] = { store = store, job = backup.job, series = backup.series, id = backup.id }
      for _, place in ipairs(places) do
        list[i].place = place.job == backup.job and place.store.url == store.url and place or
          list[i].place
      end
    end
    for _, one in ipairs(backup.left_out) do
      runner.report(one.error, "store " .. one.store.name)
    end
    return list, #backup.left_out
  end
  for _, place in ipairs(places) do
    local ok, found = xpcall(copies_in, errors.handler, place, options)
    if ok then
      table.move(found, 1, #found, #list + 1, list)
    elseif core_task.canceled() then
      error(found, 0)
    else
      n_bad = n_bad + 1
      runner.report(found, "store " .. place.store.name)
    end
  end
  return list, n_bad
end

-- One copy: true when it was sealed anew, false when it is as it should be, nil when it is not
-- encrypted.
local function do_one(item, keys, options)
  local backup = item.store:backup(item.job, item.series, item.id)
  if not backup.manifest.encryption and options.all then
    return nil
  elseif not keys.encrypt then
    errors.raise("USAGE", ("to whom %s is to be sealed is not said"):format(item.id), { hint =
      "give --from with the recipe whose job has `encrypt`; or --recipient age1..." })
  end
  return rekeys.rekey(backup, item.store, keys.encrypt, { is_dry = options.dry_run,
    signer = keys.sign and signatures.signer(keys.sign) or nil })
end

local CANNOT_UNDO = "This takes nothing back: whoever had a key that opened these backups, and " ..
  "kept a copy of them,\nof their key.age, or reads old versions in a bucket, can open that copy for " ..
  "ever."

local function tell(counts, options)
  log.show("%s %s, %d were already, %d failed", units.format_count(counts.changed, "copy"),
    options.dry_run and "would be sealed anew" or "sealed anew", counts.same, counts.failed)
  if counts.changed > 0 and not options.dry_run then
    log.show("%s", CANNOT_UNDO)
  end
end

function M.run(options)
  targets.check_named(options)
  local to, places = given(options), targets.places(options)
  run.open_log()
  local list, n_bad = copies_of(options, places)
  local results, counts = {}, { changed = 0, same = 0, failed = n_bad }
  for _, item in ipairs(list) do
    local keys = merge(item.place or {}, to)
    local ok, changed = xpcall(do_one, errors.handler, item, keys, options)
    local err = not ok and errors.explain(errors.of(changed)) or nil
    if err and (core_task.canceled() or err.code == "USAGE" and not options.all) then
      error(err, 0)
    elseif err then
      runner.report(err, ("%s in %s"):format(item.id, item.store.name))
    elseif changed and not options.json then
      log.show("%s  %s in %s", output.paint("green", options.dry_run and "WOULD" or "SEALED"), item.id,
        item.store.name)
    end
    local count = err and "failed" or changed and "changed" or changed == false and "same" or nil
    if count then
      counts[count] = counts[count] + 1
      results[#results + 1] = { id = item.id, job = item.job, series = item.series,
        store = item.store.url, ok = ok, changed = ok and changed, error = err and runner.plain(err) }
    end
  end
  if options.json then
    output.json("rekey", { ok = counts.failed == 0, results = json.array(results) })
  else
    tell(counts, options)
  end
  return counts.failed == 0 and runner.OK or runner.FAILED
end

return M
