--- The types of values in recipes: what a key of a table in definitions/tables.lua may hold.
---
--- Each has `luals`, its name in the types for editors, and `check(value, entry)`, which returns
--- nil or what the value must be. `entry` is the key's definition: `one_of` and `of` refine it.
local flow = require "moonkeep.flow"
local keys = require "moonkeep.core.keys"
local list_of = require "moonkeep.list_of"
local signature = require "moonkeep.signature"
local units = require "moonkeep.units"

local M = {}

local function is_a(name, what)
  return { luals = "moonkeep." .. name, check = function(value)
    local meta = getmetatable(value)
    return not (type(meta) == "table" and meta.__name == "moonkeep." .. name) and
      ("must be " .. what) or nil
  end }
end

local function simple(luals, is, why)
  return { luals = luals, check = function(value)
    return not is(value) and why or nil
  end }
end

local function is_type(name)
  return function(value)
    return type(value) == name
  end
end

M.any = { luals = "any", check = function() end }
M.boolean = simple("boolean", is_type "boolean", "must be true or false")
M["function"] = simple("function", is_type "function", "must be a function")
M.table = simple("table", is_type "table", "must be a table")

M.string = { luals = "string", check = function(value, entry)
  if type(value) ~= "string" then
    return "must be a string"
  elseif value:find "%z" then
    return "must not have a NUL byte in it"
  elseif entry and entry.one_of then
    for _, allowed in ipairs(entry.one_of) do
      if value == allowed then
        return nil
      end
    end
    return ("must be one of %s"):format(table.concat(entry.one_of, ", "))
  end
end }

M.integer = { luals = "integer", check = function(value, entry)
  if math.type(value) ~= "integer" then
    return "must be a whole number"
  elseif entry and entry.min and value < entry.min then
    return ("must be at least %d"):format(entry.min)
  elseif entry and entry.max and value > entry.max then
    return ("must be at most %d"):format(entry.max)
  end
end }

