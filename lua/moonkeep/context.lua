--- The context of a run, `ctx`: the verbs of a recipe, with the job's keys as their defaults.
local backups = require "moonkeep.backup"
local checkups = require "moonkeep.checkup"
local compare = require "moonkeep.compare"
local copies = require "moonkeep.copy"
local core_task = require "moonkeep.core.task"
local database = require "moonkeep.pg.database"
local encryption = require "moonkeep.encryption.settings"
local errors = require "moonkeep.errors"
local globals = require "moonkeep.pg.globals"
local log = require "moonkeep.log"
local proof = require "moonkeep.proof"
local prompt = require "moonkeep.prompt"
local restores = require "moonkeep.restore"
local spec = require "moonkeep.spec"
local types = require "moonkeep.definitions.types"
local units = require "moonkeep.units"
local verdict = require "moonkeep.verdict"

local Context = {}
Context.__index = function(_, name)
  local method = Context[name]
  if method ~= nil or type(name) ~= "string" then
    return method
  end
  local names = {}
  for key, value in pairs(Context) do
    names[#names + 1] = type(value) == "function" and key:sub(1, 2) ~= "__" and key or nil
  end
  error(("ctx has no method %q%s"):format(name, spec.suggestion(name, names)), 2)
end

local function setting(self, options, key)
  local value = options[key]
  if value == nil then
    value = self.job[key]
  end
  return value
end

local function required(self, options, key)
  local value = setting(self, options, key)
  if value == nil then
    errors.raise("INVALID", ("ctx:backup needs `%s`"):format(key),
      { hint = "give it to the job, or to ctx:backup" })
  end
  return value
end

-- check("ctx:verify", "backup", "backup", value, ...): arguments as name, type, value.
local function check(what, ...)
  local arguments, found = table.pack(...), {}
  for i = 1, arguments.n, 3 do
    local why = types[arguments[i + 1]].check(arguments[i + 2], {})
    if why then
      found[#found + 1] = { key = arguments[i], text = ("%s %s"):format(arguments[i], why) }
    end
  end
  if #found > 0 then
    spec.report(what, found)
  end
end

--- An unstarted dump of a source (default: the job's).
function Context:dump(options)
  options = options or {}
  spec.check("ctx:dump", "dump_of", options)
  return backups.dump(required(self, options, "source"), setting(self, options, "dump"))
end

--- Compresses a stream: ctx:compress(stream, "gzip:6").
function Context:compress(stream, codec)
  check("ctx:compress", "stream", "stream", stream, "codec", "codec", codec)
  return backups.compress(stream, codec)
end

-- Proves what was uploaded, when that is wanted, and notes what there should be more of.
local function upload(self, stream, targets, how)
  local backup = backups.upload(self.job.name, stream, targets, { run = self.run_id,
    tags = self.job.tags, globals = how.globals, published = self.published,
    piece_size = how.piece_size, encrypt = how.encrypt, sign = self.job.sign,
    is_anonymous = self.is_anonymous })
  if how.verify then
    proof.prove_copies(backup, how.verify)
  end
  self.problems[#self.problems + 1] = verdict.of(backup, how.copies, targets)
  return backup
end

--- Moves a stream into stores (default: the job's) and publishes the backup there.
function Context:upload(stream, targets)
  local copies_wanted = not targets and self.job.copies or nil
  targets = targets or required(self, {}, "upload")
  check("ctx:upload", "stream", "stream", stream, "stores", "stores", targets)
  return upload(self, stream, targets, { copies = copies_wanted, piece_size = self.job.piece_size,
    encrypt = self.job.encrypt })
end

--- Proves a backup: level "read", "decoded" or "restored".
function Context:verify(backup, level)
  check("ctx:verify", "backup", "backup", backup)
  spec.check("ctx:verify", { keys = { { "level", "string", one_of = proof.LEVELS,
    required = true } } }, { level = level })
  return proof.prove(backup, level)
end

--- Restores a backup; see `restore` in definitions/tables.lua for the options.
function Context:restore(backup, options)
  check("ctx:restore", "backup", "backup", backup)
  local target = restores.restore(backup, options)
  if restores.is_whole(options) then
    proof.mark(backup, backup.stores[1], "proof-restored")
    table.insert(self.restored, { backup = backup, store = backup.stores[1], checks = self.n_checks })
  end
  return target
end

-- ---- ctx:backup ---------------------------------------------------------------------------------

-- One stream with the job's codec, moved and proved.
local function make(self, stream, options, globals_id)
  local targets = required(self, options, "upload")
  local codec = setting(self, options, "compress")
  if codec then
    stream = backups.compress(stream, codec)
  end
  -- what the job wants is of its own stores
  local copies_wanted = options.copies or not options.upload and self.job.copies or nil
  return upload(self, stream, targets, { globals = globals_id, copies = copies_wanted,
    verify = setting(self, options, "verify") or "read",
    piece_size = setting(self, options, "piece_size"), encrypt = setting(self, options, "encrypt") })
end

local function are_local(targets)
  for _, store in ipairs(targets) do
    if store.kind ~= "file" then
      return false
    end
  end
  return true
end

-- The databases to back up, as sources.
local function sources_of(self, options, source)
  local wanted = setting(self, options, "databases")
  if not wanted then
    return { source }
  end
  local connection <close> = source:connect { patient = true }
  local sources = {}
  for i, name in ipairs(database.match(connection, wanted,
    setting(self, options, "exclude_databases"))) do
    sources[i] = source:with { dbname = name }
  end
  if #sources == 0 then
    errors.raise("NOT_FOUND", "no database matches `databases`",
      { hint = "list them with: psql -l; databases that refuse connections are left out" })
  end
  return sources
end

-- Roles and tablespaces, before the dumps; what is seen of them is kept for the comparison after.
local function backup_globals(self, options, source)
  local wanted = (setting(self, options, "dump") or {}).globals
  if not wanted then
    return nil
  end
  local connection <close> = source:connect { patient = true }
  local before = globals.read(connection)
  local stream = backups.dump_globals(source, globals.with_passwords(connection, wanted,
    setting(self, options, "encrypt") or are_local(required(self, options, "upload"))))
  return make(self, stream, options), before
end

local function compare_globals(source, before)
  local connection <close> = source:connect { patient = true }
  local difference = globals.difference(before, globals.read(connection))
  if #difference > 0 then
    log.warn("roles or tablespaces were changed while the backup was made:\n%s",
      table.concat(difference, "\n"))
  end
end

-- The first failure, with the others beside it.
local function add_failure(first, raised, source)
  local err = errors.explain(errors.of(raised))
  if not first then
    return err
  end
  first.also = first.also or {}
  table.insert(first.also, errors.new(err.code, ("%s: %s"):format(tostring(source), err.message)))
  return first
end

--- Copies a backup into other stores, byte for byte; they become stores of it.
function Context:copy(backup, targets)
  check("ctx:copy", "backup", "backup", backup, "stores", "stores", targets)
  for _, store in ipairs(targets) do
    if not copies.is_in(backup.stores, store) then
      copies.from_any(backup.stores, function(from)
        copies.backup(backup, from, store)
      end)
      table.insert(backup.stores, store)
    end
  end
  return backup
end

--- Dumps, compresses, uploads and verifies as the job's keys say; `options` override them. Returns
--- the backup; with `databases`, a list of backups. What was backed up of roles is in `.roles`.
function Context:backup(options)
  options = options or {}
  spec.check("ctx:backup", "backup", options)
  if options.encrypt then
    local mistakes = encryption.mistakes(options.encrypt)
    if #mistakes > 0 then
      spec.report("ctx:backup", mistakes)
    end
    encryption.settle(options.encrypt)
  end
  local source = required(self, options, "source")
  local roles, before = backup_globals(self, options, source)
  local made = {}
  local failure
  for _, one in ipairs(sources_of(self, options, source)) do
    local ok, result = xpcall(make, errors.handler, self,
      backups.dump(one, setting(self, options, "dump")), options, roles and roles.id)
    if ok then
      result.roles = roles
      made[#made + 1] = result
    elseif core_task.canceled() then
      error(result, 0)
    else
      failure = add_failure(failure, result, one)
    end
  end
  if before then
    compare_globals(source, before)
  end
  if failure then -- one database that fails does not keep the others from being backed up
    error(failure, 0)
  end
  return setting(self, options, "databases") and made or made[1]
end

--- Compares two databases, or backups, and returns the numbers of tables and rows; raises DIFFERENT
--- with every difference. See moonkeep.compare.
function Context:compare(a, b)
  check("ctx:compare", "a", "comparable", a, "b", "comparable", b)
  local left, right = compare.read(a, b)
  local result = compare.sides(left, right)
  if result.advisory then
    log.warn("%s", result.advisory)
  end
  if not result.equal then
    errors.raise("DIFFERENT", ("%s differs from %s"):format(right.shown, left.shown),
      { detail = table.concat(compare.lines(result), "\n") })
  end
  return result.tables, result.rows
end

--- Looks a database over, and returns the report; raises CHECK_FAILED with what is not sound. See
--- moonkeep.checkup.
function Context:checkup(source, options)
  check("ctx:checkup", "source", "source", source)
  if options then
    spec.check("ctx:checkup", "checkup", options)
  end
  local report = checkups.check(source, options)
  self.n_checks = self.n_checks + 1
  log.info("looked over %s: %s of %s, nothing is wrong", tostring(source),
    units.format_count(report.rows, "row"), units.format_count(#report.tables, "table"))
  return report
end

local OPERATORS = {
  ["=="] = function(a, b) return a == b end,
  ["~="] = function(a, b) return a ~= b end,
  ["<"] = function(a, b) return a < b end,
  ["<="] = function(a, b) return a <= b end,
  [">"] = function(a, b) return a > b end,
  [">="] = function(a, b) return a >= b end,
}

--- Fails the run unless `a op b` holds: ctx:check("orders", n, ">", 1000).
function Context:check(what, a, op, b)
  local compare_values = OPERATORS[op]
  if not compare_values then
    errors.raise("INVALID", ("ctx:check: there is no operator %q"):format(tostring(op)),
      { hint = "there are ==, ~=, <, <=, > and >=" })
  end
  if op ~= "==" and op ~= "~=" and (type(a) ~= type(b) or
    (type(a) ~= "number" and type(a) ~= "string")) then
    errors.raise("CHECK_FAILED", ("%s: %s %s %s cannot be compared: a %s and a %s"):format(what,
      tostring(a), op, tostring(b), type(a), type(b)))
  end
  if not compare_values(a, b) then
    errors.raise("CHECK_FAILED", ("%s: %s %s %s does not hold"):format(what, tostring(a), op,
      tostring(b)))
  end
  self.n_checks = self.n_checks + 1
  log.info("checked %s: %s %s %s", what, tostring(a), op, tostring(b))
end

--- Asks whoever runs this to type a name before something is done: ctx:confirm("promote", "main").
--- `--yes=NAME` answers in advance. Raises NOT_CONFIRMED.
function Context:confirm(action, name)
  check("ctx:confirm", "action", "string", action, "name", "string", name)
  prompt.confirm(action, name, rawget(self, "consent"))
end

--- Prints a line on stdout.
function Context:show(text, ...)
  log.show(text, ...)
end

local M = { METHODS = Context }

--- A context: fields job (its keys), published (the list of backups to fill), problems (the list of
--- texts to fill with what makes the run a degraded one), run_id, consent.
function M.new(fields)
  M.begin(fields)
  return setmetatable(fields, Context)
end

--- A try begins: what another one has restored and checked does not count.
function M.begin(ctx)
  ctx.restored, ctx.n_checks = {}, 0
end

--- What a run that went well has proved of what it has restored as a whole: that its user's own checks
--- hold (ctx:check, ctx:checkup), if it has made any since. Marked in the store, unless that has gone.
function M.conclude(ctx)
  for _, item in ipairs(ctx.restored) do
    local has_checked = ctx.n_checks > item.checks
    local ok, is_there = pcall(function()
      return has_checked and item.store:is_there(item.backup)
    end)
    if ok and is_there then
      proof.mark(item.backup, item.store, "proof-checked")
    end
  end
end

return M
