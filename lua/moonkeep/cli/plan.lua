--- moonkeep plan: what a run would do, and where it would go. Nothing is connected to; stores are
--- looked into.
local backup_id = require "moonkeep.core.backup_id"
local backups = require "moonkeep.backup"
local clock = require "moonkeep.clock"
local errors = require "moonkeep.errors"
local list_of = require "moonkeep.list_of"
local log = require "moonkeep.log"
local merge = require "moonkeep.merge"
local names_of = require "moonkeep.names_of"
local native = require "moonkeep.dump.native"
local notify = require "moonkeep.notify"
local output = require "moonkeep.cli.output"
local prune = require "moonkeep.retention.prune"
local prunes = require "moonkeep.cli.prune"
local rules = require "moonkeep.retention.rules"
local tables = require "moonkeep.definitions.tables"
local runner = require "moonkeep.runner"
local schedule = require "moonkeep.schedule"
local secret = require "moonkeep.secret"
local simulate = require "moonkeep.retention.simulate"
local stores = require "moonkeep.store"
local targets = require "moonkeep.cli.targets"
local units = require "moonkeep.units"
local zone = require "moonkeep.schedule.zone"

local M = {}

local PROOFS = { stored = "sizes and checksums, as the stores report them",
  read = "every stored byte read again", decoded = "read again, decompressed, its contents listed",
  restored = "restored into a PostgreSQL of its own, and compared" }

local function databases_of(keys)
  local wanted = keys.databases
  if not wanted then
    return nil
  end
  local text = wanted == "all" and "all databases" or "databases " .. table.concat(wanted, ", ")
  local left_out = keys.exclude_databases
  return text .. (left_out and " but " .. (type(left_out) == "table" and
    table.concat(left_out, ", ") or left_out) or "")
end

local function shown(value)
  return type(value) == "table" and table.concat(value, ", ") or tostring(value)
end

