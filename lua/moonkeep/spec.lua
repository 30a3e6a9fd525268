--- Checks the tables that recipes write against moonkeep.definitions. All mistakes of a table, and
--- of the tables in it, are found at once, each with its key, the line it is on, and the key that
--- was probably meant.
---
--- While a recipe is being loaded, mistakes are collected instead of raised (M.collecting), so that
--- one look tells all of a file's; the maker that asked returns a value that is never used.
local core_error = require "moonkeep.core.error"
local errors = require "moonkeep.errors"
local lines = require "moonkeep.recipe_lines"
local tables = require "moonkeep.definitions.tables"
local types = require "moonkeep.definitions.types"

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

local MAX_NAME = 64

--- The name nearest to `name`, or nil when none is near enough to be meant.
function M.nearest(name, names)
  local best, best_distance = nil, math.max(1, #name // 3) + 1
  for _, candidate in ipairs(#name <= MAX_NAME and names or {}) do
    local d = distance(name, candidate)
    if d < best_distance then
      best, best_distance = candidate, d
    end
  end
  return best
end

--- ", did you mean "x"?" or "".
function M.suggestion(name, names)
  local meant = M.nearest(tostring(name), names)
  return meant and (", did you mean \"%s\"?"):format(meant) or ""
end

-- The keys of a table by name, and their names in order.
local indexes = setmetatable({}, { __mode = "k" })
local function index_of(definition)
  if not indexes[definition] then
    local index, names = {}, {}
    for i, entry in ipairs(definition.keys) do
      index[entry[1]], names[i] = entry, entry[1]
    end
    indexes[definition] = { by_name = index, names = names }
  end
  return indexes[definition]
end

local MAX_SHOWN = 60

local function shown(value)
  if type(value) == "string" then
    local text = ("%q"):format(#value > MAX_SHOWN and value:sub(1, MAX_SHOWN) .. "..." or value)
    return (text:gsub("\\\n", "\\n"))
  end
  local meta = getmetatable(value)
  if type(meta) == "table" and type(meta.__name) == "string" then
    return "a " .. meta.__name:gsub("^moonkeep%.", ""):lower()
  end
  if type(value) == "table" and next(value) == nil then
    return "an empty list"
  end
  local is_plain = type(value) == "number" or type(value) == "boolean" or value == nil
  return is_plain and tostring(value) or "a " .. type(value)
end

local function definition_of(name_or_definition)
  return type(name_or_definition) == "table" and name_or_definition or tables[name_or_definition]
end

local find_mistakes

local function check_key(found, definition, path, key, value)
  local index = index_of(definition)
  local entry = index.by_name[key]
  local full = path .. tostring(key)
  if not entry then
    local meant = type(key) == "string" and M.nearest(key, index.names)
    found[#found + 1] = { key = full, text = ("unknown key %s%s"):format(shown(key), meant and
      (", did you mean \"%s\"?"):format(meant) or "; it has " .. table.concat(index.names, ", ")) }
    return
  end
  local why = types[entry[2]].check(value, entry)
  if why then
    local is_told = why:find "^must not" or why:find(": see ", 1, true)
    -- what stands where a secret should may be one
    local what = entry[2] == "secret" and "a " .. type(value) or shown(value)
    found[#found + 1] = { key = full, text = ("%s %s%s"):format(full, why, is_told and "" or
      ", not " .. what) }
  elseif entry.keys and type(value) == "table" then -- some may also be a function
    find_mistakes(found, tables[entry.keys], full .. ".", value)
  end
end

function find_mistakes(found, definition, path, value)
  local keys = {}
  for key in pairs(value) do
    keys[#keys + 1] = key
  end
  table.sort(keys, function(a, b) return tostring(a) < tostring(b) end)
  for _, key in ipairs(keys) do
    check_key(found, definition, path, key, value[key])
  end
  for _, entry in ipairs(definition.keys) do
    if entry.required and value[entry[1]] == nil then
      found[#found + 1] = { key = path .. entry[1], text = path .. entry[1] .. " is missing" }
    end
  end
end

--- The mistakes in `value`: a list of { key, text }. Not raised.
function M.mistakes(definition, value, path)
  local found = {}
  find_mistakes(found, definition_of(definition), path or "", value)
  return found
end

-- One error value of mistakes that know their lines.
local function error_of(what, found)
  if #found == 1 then
    return errors.new("INVALID", ("%s: %s"):format(what, found[1].text),
      { where = found[1].where, hint = found[1].hint, mistakes = found })
  end
  local texts = {}
  for i, mistake in ipairs(found) do
    texts[i] = mistake.text
  end
  return errors.new("INVALID", ("%s has %d mistakes: %s"):format(what, #found,
    table.concat(texts, "; ")), { where = found[1].where, mistakes = found })
end

local collected -- while a recipe is being loaded: { what, mistakes }[]

--- Reports mistakes: raises INVALID, or, while loading, keeps them for later. `what` names the
--- table: "mk.job".
function M.report(what, found)
  local where = core_error.where()
  for _, mistake in ipairs(found) do
    mistake.where = mistake.where or lines.locate(where, mistake.key) or where
  end
  if not collected then
    error(error_of(what, found), 0)
  end
  for _, mistake in ipairs(found) do
    mistake.text = ("%s: %s"):format(what, mistake.text)
    collected[#collected + 1] = mistake
  end
end

--- How many mistakes of the recipe that is being loaded have been found.
function M.n_collected()
  return #collected
end

local function by_line(a, b)
  local file_a, line_a = (a.where or ""):match "^(.*):(%d+)$"
  local file_b, line_b = (b.where or ""):match "^(.*):(%d+)$"
  if file_a ~= file_b then
    return (file_a or "") < (file_b or "")
  elseif line_a ~= line_b then
    return tonumber(line_a) < tonumber(line_b)
  end
  return a.text < b.text
end

--- Calls fn, which loads a recipe, and raises one error with every mistake that was found.
function M.collecting(what, fn, ...)
  local outer = collected
  collected = {}
  local results = table.pack(xpcall(fn, errors.handler, ...))
  local found = collected
  collected = outer
  if not results[1] then
    if #found == 0 then
      error(results[2], 0)
    end
    local err = errors.of(results[2])
    found[#found + 1] = { text = err.message, where = err.where, hint = err.hint }
  end
  if #found > 0 then
    local seen, unique = {}, {}
    for _, mistake in ipairs(found) do
      local line = ("%s: %s"):format(mistake.where, mistake.text)
      if not seen[line] then
        seen[line] = true
        unique[#unique + 1] = mistake
      end
    end
    if #unique == 1 then
      error(errors.new("INVALID", unique[1].text, { where = unique[1].where,
        hint = unique[1].hint, mistakes = unique }), 0)
    end
    table.sort(unique, by_line)
    local details = {}
    for i, mistake in ipairs(unique) do
      details[i] = ("%s: %s%s"):format(mistake.where or what, mistake.text,
        mistake.hint and (" (%s)"):format(mistake.hint) or "")
    end
    error(errors.new("INVALID", ("%s has %d mistakes"):format(what, #unique),
      { detail = table.concat(details, "\n"), mistakes = unique }), 0)
  end
  return table.unpack(results, 2, results.n)
end

--- Raises INVALID unless an argument is of a type: check_argument("mk.each", "fn", "function", fn).
function M.check_argument(what, name, type_name, value)
  local why = types[type_name].check(value, {})
  if why then
    errors.raise("INVALID", ("%s: %s %s, not %s"):format(what, name, why, shown(value)))
  end
end

--- Reports every mistake in `value`. Returns whether there were none (while loading; otherwise it
--- raises). `definition`: a name in moonkeep.definitions.tables, or such a table.
function M.check(what, definition, value)
  if type(value) ~= "table" or getmetatable(value) then
    M.report(what, { { text = ("it takes a table, not %s"):format(shown(value)),
      hint = ("write it as %s { key = value, ... }"):format(what) } })
    return false
  end
  local found = M.mistakes(definition, value)
  if #found > 0 then
    M.report(what, found)
    return false
  end
  return true
end

return M
