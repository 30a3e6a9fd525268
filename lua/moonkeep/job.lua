--- Jobs and tasks: what a recipe returns. A job is a table of keys; its `run` function, if it has
--- one, gets a context whose methods are the same verbs with the same options. A task is run by hand.
local arg = require "moonkeep.arg"
local context = require "moonkeep.context"
local core_error = require "moonkeep.core.error"
local core_task = require "moonkeep.core.task"
local encryption = require "moonkeep.encryption.settings"
local errors = require "moonkeep.errors"
local keyring = require "moonkeep.encryption.keyring"
local list_of = require "moonkeep.list_of"
local merge = require "moonkeep.merge"
local policy = require "moonkeep.policy"
local rules = require "moonkeep.retention.rules"
local schedule = require "moonkeep.schedule"
local spec = require "moonkeep.spec"
local tools = require "moonkeep.pg.tools"
local trust = require "moonkeep.trust"
local types = require "moonkeep.definitions.types"
local units = require "moonkeep.units"
local verification = require "moonkeep.verification"

local M = {}

local AFTER_MS = 15000 -- how long `after` may take when the run was stopped

local Job = { __name = "moonkeep.Job" }
Job.__index = Job

function Job:__tostring()
  return self.kind .. " " .. self.name
end

-- More copies than there are stores: no run could be well.
local function check_copies(found, keys)
  local wanted, n_offsite = keys.copies or {}, 0
  for _, store in ipairs(keys.upload or {}) do
    n_offsite = n_offsite + ((store.options or {}).offsite and 1 or 0)
  end
  for key, n in pairs { min = #(keys.upload or {}), offsite = n_offsite } do
    if keys.upload and (wanted[key] or 0) > n then
      found[#found + 1] = { key = "copies." .. key, text = ("copies.%s is %d, but `upload` has %s")
        :format(key, wanted[key], units.format_count(n, key == "min" and "store" or "offsite store")),
        hint = key == "offsite" and "mark one: mk.store(..., { offsite = true })" or nil }
    end
  end
end

-- One place under two names would be judged twice.
local function check_urls(found, keys)
  local urls = {}
  for _, store in ipairs(keys.upload or {}) do
    if store.url and urls[store.url] then
      found[#found + 1] = { key = "upload", text = ("%s is there twice, as %s and %s"):format(store.url,
        urls[store.url], store.name) }
    end
    urls[store.url or ""] = store.name
  end
end