-- The dump as a sentence: "plain, table = orders".
local function dump_of(keys)
  local dump = keys.dump or {}
  local parts = { dump.format and dump.format .. " format" or
    ("directory format over %d connections"):format(dump.jobs or native.DEFAULT_JOBS) }
  for _, entry in ipairs(tables.dump.keys) do
    local value = dump[entry[1]]
    if value ~= nil and entry[1] ~= "format" and entry[1] ~= "globals" then
      parts[#parts + 1] = ("%s = %s"):format(entry[1], shown(value))
    end
  end
  if dump.globals then
    parts[#parts + 1] = "with roles and tablespaces"
  end
  return table.concat(parts, ", ")
end

-- What a store holds of the job already: how many backups, and the newest.
local function look(store, job)
  local n, newest = 0, nil
  local ok, err = pcall(function()
    for _, series in ipairs(store:series(job)) do
      local ids = store:list(job, series)
      n = n + #ids
      newest = math.max(#ids > 0 and backup_id.time_of(ids[#ids]) or 0, newest or 0)
    end
  end)
  return { name = store.name, url = store.url, backups = n, newest = newest,
    error = not ok and err.message or nil }
end

-- What `keep` means for a store: in words, what the next run removes, and what is there in a year.
local function keep_of(job, store)
  local keep = prune.keep_of(job, store)
  if not keep then
    return nil
  end
  local entry = { store = store.name, text = rules.describe_all(keep, prune.standard_proof(store)) }
  local ok, err = pcall(function()
    local now = clock.wall() // 1000
    local plan = prune.plan(job, store, now)
    entry.going, entry.series, entry.plan = plan.n_going, {}, plan
    for _, series in ipairs(job.rule and plan.series or {}) do
      local alive = {}
      for i = #series.verdicts, 1, -1 do
        local backup = merge(series.verdicts[i].backup)
        backup.needed_by = nil -- whatever needs it will also go
        alive[#alive + 1] = backup
      end
      local lock = store.options.lock
      local year = simulate.year(alive, keep, job.rule, prune.context(job, store, now), job.keys.tags,
        lock and units.duration(lock) // 1000)
      year.series, year.oldest = series.name, year.oldest and zone.format_utc(year.oldest)
      entry.series[#entry.series + 1] = year
    end
  end)
  entry.error = not ok and errors.of(err).message or nil
  return entry
end

-- { [key] = names of services }
local function notify_of(keys)
  local told = {}
  for key, value in pairs(keys.notify or {}) do
    told[key] = {}
    for i, notifier in ipairs(notify.list(value)) do
      told[key][i] = tostring(notifier)
    end
  end
  return next(told) and told or nil
end

local function plan_of(item)
  local job, keys = item.job, item.job.keys
  local plan = { job = job.name, kind = job.kind, recipe = job.path, where = job.where,
    description = keys.description, deadline = keys.deadline, runs_code = keys.run ~= nil }
  if job.kind == "task" then
    plan.arguments = item.arguments
    return plan
  end
  plan.source = keys.source and tostring(keys.source)
  plan.databases = databases_of(keys)
  plan.dump = dump_of(keys)
  plan.compress = keys.compress or backups.DEFAULT_CODEC
  plan.verify = keys.verify or "read"
  plan.encrypt = keys.encrypt and (keys.encrypt.passphrase and "by a passphrase" or "to " ..
    table.concat(list_of(keys.encrypt.recipients), ", ")) or nil
  plan.sign = keys.sign and secret.shown(keys.sign) or nil
  plan.stores = {}
  for i, store in ipairs(keys.upload or {}) do
    plan.stores[i] = look(store, job.name)
  end
  plan.keep = {}
  for _, store in ipairs(keys.upload or {}) do
    table.insert(plan.keep, keep_of(job, store))
  end
  plan.copies = keys.copies
  plan.notify = notify_of(keys)
  if job.rule then
    plan.schedule = schedule.describe(job.rule)
    local next_at = schedule.upcoming(job.rule, clock.wall() // 1000, 1)[1]
    plan.next = next_at and zone.format_utc(next_at)
  end
  plan.defaults = next(job.origins or {}) and job.origins or nil
  return plan
end

local function show_line(label, text)
  if text and text ~= "" then
    log.show("  %-9s %s", label, text)
  end
end

local function show_keep(entry)
  show_line("keep", ("%s: %s%s"):format(entry.store, entry.text, entry.error and
    (" (%s)"):format(entry.error) or (entry.going or 0) > 0 and
    ("; %d would go now"):format(entry.going) or ""))
  for _, year in ipairs(entry.series or {}) do
    show_line("", ("in a year %s of %s: %s, the oldest of %s, never more than %d"):format(
      units.format_count(year.n, "backup"), stores.unseries(year.series), units.format_size(year.size),
      year.oldest:sub(1, 10), year.most))
  end
  if entry.plan and entry.plan.n > 0 then
    prunes.show_table(entry.plan, true)
  end
end

local function show(plan)
  log.show("%s %s  %s", plan.kind == "task" and "Task" or "Job", output.paint("bold", plan.job),
    output.paint("dim", plan.where or ""))
  show_line("", plan.description)
  if plan.runs_code then
    show_line("runs", "the recipe's own function" ..
      (plan.kind == "job" and "; these are the defaults of ctx:backup()" or ""))
  end
  for name, value in pairs(plan.arguments or {}) do
    show_line("argument", ("%s = %s"):format(name, tostring(value)))
  end
  show_line("from", plan.source and plan.source .. (plan.databases and ": " .. plan.databases or ""))
  if plan.kind == "job" then
    show_line("dump", plan.dump)
    show_line("compress", plan.compress)
    show_line("encrypt", plan.encrypt)
    show_line("sign", plan.sign and "with " .. plan.sign)
    for _, store in ipairs(plan.stores) do
      local there = store.error or store.backups == 0 and "no backup yet" or
        ("%s, the newest of %s"):format(units.format_count(store.backups, "backup"),
          output.age(store.newest))
      show_line("to", ("%s/%s/  (%s)"):format(store.url:gsub("/+$", ""), plan.job, there))
    end
    local wanted = plan.copies or {}
    show_line("copies", #plan.stores > 1 and ("%d of %d%s; fewer: degraded"):format(wanted.min or
      #plan.stores, #plan.stores, wanted.offsite and (", %d offsite"):format(wanted.offsite) or ""))
    show_line("verify", ("%s: %s"):format(plan.verify, PROOFS[plan.verify]))
    for _, entry in ipairs(plan.keep) do
      show_keep(entry)
    end
    for _, key in ipairs(names_of(plan.notify or {})) do
      show_line("tells", ("%s: %s"):format(key, table.concat(plan.notify[key], ", ")))
    end
  end
  show_line("deadline", plan.deadline)
  show_line("schedule", plan.schedule)
  show_line("next", plan.next)
  for key, where in pairs(plan.defaults or {}) do
    show_line("default", ("%s from %s"):format(key, where))
  end
end

function M.run(options)
  local plans = {}
  for i, item in ipairs(targets.chosen(options)) do
    plans[i] = plan_of(item)
  end
  if options.json then
    for _, plan in ipairs(plans) do
      for _, entry in ipairs(plan.keep or {}) do
        entry.backups = entry.plan and prunes.list_of(entry.plan, true)
        entry.plan = nil
      end
    end
    output.json("plan", { jobs = plans })
    return runner.OK
  end
  for i, plan in ipairs(plans) do
    if i > 1 then
      log.show ""
    end
    show(plan)
  end
  return runner.OK
end

return M
