--- What a command line is about: the jobs of recipes, the backups of stores.
local arg = require "moonkeep.arg"
local errors = require "moonkeep.errors"
local fs = require "moonkeep.fs"
local jobs = require "moonkeep.job"
local json = require "moonkeep.core.json"
local keyring = require "moonkeep.encryption.keyring"
local log = require "moonkeep.log"
local pg = require "moonkeep.pg"
local recipe = require "moonkeep.recipe"
local rollback = require "moonkeep.rollback"
local runner = require "moonkeep.runner"
local settings = require "moonkeep.settings"
local spec = require "moonkeep.spec"
local stores = require "moonkeep.store"
local surveys = require "moonkeep.surveys"

local M = {}

-- ---- jobs ---------------------------------------------------------------------------------------

--- The jobs and tasks of recipes or folders (default: the current folder). Raises the first error
--- of a recipe that does not load.
function M.load(options, paths)
  options.loading = true
  local list, failures = recipe.load_all(#paths > 0 and paths or { "." })
  if failures[1] then
    error(failures[1].error, 0)
  end
  options.loading = false
  return list
end

--- The jobs that back something up, or the one of them that --job names; each of another name, for one
--- would take what is the other's for its own.
function M.jobs(options)
  local list, seen = {}, {}
  for _, job in ipairs(M.load(options, options.recipe)) do
    local is_meant = job.kind == "job" and not job.is_verification
    if is_meant and (not options.job or options.job == job.name) then
      if seen[job.name] then
        errors.raise("USAGE", ("two jobs are called %q: in %s and %s"):format(job.name,
          seen[job.name].path, job.path))
      end
      list[#list + 1], seen[job.name] = job, job
    end
  end
  if #list == 0 then
    errors.raise("USAGE", options.job and ("there is no job %q here"):format(options.job) or
      "there is no job here")
  end
  return list
end

local function names_of(list)
  local names = {}
  for i, job in ipairs(list) do
    names[i] = job.name
  end
  return names
end

--- The server that --source or --into names.
function M.server(text)
  local source = pg.source(text)
  if source.keys.password then
    log.warn("a password on the command line can be seen by everybody on this machine (ps): put it " ..
      "into ~/.pgpass (mode 0600) or PGPASSWORD")
  end
  return source
end

-- A job made of --source and --to alone.
local function ad_hoc(options)
  if not options.source or #options.to == 0 then
    errors.raise("USAGE", "without a recipe, --source and --to are needed", { hint =
      "moonkeep run nightly.lua; or moonkeep run --source dbname=app --to file:///var/backups/app" })
  end
  local targets = {}
  for i, url in ipairs(options.to) do
    targets[i] = stores.new(#options.to == 1 and "store" or "store" .. i,
      stores.url_of(url))
  end
  local job = jobs.new { name = "manual", source = M.server(options.source), upload = targets,
    verify = "decoded" }
  job.is_anonymous = true -- whatever it is run on is "manual"
  return { job }
end

-- The jobs that were named; without names all jobs, or the only task.
local function choose(list, names)
  if #names == 0 then
    local chosen = {}
    for _, job in ipairs(list) do
      chosen[#chosen + 1] = job.kind == "job" and job or nil
    end
    if #chosen == 0 and #list == 1 then
      return list
    elseif #chosen == 0 then
      errors.raise("USAGE", "the recipe has several tasks: say which", { hint =
        "it has " .. table.concat(names_of(list), ", ") })
    end
    return chosen
  end
  local chosen = {}
  for i, name in ipairs(names) do
    for _, job in ipairs(list) do
      chosen[i] = job.name == name and job or chosen[i]
    end
    if not chosen[i] then
      errors.raise("USAGE", ("the recipe has no job %q%s"):format(name,
        spec.suggestion(name, names_of(list))),
        { hint = "it has " .. table.concat(names_of(list), ", ") })
    end
  end
  return chosen
end

local function is_set(items, key)
  for _, item in ipairs(items) do
    if item.key == key then
      return true
    end
  end
  return false
end

--- --set (as settings.parse gives it) for one job or task: arguments first, then the keys of a job.
--- Returns { job, arguments }. Raises USAGE, INVALID.
function M.configured(job, list)
  local args, texts, rest = job.keys.args or {}, {}, {}
  for _, item in ipairs(list) do
    if args[item.key] or job.kind == "task" then
      texts[item.key] = #item.values == 1 and item.values[1] or item.values
    else
      rest[#rest + 1] = item
    end
  end
  if #rest > 0 then
    local keys = settings.apply("job " .. job.name, "job", job.keys, rest)
    -- without a recipe nobody has said "decoded", which needs a private key
    local is_sealed = job.is_anonymous and keys.encrypt and not keyring.has_identities()
    keys.verify = is_sealed and not is_set(rest, "verify") and "read" or keys.verify
    job = jobs.with(job, keys)
  end
  return { job = job, arguments = arg.parse(tostring(job), args, texts) }
end

--- What `run` and `plan` are to do: a list of { job, arguments }. `on_load`: is told what the recipe
--- has, before anything of it is chosen.
function M.chosen(options, on_load)
  options.loading = true
  local list
  if options.recipe then
    if options.source or #options.to > 0 then
      errors.raise("USAGE", "--source and --to are for runs without a recipe",
        { hint = "change the recipe's keys with --set" })
    end
    local loaded = recipe.load(options.recipe)
    if on_load then
      on_load(loaded)
    end
    list = choose(loaded, options.job)
  else
    list = ad_hoc(options)
  end
  local chosen, items = {}, settings.parse(options.set)
  for i, job in ipairs(list) do
    chosen[i] = M.configured(job, items)
    jobs.check_reach(chosen[i].job)
  end
  options.loading = false
  return chosen
end

-- ---- backups ------------------------------------------------------------------------------------

local function is_url(text)
  return text:find "^%a%w*://" ~= nil
end

-- The URL of a store, when it is one: a URL, or a folder without recipes.
local function store_url(where)
  if is_url(where) then
    return where
  end
  local stat = fs.stat(where)
  if not stat or stat.type ~= "directory" then
    return nil
  end
  for _, name in ipairs(fs.list(where)) do
    if name:match "%.lua$" then
      return nil
    end
  end
  return "file://" .. fs.realpath(where)
end

-- MOONKEEP_FROM, unless it is empty.
local function default_from()
  local from = os.getenv "MOONKEEP_FROM"
  return from ~= "" and from or nil
end

-- { store, job, unusual, encrypt and sign of the job } of every store of the recipes, once; `job` nil:
-- all jobs of the store.
local function places_of(list, options)
  local places, seen = {}, {}
  for _, job in ipairs(list) do
    local wanted = job.kind == "job" and (not options.job or options.job == job.name)
    for _, store in ipairs(wanted and job.keys.upload or {}) do
      for _, folder in ipairs(job:folders()) do
        local key = folder .. "\0" .. store.url
        if not seen[key] and (not options.store or options.store == store.name) then
          seen[key] = true
          places[#places + 1] = { store = store, job = folder, unusual = job.keys.unusual,
            encrypt = job.keys.encrypt, sign = job.keys.sign }
        end
      end
    end
  end
  return places
end

-- A mistake in one recipe does not hide the backups of the others.
local function load_what_loads(options, where)
  options.loading = true
  local list, failures = recipe.load_all { where or "." }
  options.loading = false
  if #list == 0 and failures[1] then
    error(failures[1].error, 0)
  end
  for _, failure in ipairs(failures) do
    log.warn("left out: %s: %s", failure.path, failure.error.message)
  end
  return list
end

--- Where the backups are that a command is about: a list of { store, job }.
function M.places(options)
  local where = options.from or default_from()
  local url = where and store_url(where)
  if url then
    local store = stores.new("store", url)
    if store.root and not fs.exists(store.root) then
      errors.raise("NOT_FOUND", ("there is no folder %s"):format(store.root),
        { hint = "check the spelling; the first run makes the folder of its store" })
    end
    return { { store = store, job = options.job } }
  end
  local places = places_of(load_what_loads(options, where), options)
  if #places == 0 then
    errors.raise("USAGE", where and ("%s names no store%s"):format(where, options.job and
      " of job " .. options.job or "") or "no recipe here names a store",
      { hint = "give --from: a recipe, a folder of recipes, or a store's URL such as " ..
        "file:///var/backups/app" })
  end
  return places
end

-- Whether a series is one that the options ask for.
local function is_wanted(options)
  local wanted = options.series
  return wanted and function(series)
    return stores.series(wanted) == series or wanted == series
  end
end

--- The series of the places with what there is of each; what was left out, for it cannot be read; and
--- the places that can: see surveys.of. Raises when there are none.
function M.surveys(places, options)
  local found, left_out, read = surveys.of(places, is_wanted(options))
  if #read == 0 and #left_out > 0 then
    error(#places == 1 and left_out[1].error or errors.together(surveys.errors_of(left_out)), 0)
  end
  return found, left_out, read
end

--- Tells of what was left out. Returns the exit code of a command to which nothing else happens.
function M.report(left_out)
  for _, one in ipairs(left_out) do
    runner.report(one.error, (one.job and one.job .. " in " or "") .. "store " .. one.store.name)
  end
  return #left_out == 0 and runner.OK or runner.FAILED
end

--- Says that there is no backup in what was not left out.
function M.show_none(left_out)
  log.show("%s", #left_out == 0 and "no backup yet" or "no backup in the stores that could be read")
end

--- The same as a list for JSON.
function M.plain(left_out)
  local list = {}
  for i, one in ipairs(left_out) do
    list[i] = { store = one.store.url, job = one.job, error = runner.plain(one.error) }
  end
  return json.array(list)
end

--- Calls fn(store, job, series, id, marks) for every backup of the places, oldest first in each series.
--- Raises when not all of them can be read, before fn is called.
function M.each(places, options, fn)
  local found, left_out = M.surveys(places, options)
  if left_out[1] then
    error(errors.together(surveys.errors_of(left_out)), 0)
  end
  surveys.each(found, function(of, id, marks)
    fn(of.store, of.job, of.series, id, marks)
  end)
end

local MIN_SHORT = 4

local function is_meant(id, text)
  return id == text or #text >= MIN_SHORT and (id:sub(1, #text) == text or
    id:match "%-(%x+)$":sub(1, #text) == text)
end

local function group_name(item)
  return ("--job %s --series %s"):format(item.job, stores.unseries(item.series))
end

-- The newest of each series but the globals, when all are asked for.
local function newest(items, options)
  local by_group, groups = {}, {}
  for _, item in ipairs(items) do
    local name = item.job .. "\0" .. item.series
    if options.series or item.series:sub(1, 1) ~= "_" then
      if not by_group[name] then
        groups[#groups + 1] = name
      end
      if not by_group[name] or item.id >= by_group[name].id then
        by_group[name] = item
      end
    end
  end
  if #groups > 1 then
    local hints = {}
    for i, name in ipairs(groups) do
      hints[i] = group_name(by_group[name])
    end
    errors.raise("USAGE", "\"latest\" could be the newest of several series: say which",
      { hint = "one of: " .. table.concat(hints, ", ") })
  end
  return by_group[groups[1]]
end

-- Copies whose manifest is not what it should be; another store's may be.
local BAD = { CORRUPT = true, UNTRUSTED = true, NOT_FOUND = true }

-- The backup of an item, with all the stores that have a manifest of it which is whole; raises what the
-- first one's is not when there is none.
local function open(items, found)
  local backup, first
  for _, item in ipairs(items) do
    if item.id == found.id and item.job == found.job and item.series == found.series then
      local ok, one = pcall(item.store.backup, item.store, item.job, item.series, item.id)
      local err = not ok and errors.of(one)
      if ok and not backup then
        backup = one
      elseif ok then
        backup.stores[#backup.stores + 1] = item.store
      elseif not BAD[err.code] then
        error(err, 0)
      else
        first = first or err
        log.warn("left out: %s", err.message)
      end
    end
  end
  if not backup then
    error(first, 0)
  end
  return backup
end

-- All backups of the places: a list of { store, job, series, id }; the URLs of the stores that could be
-- read; and what was left out.
local function look(options)
  local found, left_out, read = M.surveys(M.places(options), options)
  local items, where = {}, {}
  for _, place in ipairs(read) do
    local url = place.store.url
    where[#where + 1], where[url] = not where[url] and url or nil, true
  end
  surveys.each(found, function(of, id)
    items[#items + 1] = { store = of.store, job = of.job, series = of.series, id = id }
  end)
  for _, one in ipairs(left_out) do
    log.warn("store %s is left out, for it cannot be read: %s", one.store.name, one.error.message)
  end
  return items, where, left_out
end

--- The backup that is meant by an id, a part of one, or "latest", with all the stores that have it;
--- `left_out` are those that could not be read, { store, error }. Raises NOT_FOUND, USAGE.
function M.find(options, text)
  local items, where, left_out = look(options)
  local id, found
  if text == "latest" then
    found = newest(items, options)
    if found then
      rollback.check(found, items, where)
    end
  else
    for _, item in ipairs(items) do
      if is_meant(item.id, text) then
        if id and id ~= item.id then
          errors.raise("USAGE", ("%q could be %s or %s: say more of it"):format(text, id, item.id))
        end
        id, found = item.id, item
      end
    end
  end
  if not found then
    errors.raise("NOT_FOUND", text == "latest" and "there is no backup yet" or
      ("there is no backup %q"):format(text), { hint = "looked in " .. table.concat(where, ", ") ..
      "; see: moonkeep list" })
  end
  local backup = open(items, found)
  backup.left_out = left_out
  return backup
end

--- For commands that take one backup or --all, and guess neither. Raises USAGE without either.
function M.check_named(options)
  if not options.backup and not options.all then
    errors.raise("USAGE", "say which backup: an id, latest, or --all")
  end
end

return M
