--- `--set key=value`: keys of a job (or of a restore) as texts on the command line, turned into the
--- values that a recipe would have, by their types in definitions/.
local errors = require "moonkeep.errors"
local merge = require "moonkeep.merge"
local pg = require "moonkeep.pg"
local spec = require "moonkeep.spec"
local stores = require "moonkeep.store"
local tables = require "moonkeep.definitions.tables"

local M = {}

local BOOLEANS = { ["true"] = true, ["false"] = false, yes = true, no = false }

local function boolean(text)
  return BOOLEANS[text]
end

-- Converters from the list of texts of a key; nil: not that type.
local CONVERT = {
  boolean = function(values) return boolean(values[#values]) end,
  integer = function(values) return math.tointeger(tonumber(values[#values])) end,
  strings = function(values) return #values == 1 and values[1] or values end,
  list = function(values) return values end,
  extra = function(values) return values end,
  sections = function(values) return #values == 1 and values[1] or values end,
  databases = function(values) return #values == 1 and values[1] == "all" and "all" or values end,
  globals = function(values)
    return values[1] == "with_passwords" and values[1] or boolean(values[1])
  end,
  source = function(values) return pg.source(values[#values]) end,
  stores = function(values)
    local list = {}
    for i, url in ipairs(values) do
      list[i] = stores.new(#values == 1 and "store" or "store" .. i, stores.url_of(url))
    end
    return list
  end,
}

-- The texts of every key, in order: { { key, values } }.
function M.parse(texts)
  local list, by_key = {}, {}
  for _, text in ipairs(texts or {}) do
    local key, value = text:match "^([%w_.-]+)=(.*)$"
    if not key then
      errors.raise("USAGE", ("--set takes KEY=VALUE, not %q"):format(text))
    end
    if not by_key[key] then
      by_key[key] = {}
      list[#list + 1] = { key = key, values = by_key[key] }
    end
    table.insert(by_key[key], value)
  end
  return list
end

local function entry_of(definition, key)
  for _, entry in ipairs(definition.keys) do
    if entry[1] == key then
      return entry
    end
  end
end

local function names_of(definition)
  local names = {}
  for i, entry in ipairs(definition.keys) do
    names[i] = entry[1]
  end
  return names
end

local function convert(what, full, entry, values)
  if entry[2] == "function" or entry[2] == "table" or entry[2] == "args" then
    errors.raise("USAGE", ("--set cannot set `%s` of %s: it is a %s"):format(full, what, entry[2]),
      { hint = entry.keys and ("set one of its keys: --set %s.KEY=VALUE"):format(full) or nil })
  end
  local by_type = CONVERT[entry[2]]
  if not by_type then
    return values[#values]
  end
  local value = by_type(values)
  if value == nil then
    return values[#values] -- the check says what it must be
  end
  return value
end

-- Sets one key, "dump.format", in a copy of a table and of the tables on the way.
local function set(what, definition, keys, path, full, values)
  local copy = merge(keys or {})
  local first, rest = path:match "^([^.]+)%.?(.*)$"
  local entry = entry_of(definition, first)
  if not entry then
    errors.raise("USAGE", ("%s has no key %q%s"):format(what, full,
      spec.suggestion(first, names_of(definition))))
  end
  if rest ~= "" and entry[2] == "tags" then
    copy[first] = {}
    for name, text in pairs((keys or {})[first] or {}) do
      copy[first][name] = text
    end
    copy[first][rest] = values[#values]
  elseif rest ~= "" and not entry.keys then
    errors.raise("USAGE", ("`%s` of %s has no keys of its own"):format(first, what))
  elseif rest ~= "" and type(copy[first]) == "function" then
    errors.raise("USAGE", ("`%s` of %s is a function, which has no keys"):format(first, what))
  elseif rest ~= "" then
    copy[first] = set(what, tables[entry.keys], copy[first], rest, full, values)
  else
    copy[first] = convert(what, full, entry, values)
  end
  return copy
end

--- The keys with the changes of --set made. `definition`: "job", "restore".
function M.apply(what, definition, keys, list)
  for _, item in ipairs(list) do
    keys = set(what, tables[definition], keys, item.key, item.key, item.values)
  end
  return keys
end

return M
