--- moonkeep rekey: seals the keys of encrypted backups to the recipients of now.
local age = require "moonkeep.encryption.age"
local errors = require "moonkeep.errors"
local json = require "moonkeep.core.json"
local log = require "moonkeep.log"
local output = require "moonkeep.cli.output"
local rekeys = require "moonkeep.encryption.rekey"
local run = require "moonkeep.cli.run"
local runner = require "moonkeep.runner"
local targets = require "moonkeep.cli.targets"
local units = require "moonkeep.units"

local M = {}

-- To whom: { recipients }, of --recipient; nil: as the jobs of the recipes say.
local function given(options)
  for _, recipient in ipairs(options.recipient) do
    if not age.is_recipient(recipient) then
      errors.raise("USAGE", ("--recipient takes a public key of age's, \"age1...\", not %q"):format(
        recipient))
    end
  end
  return #options.recipient > 0 and { recipients = options.recipient } or nil
end

-- The copies that are meant: a list of { store, job, series, id }.
local function copies_of(options, places)
  local list = {}
  if not options.all then
    local backup = targets.find(options, options.backup)
    for i, store in ipairs(backup.stores) do
      list[i] = { store = store, job = backup.job, series = backup.series, id = backup.id }
    end
    return list
  end
  targets.each(places, options, function(store, job, series, id)
    list[#list + 1] = { store = store, job = job, series = series, id = id }
  end)
  return list
end

-- What `encrypt` of its job says; nil: nothing.
local function keys_of(item, places)
  for _, place in ipairs(places) do
    if place.job == item.job and place.store.url == item.store.url then
      return place.encrypt
    end
  end
end

-- One copy: true when it was sealed anew, false when it is as it should be, nil when it is not
-- encrypted.
local function do_one(item, keys, options)
  local backup = item.store:backup(item.job, item.series, item.id)
  if not backup.manifest.encryption and options.all then
    return nil
  elseif not keys then
    errors.raise("USAGE", ("to whom %s is to be sealed is not said"):format(item.id), { hint =
      "give --from with the recipe whose job has `encrypt`; or --recipient age1..." })
  end
  return rekeys.rekey(backup, item.store, keys, options.dry_run)
end

local CANNOT_UNDO = "This takes nothing back: whoever had a key that opened these backups, and " ..
  "kept a copy of them,\nof their key.age, or reads old versions in a bucket, can open that copy for " ..
  "ever."

local function tell(counts, options)
  log.show("%s %s, %d were already, %d failed", units.format_count(counts.changed, "copy"),
    options.dry_run and "would be sealed anew" or "sealed anew", counts.same, counts.failed)
  if counts.changed > 0 then
    log.show("%s", CANNOT_UNDO)
  end
end

function M.run(options)
  if not options.backup and not options.all then
    errors.raise("USAGE", "say which backup: an id, latest, or --all")
  end
  local to, places = given(options), targets.places(options)
  run.open_log()
  local results, counts = {}, { changed = 0, same = 0, failed = 0 }
  for _, item in ipairs(copies_of(options, places)) do
    local ok, changed = xpcall(do_one, errors.handler, item, to or keys_of(item, places), options)
    local err = not ok and errors.explain(errors.of(changed)) or nil
    if err and (err.code == "CANCELED" or err.code == "USAGE") then
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