-- Rules that keep nothing are a mistake that deletes everything.
local function check_keep(found, keys)
  local list = { { "keep", keys.keep } }
  if keys.keep and not keys.upload then
    found[#found + 1] = { key = "keep", text = "keep has no store to keep anything in",
      hint = "give the job its stores by `upload`" }
  end
  for _, store in ipairs(keys.upload or {}) do
    list[#list + 1] = { ("keep of store %s"):format(store.name), (store.options or {}).keep }
  end
  for _, item in ipairs(list) do
    if type(item[2]) == "table" and not rules.are_any(item[2]) then
      found[#found + 1] = { key = "keep", text = item[1] .. " has no rule that keeps anything",
        hint = "say which backups stay: keep = { daily = 7, weekly = 4 }" }
    end
  end
end

-- The names that it had: each once, and not its own.
local function check_was(found, keys)
  local seen = { [keys.name] = true }
  for _, name in ipairs(list_of(keys.was)) do
    local why = types.name.check(name)
    if why then
      found[#found + 1] = { key = "was", text = ("was: the name %s"):format(why) }
    elseif seen[name] then
      found[#found + 1] = { key = "was", text = ("was: %q is %s"):format(name, name == keys.name and
        "the job's own name" or "there twice") }
    end
    seen[name] = true
  end
end

-- What the types of the keys do not say. Returns a list of mistakes, and the compiled schedule.
local function check_job(keys)
  local found, rule = {}, nil
  for _, key in ipairs(keys.run and {} or { "source", "upload" }) do
    if keys[key] == nil then
      found[#found + 1] = { key = key, text = key .. " is missing (or give the job a run function)" }
    end
  end
  check_copies(found, keys)
  check_urls(found, keys)
  check_keep(found, keys)
  check_was(found, keys)
  if keys.encrypt then
    local mistakes = encryption.mistakes(keys.encrypt)
    table.move(mistakes, 1, #mistakes, #found + 1, found)
  end
  if keys.trust and not keys.sign then
    found[#found + 1] = { key = "trust", text = "trust without sign: what this job makes would be " ..
      "refused", hint = "say which key signs: sign = mk.secret.file \"...\" (moonkeep keygen --sign)" }
  end
  local dump = keys.dump or {}
  if dump.schema_only and dump.data_only then
    found[#found + 1] = { key = "dump.data_only",
      text = "dump.data_only and dump.schema_only exclude each other" }
  end
  for _, key in ipairs { "clean", "if_exists" } do
    if dump[key] and dump.format ~= "plain" then
      found[#found + 1] = { key = "dump." .. key, text = ("dump.%s is for the plain format; " ..
        "others are restored with existing = \"clean\""):format(key) }
    end
  end
  if keys.exclude_databases and not keys.databases then
    found[#found + 1] = { key = "exclude_databases",
      text = "exclude_databases goes with databases" }
  end
  if keys.schedule then
    local mistakes
    rule, mistakes = schedule.compile(keys.schedule)
    table.move(mistakes, 1, #mistakes, #found + 1, found)
  end
  return found, rule
end

-- From now on its backups can be opened, and only those that it trusts are believed.
local function settle(job)
  if job.keys.encrypt then
    encryption.settle(job.keys.encrypt)
  end
  if job.keys.trust then
    trust.require_of(job:folders(), job.keys.trust)
  end
end

local function new(kind, what, keys)
  local origins
  if type(keys) == "table" and kind == "job" then
    keys, origins = policy.with_defaults(keys)
  end
  local self = setmetatable({ kind = kind, keys = {}, name = "?", origins = origins,
    where = core_error.where() }, Job)
  if not spec.check(what, kind, keys) then
    return self
  end
  if kind == "job" then
    local found
    found, self.rule = check_job(keys)
    if #found > 0 then
      spec.report(("%s %q"):format(what, keys.name), found)
    end
  end
  self.keys, self.name, self.policies = keys, keys.name, policy.current()
  self.deadline_ms = keys.deadline and units.duration(keys.deadline)
  settle(self)
  return self
end

--- mk.job { ... }: checks the keys and makes a job. Loading does no I/O.
function M.new(keys)
  return new("job", "mk.job", keys)
end

--- mk.verify { ... }: a job that proves the backups of other jobs again.
function M.verify(keys)
  local self = setmetatable({ kind = "job", is_verification = true, keys = {}, name = "?",
    where = core_error.where() }, Job)
  if not spec.check("mk.verify", "verify", keys) then
    return self
  end
  local found, rule = check_job(merge(keys, { run = true, keep = false }))
  local _, why = verification.sample(keys.sample or "100%")
  found[#found + 1] = why and { key = "sample", text = "sample " .. why } or nil
  for _, job in ipairs(keys.jobs) do
    found[#found + 1] = #(job.keys.upload or {}) == 0 and job.name ~= "?" and { key = "jobs",
      text = ("job %s has no stores (`upload`)"):format(job.name) } or nil
  end
  if #found > 0 then
    spec.report(("mk.verify %q"):format(keys.name), found)
  end
  self.keys = merge(keys, { run = function() verification.run(keys) end })
  self.name, self.rule, self.policies = keys.name, rule, policy.current()
  self.deadline_ms = keys.deadline and units.duration(keys.deadline)
  return self
end

--- mk.task { ... }
function M.task(keys)
  return new("task", "mk.task", keys)
end

-- The levels of proof that a job asks for.
local function levels_of(job)
  return job.keys.verify and { job.keys.verify } or list_of(job.keys.levels)
end

local NEEDS_KEY = { decoded = true, restored = true }

-- Whether the backups of a job can be opened here.
local function can_open(job)
  local encrypt = job.keys.encrypt
  return not encrypt or encrypt.passphrase ~= nil or keyring.has_identities()
end

local function add_keyless(found, job, level)
  for _, one in ipairs(job.is_verification and job.keys.jobs or { job }) do
    if NEEDS_KEY[level] and not can_open(one) then
      found[#found + 1] = { key = job.is_verification and "levels" or "verify", where = job.where,
        text = ("job %s: the level %s needs the private key of what %s makes, and there is none on " ..
          "this host"):format(job.name, level, one == job and "it" or one.name),
        hint = "verify = \"read\" needs none, and another host can do more (mk.verify, or a drill); " ..
          "or say where the key is: `identity` of `encrypt`, or MOONKEEP_IDENTITY" }
    end
  end
end

--- Raises INVALID when a job asks for what this host cannot do. Looks for programs and keys. (Only where
--- it is to be run: what is listed, or restored, need not be made here.)
function M.check_reach(job)
  local found = M.unreachable(job)
  if #found > 0 then
    spec.report("verify", found)
  end
end

--- What a job asks for that this host cannot do: a list of mistakes.
function M.unreachable(job)
  local found = {}
  for _, level in ipairs(levels_of(job)) do
    add_keyless(found, job, level)
    if level == "restored" and not tools.has_server() then
      found[#found + 1] = { key = job.keys.verify and "verify" or "levels", where = job.where,
        text = ("job %s: the level restored needs the programs of a PostgreSQL server, and there are " ..
          "none on this host"):format(job.name),
        hint = "apt-get install postgresql; or let another host do that: mk.verify, or a drill" }
    end
  end
  return found
end

--- The names of its folders in stores: what it is called, and what it was.
function Job:folders()
  return { self.name, table.unpack(list_of(self.keys.was)) }
end

function M.is_job(value)
  return getmetatable(value) == Job
end

--- The same job with some keys replaced, all of it checked again.
function M.with(job, keys)
  local changed = setmetatable(merge(job), Job)
  spec.check(("%s %s"):format(job.kind, job.name), job.kind, keys)
  local found
  found, changed.rule = check_job(keys)
  if #found > 0 then
    spec.report(("%s %s"):format(job.kind, job.name), found)
  end
  changed.keys, changed.name = keys, keys.name
  changed.deadline_ms = keys.deadline and units.duration(keys.deadline)
  settle(changed)
  return changed
end

--- The values of its typed arguments, from the texts of --set. Raises USAGE.
function Job:arguments(texts)
  return arg.parse(tostring(self), self.keys.args or {}, texts or {})
end

-- Calls `after` with what became of the run, also when it was stopped, and raises the first failure.
local function finish(after, ctx, ok, err)
  local told, why = xpcall(core_task.shield, errors.handler, function()
    after(ctx, not ok and errors.of(err) or nil)
  end, AFTER_MS)
  if not ok then
    if not told then -- the first failure is what counts; the other one goes along
      err = errors.of(err)
      err.also = err.also or {}
      table.insert(err.also, errors.of(why))
    end
    error(err, 0)
  elseif not told then
    error(why, 0)
  end
end

--- Runs it once. `published` is filled with the backups that it publishes, also when an error is
--- raised. `how`: arguments (values), run_id, consent, problems (a list to fill with what makes the
--- run a degraded one), and `try`, which calls the body, perhaps more
--- than once; the hooks are called once.
function Job:execute(published, how)
  local keys = self.keys
  local ctx = context.new { job = keys, published = published, run_id = how.run_id,
    problems = how.problems, consent = how.consent, is_anonymous = self.is_anonymous or false }
  local function body()
    context.begin(ctx)
    if keys.run then
      keys.run(ctx, how.arguments or {})
    else
      ctx:backup()
    end
  end
  local ok, err = xpcall(function()
    if keys.before then
      keys.before(ctx)
    end
    how.try(body)
    context.conclude(ctx)
  end, errors.handler)
  if keys.after then
    finish(keys.after, ctx, ok, err)
  elseif not ok then
    error(err, 0)
  end
end

return M
