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
local surveys = require "moonkeep.surveys"
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

-- The error that something is not in a place of which the catalog knows that it was: a disk that is not
-- mounted must not pass for one without backups.
local function what_is_gone(place, has)
  for series, n in pairs(place.job and catalog.series_in(place.job, place.store.url) or {}) do
    if not has[table.concat({ place.store.url, place.job, series }, "\0")] then
      return errors.new("NOT_FOUND", ("store %s does not have %s of %s that were there"):format(
        place.store.name, units.format_count(n, "backup"), stores.unseries(series)), { hint =
        "their keys are as they were: when the store is back, rekey again" })
    end
  end
end

-- All copies in the places: a list of { store, job, series, id, place }; and what was left out.
local function all(options, places)
  local list, has = {}, {}
  local found, left_out, read = targets.surveys(places, options)
  surveys.each(found, function(of, id)
    list[#list + 1] = { store = of.store, job = of.job, series = of.series, id = id, place = of.place }
    has[table.concat({ of.store.url, of.job, of.series }, "\0")] = true
  end)
  for _, place in ipairs(options.series and {} or read) do
    local err = what_is_gone(place, has)
    left_out[#left_out + 1] = err and { store = place.store, job = place.job, error = err }
  end
  return list, left_out
end

-- The copies that are meant; and what was left out, for it cannot be read, which does not keep the
-- others from theirs.
local function copies_of(options, places)
  if options.all then
    return all(options, places)
  end
  local backup, list = targets.find(options, options.backup), {}
  for i, store in ipairs(backup.stores) do
    list[i] = { store = store, job = backup.job, series = backup.series, id = backup.id }
    for _, place in ipairs(places) do
      list[i].place = place.job == backup.job and place.store.url == store.url and place or
        list[i].place
    end
  end
  return list, backup.left_out
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
  local list, left_out = copies_of(options, places)
  local results, counts = {}, { changed = 0, same = 0, failed = #left_out }
  targets.report(left_out)
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
    output.json("rekey", { ok = counts.failed == 0, results = json.array(results),
      left_out = targets.plain(left_out) })
  else
    tell(counts, options)
  end
  return counts.failed == 0 and runner.OK or runner.FAILED
end

return M
