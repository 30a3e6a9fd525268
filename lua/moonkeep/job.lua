--- Jobs: what a recipe returns. A job is a table of keys; its `run` function, if it has one, gets a
--- context whose methods are the same verbs with the same options.
local backups = require "moonkeep.backup"
local compare = require "moonkeep.pg.compare"
local core_error = require "moonkeep.core.error"
local errors = require "moonkeep.errors"
local flow = require "moonkeep.flow"
local log = require "moonkeep.log"
local pg = require "moonkeep.pg"
local restores = require "moonkeep.restore"
local spec = require "moonkeep.spec"
local stores = require "moonkeep.store"
local units = require "moonkeep.units"
local verify = require "moonkeep.verify"

local M = {}

local function is_source(value)
  return not pg.is_source(value) and "must be a server, as mk.pg makes it" or nil
end

local function are_stores(value)
  local seen = {}
  for _, store in ipairs(value) do
    if not stores.is_store(store) then
      return "must be a list of stores, as mk.store makes them"
    elseif seen[store.name] then
      return ("must not have store %q twice"):format(store.name)
    end
    seen[store.name] = true
  end
end

local function is_codec(value)
  local ok, err = pcall(flow.codec, value)
  return not ok and ("must be a codec (%s)"):format(err.hint) or nil
end

local function is_level(value)
  for _, level in ipairs(verify.LEVELS) do
    if value == level then
      return nil
    end
  end
  return ("must be one of %s"):format(table.concat(verify.LEVELS, ", "))
end

-- The keys of a backup: a job has them, and ctx:backup takes them.
local BACKUP_KEYS = {
  source = { type = "any", check = is_source },
  dump = { type = "table" },
  compress = { type = "string", check = is_codec },
  upload = { type = "list", check = are_stores },
  verify = { type = "string", check = is_level },
}

local JOB_KEYS = {
  name = { type = "string", required = true, check = function(name)
    return not name:match "^%w[%w._-]*$" and
      "must be made of letters, digits, '.', '_' and '-'" or nil
  end },
  deadline = { type = "duration" },
  run = { type = "function" },
}
for key, entry in pairs(BACKUP_KEYS) do
  JOB_KEYS[key] = entry
end

-- ---- the context --------------------------------------------------------------------------------

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
  local meant = spec.nearest(name, names)
  error(("ctx has no method %q%s"):format(name,
    meant and (", did you mean %q?"):format(meant) or ""), 2)
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

-- What the methods take besides options.
local ARGUMENTS = {
  stream = { type = "table", required = true, check = function(value)
    return not backups.is_stream(value) and "must be a stream, as ctx:dump makes it" or nil
  end },
  backup = { type = "table", required = true, check = function(value)
    local is_backup = type(value.id) == "string" and type(value.manifest) == "table" and
      type(value.stores) == "table" and #value.stores > 0
    return not is_backup and
      "must be a backup, as ctx:backup, ctx:upload or store:latest give it" or nil
  end },
  stores = { type = "list", required = true, check = are_stores },
  source = { type = "any", required = true, check = is_source },
  codec = { type = "string", required = true, check = is_codec },
  level = { type = "string", required = true, check = is_level },
}

-- check("ctx:verify", { backup = backup, level = level }, "backup", "level")
local function check(what, values, ...)
  local definition = {}
  for _, name in ipairs { ... } do
    definition[name] = ARGUMENTS[name]
  end
  spec.check(what, definition, values)
end

--- An unstarted dump of a source (default: the job's).
function Context:dump(options)
  options = options or {}
  spec.check("ctx:dump", { source = BACKUP_KEYS.source, dump = BACKUP_KEYS.dump }, options)
  return backups.dump(required(self, options, "source"), setting(self, options, "dump"))
end

--- Compresses a stream: ctx:compress(stream, "gzip:6").
function Context:compress(stream, codec)
  check("ctx:compress", { stream = stream, codec = codec }, "stream", "codec")
  return backups.compress(stream, codec)
end

--- Moves a stream into stores (default: the job's) and publishes the backup there.
function Context:upload(stream, targets)
  targets = targets or required(self, {}, "upload")
  check("ctx:upload", { stream = stream, stores = targets }, "stream", "stores")
  local backup = backups.upload(self.job.name, stream, targets)
  self.published[#self.published + 1] = backup
  return backup
end

--- Proves a backup: level "read" or "decoded".
function Context:verify(backup, level)
  check("ctx:verify", { backup = backup, level = level }, "backup", "level")
  return verify.verify(backup, level)
end

--- Restores a backup into a new database; see moonkeep.restore for the options.
function Context:restore(backup, options)
  check("ctx:restore", { backup = backup }, "backup")
  return restores.restore(backup, options)
end

--- Dumps, compresses, uploads and verifies as the job's keys say; `options` override them.
function Context:backup(options)
  options = options or {}
  spec.check("ctx:backup", BACKUP_KEYS, options)
  local stream = self:dump { source = options.source, dump = options.dump }
  local codec = setting(self, options, "compress")
  if codec then
    stream = self:compress(stream, codec)
  end
  local backup = self:upload(stream, required(self, options, "upload"))
  return self:verify(backup, setting(self, options, "verify") or "read")
end

--- Compares two databases table by table and returns the numbers of tables and rows; raises
--- DIFFERENT with every difference. See moonkeep.pg.compare.
function Context:compare(a, b)
  spec.check("ctx:compare", { [1] = ARGUMENTS.source, [2] = ARGUMENTS.source }, { a, b })
  local n_tables, more = compare.compare(compare.fingerprint(a), compare.fingerprint(b))
  if not n_tables then
    errors.raise("DIFFERENT", ("%s differs from %s"):format(tostring(b), tostring(a)),
      { detail = table.concat(more, "\n") })
  end
  return n_tables, more
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
  log.info("checked %s: %s %s %s", what, tostring(a), op, tostring(b))
end

--- Prints a line on stdout.
function Context:show(text, ...)
  log.show(text, ...)
end

-- ---- jobs ---------------------------------------------------------------------------------------

local Job = {}
Job.__index = Job

--- Checks the keys and makes a job. Loading does no I/O.
function M.new(keys)
  spec.check("mk.job", JOB_KEYS, keys)
  if keys.dump then
    spec.check("mk.job: dump", backups.DUMP_OPTIONS, keys.dump)
  end
  if not keys.run then
    for _, key in ipairs { "source", "upload" } do
      if keys[key] == nil then
        errors.raise("INVALID", ("mk.job: %s is missing (or give it a run function)"):format(key))
      end
    end
  end
  return setmetatable({ keys = keys, name = keys.name, where = core_error.where(),
    deadline_ms = keys.deadline and units.duration(keys.deadline) }, Job)
end

function M.is_job(value)
  return getmetatable(value) == Job
end

--- Runs a job and returns the list of backups that it has published. The list is also filled when
--- an error is raised: pass one in to see how far it got.
function Job:execute(published)
  local context = setmetatable({ job = self.keys, published = published }, Context)
  if self.keys.run then
    self.keys.run(context)
  else
    context:backup()
  end
  return published
end

return M
