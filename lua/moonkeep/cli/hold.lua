--- moonkeep hold: keeps a backup from expiring, in every store that has it.
local clock = require "moonkeep.clock"
local errors = require "moonkeep.errors"
local host = require "moonkeep.core.host"
local json = require "moonkeep.core.json"
local log = require "moonkeep.log"
local output = require "moonkeep.cli.output"
local runner = require "moonkeep.runner"
local targets = require "moonkeep.cli.targets"
local zone = require "moonkeep.schedule.zone"

local M = {}

--- Calls fn(store, backup) in every store of the backup that is meant, with the backup locked; what one
--- store refuses does not keep the others from it. `done`: what it is called when it is. Returns the
--- exit code.
function M.in_every_store(options, command, done, fn)
  local backup, results, n_bad = targets.find(options, options.backup), {}, 0
  for i, store in ipairs(backup.stores) do
    local ok, err = xpcall(store.locked, errors.handler, store, backup, function()
      if not store:is_there(backup) then
        errors.raise("NOT_FOUND", ("store %s has no backup %s any more"):format(store.name, backup.id))
      end
      fn(store, backup)
    end)
    err = not ok and errors.explain(errors.of(err)) or nil
    results[i] = { store = store.url, ok = ok, error = err and runner.plain(err) }
    if not ok then
      n_bad = n_bad + 1
      runner.report(err, ("%s in %s"):format(backup.id, store.name))
    elseif not options.json then
      log.show("%s  %s in %s", output.paint("green", done), backup.id, store.name)
    end
  end
  for _, one in ipairs(backup.left_out) do
    n_bad = n_bad + 1
    results[#results + 1] = { store = one.store.url, ok = false, error = runner.plain(one.error) }
    runner.report(one.error, ("%s in %s"):format(backup.id, one.store.name))
  end
  if options.json then
    output.json(command, { ok = n_bad == 0, id = backup.id, stores = json.array(results) })
  end
  return n_bad == 0 and runner.OK or runner.FAILED
end

-- --until as it is written down: in UTC.
local function until_of(options)
  if not options["until"] then
    return nil
  end
  local time = zone.parse_time(options["until"])
  if not time then
    errors.raise("USAGE", ("--until must be a time such as 2027-06-30 or 2027-06-30T12:00:00Z, not %q")
      :format(options["until"]))
  elseif time <= clock.wall() // 1000 then
    errors.raise("USAGE", ("--until %s is over already"):format(options["until"]))
  end
  return zone.format_utc(time)
end

-- A hold that is there is not made shorter by the way.
local function refuse_shorter(there, fields)
  local ends = there and there["until"]
  if there and fields["until"] and (not ends or ends > fields["until"]) then
    errors.raise("ALREADY_EXISTS", ("it is held %s already%s"):format(ends and "until " .. ends or
      "for ever", there.reason and ": " .. there.reason or ""),
      { hint = "release it first, if that is meant" })
  end
  fields.reason = fields.reason or there and there.reason
end

function M.run(options)
  local fields = { ["until"] = until_of(options), reason = options.reason, at = clock.iso(),
    host = host.name() }
  return M.in_every_store(options, "hold", fields["until"] and "HELD until " .. fields["until"] or
    "HELD", function(store, backup)
      refuse_shorter(store:hold_of(backup), fields)
      store:mark(backup, "hold", fields)
      if not store:is_there(backup) then
        errors.raise("NOT_FOUND", "it has expired in this moment")
      end
    end)
end

return M