--- What a value is or is not a list of. `of` (a type's name) is checked for every item.
M.list = { luals = "any[]", check = function(value, entry)
  if type(value) ~= "table" or #value == 0 then
    return "must be a list of at least one, { ... }"
  end
  local n = 0
  for _ in pairs(value) do
    n = n + 1
  end
  if n ~= #value then
    return "must be a list without gaps or names"
  end
  for i, item in ipairs(value) do
    local why = entry and entry.of and M[entry.of].check(item, {})
    if why then
      return ("item %d %s"):format(i, why)
    end
  end
end }

M.strings = { luals = "string|string[]", check = function(value)
  if type(value) == "string" then
    return value == "" and "must not be empty" or nil
  end
  return M.list.check(value, { of = "string" }) and "must be a string or a list of strings" or nil
end }

local function is_secret(value)
  return M.secret.check(value) == nil
end

-- More arguments for a program. Long options only, with `=`, so that it can be seen what they are;
-- and none that would take the work out of moonkeep's hands: where it connects and writes to, which
-- database it touches, in what format.
local FORBIDDEN = { "create", "file", "dbname", "format", "jobs", "compress", "host", "port",
  "username", "password", "no-password", "clean", "list", "use-list", "single-transaction",
  "exit-on-error", "command", "output", "set", "variable", "log-file", "help", "version" }

M.extra = { luals = "string[]", check = function(value)
  local why = M.list.check(value, { of = "string" })
  if why then
    return why
  end
  for _, item in ipairs(value) do
    local name = item:match "^%-%-([%w-]+)"
    if not name then
      return ("must have long options only, such as \"--name\" or \"--name=value\": see %q"):format(
        item)
    end
    for _, forbidden in ipairs(FORBIDDEN) do
      if forbidden:sub(1, #name) == name then -- programs take abbreviations
        return ("must not have --%s: moonkeep decides that itself"):format(forbidden)
      end
    end
  end
end }

local SECTIONS = { ["pre-data"] = true, data = true, ["post-data"] = true }

M.sections = { luals = "string|string[]", check = function(value)
  for _, item in ipairs(list_of(value)) do
    if not SECTIONS[item] then
      return "must be pre-data, data or post-data, or a list of them"
    end
  end
  return M.strings.check(value)
end }

M.secret_text = { luals = "string|moonkeep.Secret", check = function(value)
  return type(value) ~= "string" and not is_secret(value) and
    "must be a string, or a secret as mk.secret makes them" or nil
end }

M.duration = { luals = "moonkeep.Duration", check = function(value)
  return select(2, units.duration(value))
end }
M.size = { luals = "moonkeep.Size", check = function(value)
  return select(2, units.size(value))
end }

M.throttle = { luals = "moonkeep.Size|fun(connection: moonkeep.Connection): moonkeep.Size?",
  check = function(value)
    if type(value) == "function" then
      return nil
    end
    return not units.size(value) and "must be a size such as \"50MiB\" (a second), or a " ..
      "function" or nil
  end }

M.keep = { luals = "moonkeep.Keep|false|fun(backup: table, all: table[]): string|boolean?",
  check = function(value)
    if type(value) == "function" or value == false then
      return nil
    elseif type(value) ~= "table" then
      return "must be a table of rules, a function, or false"
    end
    return not next(value) and "must have a rule, such as daily = 7" or nil
  end }

M.codec = { luals = "moonkeep.Codec", check = function(value)
  local ok, err = pcall(flow.codec, value)
  if not ok then
    return ("must be a codec (%s)"):format(err.hint or err.message or err)
  end
end }

--- Names of jobs, tasks and stores: they become names of folders.
M.name = simple("string", function(value)
  return type(value) == "string" and #value <= 100 and value:match "^%w[%w._-]*$" ~= nil
end, "must be made of letters, digits, '.', '_' and '-' (at most 100)")

local MAX_DATABASE_BYTES = 63 -- NAMEDATALEN - 1
M.database = simple("string", function(value)
  return type(value) == "string" and #value > 0 and #value <= MAX_DATABASE_BYTES and
    not value:find "%z"
end, "must be the name of a database, of 1 to 63 bytes")

M.databases = { luals = "string[]|\"all\"", check = function(value)
  return value ~= "all" and M.list.check(value, { of = "string" }) and
    "must be \"all\", or a list of names or patterns such as { \"app\", \"pay_*\" }" or nil
end }

M.globals = { luals = "boolean|\"with_passwords\"", check = function(value)
  return type(value) ~= "boolean" and value ~= "with_passwords" and
    "must be true, false or \"with_passwords\"" or nil
end }

M.tags = { luals = "table<string, string>", check = function(value)
  if type(value) ~= "table" then
    return "must be a table of texts by name"
  end
  for name, text in pairs(value) do
    if type(name) ~= "string" or type(text) ~= "string" then
      return ("must be a table of texts by name: see %s"):format(tostring(name))
    end
  end
end }

M.environment = { luals = "table<string, string|moonkeep.Secret|false>", check = function(value)
  if type(value) ~= "table" then
    return "must be a table"
  end
  for name, text in pairs(value) do
    if type(name) ~= "string" or (M.secret_text.check(text) and text ~= false) then
      return ("must map names to strings, secrets or false: see %s"):format(tostring(name))
    end
  end
end }

M.source = is_a("Source", "a server, as mk.pg makes it")
M.comparable = { luals = "moonkeep.Source|moonkeep.Backup", check = function(value)
  return M.source.check(value) and M.backup.check(value) and
    "must be a server, as mk.pg makes it, or a backup" or nil
end }
M.a_job = is_a("Job", "a job, as mk.job makes it")
M.jobs = { luals = "moonkeep.Job[]", check = function(value)
  return M.list.check(value, { of = "a_job" }) and "must be a list of jobs, as mk.job makes them" or nil
end }
M.levels = { luals = "string|string[]", check = function(value, entry)
  for _, level in ipairs(list_of(value)) do
    local why = M.string.check(level, entry)
    if why then
      return why
    end
  end
  return type(value) == "table" and M.list.check(value, { of = "string" }) or nil
end }
M.sample = { luals = "string|integer", check = function(value)
  return type(value) ~= "string" and math.type(value) ~= "integer" and
    "must be a share such as \"10%\", a size such as \"50GiB\", or a number of copies" or nil
end }
M.store = is_a("Store", "a store, as mk.store makes it")
local function is_address(text)
  return type(text) == "string" and not text:find "%c" and
    (text:match "<([^<>]+)>%s*$" or text):find "^[^%s<>@]+@[^%s<>@]+$" ~= nil
end

M.address = simple("string", is_address, "must be an address such as \"ops@example.org\" or " ..
  "\"Ops <ops@example.org>\"")
M.addresses = { luals = "string|string[]", check = function(value)
  for _, item in ipairs(list_of(value)) do
    if not is_address(item) then
      return "must be addresses such as \"ops@example.org\" or \"Ops <ops@example.org>\": see " ..
        tostring(item)
    end
  end
  return M.strings.check(value)
end }

M.notifier = is_a("Notifier", "a notifier, as mk.notify makes it")
M.notifiers = { luals = "moonkeep.Notifier|moonkeep.Notifier[]", check = function(value)
  return M.notifier.check(value) and M.list.check(value, { of = "notifier" }) and
    "must be a notifier, as mk.notify makes it, or a list of them" or nil
end }
M.secret = is_a("Secret", "a secret, as mk.secret makes it")
M.secrets = { luals = "moonkeep.Secret|moonkeep.Secret[]", check = function(value)
  return M.secret.check(value) and M.list.check(value, { of = "secret" }) and
    "must be a secret, as mk.secret makes it, or a list of them" or nil
end }

-- One text or a list of texts, each of which is(text) says to be one.
local function texts_that_are(is, what)
  return { luals = "string|string[]", check = function(value)
    local why = M.strings.check(value)
    for _, text in ipairs(not why and list_of(value) or {}) do
      if not is(text) then
        return ("%s: see %q"):format(what, text)
      end
    end
    return why and what
  end }
end

M.encrypt = { luals = "moonkeep.Encrypt|false", check = function(value)
  return value ~= false and (type(value) ~= "table" or #value > 0) and
    "must be a table, such as { recipients = { \"age1...\" } }, or false" or nil
end }

M.escrow = { luals = "moonkeep.Duration|false", check = function(value)
  return value ~= false and not units.duration(value) and
    "must be a duration of more than nothing, such as \"90d\", or false" or nil
end }

M.recipients = texts_that_are(keys.age_is_recipient, "must be a public key of age, \"age1...\", or a " ..
  "list of them (mistyped ones are found by their checksum)")
M.public_keys = texts_that_are(signature.public_key, "must be a public key of minisign, \"RW...\", " ..
  "or a list of them")
M.stream = is_a("Stream", "a stream, as ctx:dump makes it")
M.backup = is_a("Backup", "a backup, as ctx:backup, ctx:upload or store:latest give it")
M.arg = is_a("Arg", "a type of argument, as mk.arg has them")

--- The value of one of libpq's keys.
M.conninfo_value = { luals = "string|integer|moonkeep.Secret", check = function(value)
  return M.secret_text.check(value) and math.type(value) ~= "integer" and
    "must be a string (or a secret)" or nil
end }

M.stores = { luals = "moonkeep.Store[]", check = function(value)
  if M.list.check(value, { of = "store" }) then
    return "must be a list of stores, as mk.store makes them"
  end
  local seen = {}
  for _, store in ipairs(value) do
    if seen[store.name] then
      return ("must not have store %q twice"):format(store.name)
    end
    seen[store.name] = true
  end
end }

M.args = { luals = "table<string, moonkeep.Arg>", check = function(value)
  if type(value) ~= "table" then
    return "must be a table of mk.arg types by name"
  end
  for name, arg in pairs(value) do
    if type(name) ~= "string" or M.arg.check(arg) then
      return ("must be a table of mk.arg types by name: see %s"):format(tostring(name))
    end
  end
end }

return M
