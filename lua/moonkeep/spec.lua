--- Checks the tables that recipes write. All mistakes of a table are reported at once, each with
--- its key, and with the key that was probably meant.
---
--- A definition maps each key to { type = ..., required = bool, check = fn(value) -> nil | why }.
--- Types: "string", "boolean", "integer", "function", "table", "duration", "list", "any".
local errors = require "moonkeep.errors"
local units = require "moonkeep.units"

local M = {}

-- Edit distance in which two letters that changed places count as one mistake. Names are short.
local function distance(a, b)
  local before, row = {}, {}
  for j = 0, #b do
    row[j] = j
  end
  for i = 1, #a do
    local next_row = { [0] = i }
    for j = 1, #b do
      local cost = a:byte(i) == b:byte(j) and 0 or 1
      next_row[j] = math.min(row[j] + 1, next_row[j - 1] + 1, row[j - 1] + cost)
      if i > 1 and j > 1 and a:byte(i) == b:byte(j - 1) and a:byte(i - 1) == b:byte(j) then
        next_row[j] = math.min(next_row[j], before[j - 2] + 1)
      end
    end
    before, row = row, next_row
  end
  return row[#b]
end

--- The name nearest to `name`, or nil when none is near enough to be meant.
function M.nearest(name, names)
  local best, best_distance = nil, math.max(1, #name // 3) + 1
  for _, candidate in ipairs(names) do
    local d = distance(name, candidate)
    if d < best_distance then
      best, best_distance = candidate, d
    end
  end
  return best
end

local function sorted_keys(t)
  local keys = {}
  for key in pairs(t) do
    keys[#keys + 1] = tostring(key)
  end
  table.sort(keys)
  return keys
end

local checks = {
  any = function() end,
  string = function(v) return type(v) ~= "string" and "must be a string" or nil end,
  boolean = function(v) return type(v) ~= "boolean" and "must be true or false" or nil end,
  integer = function(v) return math.type(v) ~= "integer" and "must be a whole number" or nil end,
  ["function"] = function(v) return type(v) ~= "function" and "must be a function" or nil end,
  table = function(v) return type(v) ~= "table" and "must be a table" or nil end,
  list = function(v)
    if type(v) ~= "table" or #v == 0 then
      return "must be a list of at least one, { ... }"
    end
    local n = 0
    for key in pairs(v) do
      n = n + 1
      if math.type(key) ~= "integer" or key < 1 or key > #v then
        return "must be a list without gaps or names"
      end
    end
    if n ~= #v then
      return "must be a list without gaps or names"
    end
  end,
  duration = function(v) return select(2, units.duration(v)) end,
}

local function shown(value)
  if type(value) == "string" then
    return ("%q"):format(value)
  end
  local is_plain = type(value) == "number" or type(value) == "boolean" or value == nil
  return is_plain and tostring(value) or "a " .. type(value)
end

local function check_key(definition, key, value)
  local entry = definition[key]
  if not entry then
    local meant = type(key) == "string" and M.nearest(key, sorted_keys(definition))
    return ("unknown key %s%s"):format(shown(key),
      meant and (", did you mean \"%s\"?"):format(meant) or
      ("; it has " .. table.concat(sorted_keys(definition), ", ")))
  end
  local why = checks[entry.type](value) or (entry.check and entry.check(value))
  return why and ("%s %s, not %s"):format(key, why, shown(value))
end

--- Raises INVALID unless an argument is of a type: check_argument("mk.each", "fn", "function", fn).
function M.check_argument(what, name, type_name, value)
  local why = checks[type_name](value)
  if why then
    errors.raise("INVALID", ("%s: %s %s, not %s"):format(what, name, why, shown(value)))
  end
end

--- Raises one INVALID error that lists every mistake in `value`. `what` names it: "mk.job".
function M.check(what, definition, value)
  if type(value) ~= "table" then
    errors.raise("INVALID", ("%s takes a table, not %s"):format(what, type(value)),
      { hint = ("write it as %s { key = value, ... }"):format(what) })
  end
  local mistakes = {}
  for key, item in pairs(value) do
    mistakes[#mistakes + 1] = check_key(definition, key, item)
  end
  for key, entry in pairs(definition) do
    if entry.required and value[key] == nil then
      mistakes[#mistakes + 1] = ("%s is missing"):format(key)
    end
  end
  if #mistakes > 0 then
    table.sort(mistakes)
    errors.raise("INVALID", ("%s: %s"):format(what, table.concat(mistakes, "; ")))
  end
end

return M
