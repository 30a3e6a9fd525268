--- Comparing two databases, or a database and a backup: objects, rows, large objects, properties of the
--- database, extensions, roles.
---
--- Rows are compared by their number and their content hash (runtime/codec/content_hash.h), each side
--- in one snapshot. Between major versions the text of a value may be another, and so may pg_dump's
--- SQL: then the result says so.
local keys = require "moonkeep.compare.keys"
local merge = require "moonkeep.merge"
local objects = require "moonkeep.compare.objects"
local side = require "moonkeep.compare.side"
local types = require "moonkeep.definitions.types"

local M = {}

local MAX_KEYS = 5 -- of a table whose rows differ

local function count(map)
  local n = 0
  for _ in pairs(map) do
    n = n + 1
  end
  return n
end

-- ---- sides ----------------------------------------------------------------------------------------

--- Reads what is to be compared: each is a source, or a backup. SQL is written by the same pg_dump,
--- where that is possible: the newer of the two; money in the same locale. Returns both sides.
function M.read(a, b, jobs)
  local a_is, b_is = not types.source.check(a), not types.source.check(b)
  local newer = a_is and b_is and math.max(side.major(a), side.major(b)) or nil
  local function read(what, is_source, other)
    return is_source and side.of_database(what, { jobs = jobs, pg_dump = newer,
      lc_monetary = other and other.lc_monetary }) or side.of_backup(what)
  end
  if a_is and not b_is then
    local right = read(b, b_is)
    return read(a, a_is, right), right
  end
  local left = read(a, a_is)
  return left, read(b, b_is, left)
end

-- ---- rows -----------------------------------------------------------------------------------------

-- The { schema, name } of a table that both sides can be asked about.
local function find_table(a, b, name)
  for _, entry in ipairs(a.source and b.source and a.entries or {}) do
    if entry.kind == "TABLE" and side.name(entry) == name then
      return entry
    end
  end
end

local function differing_keys(a, b, name)
  local t = find_table(a, b, name)
  return t and keys.first(a.source, b.source, t, MAX_KEYS)
end

-- Whether rows with other hashes are the same all the same: some may only have gone to another
-- partition, where their columns are in another order. Then the servers are asked; of a backup, it has
-- to do that they are as many.
local function only_moved(a, b, name)
  if not a.movable[name] then
    return false
  end
  local t = find_table(a, b, name)
  return not t or keys.sum(a.source, t) == keys.sum(b.source, t)
end

-- Rows that only one side has, of a table that both have: a backup may have been made without them.
local function compare_presence(a, b, report)
  local function look(one, other, what)
    local exists = {}
    for _, entry in ipairs(other.entries) do
      exists[side.name(entry)] = exists[side.name(entry)] or entry.kind == "TABLE"
    end
    for name in pairs(one.tables) do
      if not other.tables[name] and exists[name] then
        report("rows", name, ("the %s has none of its rows"):format(what))
      end
    end
  end
  look(a, b, "second")
  look(b, a, "first")
end

local function compare_rows(a, b, report)
  local n_rows = 0
  compare_presence(a, b, report)
  for name, left in pairs(a.tables) do
    local right = b.tables[name]
    n_rows = n_rows + left.rows
    if right and (left.rows ~= right.rows or
      left.hash ~= right.hash and not only_moved(a, b, name)) then
      report("rows", name, left.rows ~= right.rows and
        ("%d rows, in the second %d"):format(left.rows, right.rows) or
        ("the same number of rows (%d), but other values"):format(left.rows),
        differing_keys(a, b, name))
    end
  end
  local left, right = a.large_objects or { count = 0 }, b.large_objects or { count = 0 }
  if left.count ~= right.count or left.hash ~= right.hash then
    report("rows", "large objects", left.count ~= right.count and
      ("%d, in the second %d"):format(left.count, right.count) or "other bytes")
  end
  return n_rows
end

-- ---- the database ---------------------------------------------------------------------------------

local PROPERTIES = { "encoding", "collate", "ctype", "locale_provider", "locale", "icu_rules", "owner",
  "comment", "connection_limit", "is_template", "tablespace" }

-- Lists of what belongs to a database, as a set of texts.
local function texts_of(list, format)
  local set = {}
  for _, item in ipairs(list or {}) do
    set[format(item)] = true
  end
  return set
end

local function compare_sets(what, left, right, report)
  for text in pairs(left) do
    if not right[text] then
      report("database", what, ("%s is missing in the second"):format(text))
    end
  end
  for text in pairs(right) do
    if not left[text] then
      report("database", what, ("%s is only in the second"):format(text))
    end
  end
end

local function grant(item)
  return ("%s to %s%s"):format(item.privilege, item.role, item.grantable and " with grant option" or
    "")
end

local function setting(item)
  return (item.role and "of role " .. item.role .. ": " or "") .. item.setting
end

local function compare_properties(a, b, report)
  for _, key in ipairs(PROPERTIES) do
    local left, right = a.properties[key], b.properties[key]
    if left ~= right then
      report("database", key, ("%s, in the second %s"):format(tostring(left), tostring(right)))
    end
  end
  compare_sets("grant", texts_of(a.properties.acl, grant), texts_of(b.properties.acl, grant), report)
  compare_sets("setting", texts_of(a.properties.settings, setting),
    texts_of(b.properties.settings, setting), report)
end

local function compare_extensions(a, b, report)
  local versions = {}
  for _, extension in ipairs(b.properties.extensions or {}) do
    versions[extension.name] = extension.version
  end
  for _, extension in ipairs(a.properties.extensions or {}) do
    local other = versions[extension.name]
    if other and other ~= extension.version then -- one that is missing is an object that is
      report("extension", extension.name, ("version %s, in the second %s"):format(extension.version,
        other))
    end
  end
end

-- Of a backup only their names are known.
local function compare_roles(a, b, report)
  local by_name = merge(a.roles, b.roles)
  for name in pairs(by_name) do
    local left, right = a.roles[name], b.roles[name]
    if not left or not right then
      report("role", name, ("nothing in the %s belongs to it, or names it"):format(left and "second" or
        "first"))
    end
    local is_known = left and right and next(left) and next(right)
    for key in pairs(is_known and merge(left, right) or {}) do
      if left[key] ~= right[key] then
        report("role", name, ("%s is %s, in the second %s"):format(key, left[key] or "not set",
          right[key] or "not set"))
      end
    end
  end
end

-- ---- all of it ------------------------------------------------------------------------------------

local ORDER = { object = 1, rows = 2, database = 3, extension = 4, role = 5 }

-- Why a result is only advice; nil: it is more.
local function advisory(a, b)
  if a.major ~= b.major then
    return ("the first is of version %d, the second of %d: SQL and values may be written in another way")
      :format(a.major, b.major)
  elseif a.foreign or b.foreign then
    return "the dump was imported, and its values may be written in another way (times of another zone)"
  end
end

--- Compares two sides. Returns { equal, differences = { { what, name, text, keys } ... }, objects,
--- tables, rows, advisory }: what was compared of the first, and why the result is only advice, if
--- it is.
function M.sides(a, b)
  local differences = {}
  local function report(what, name, text, first_keys)
    differences[#differences + 1] = { what = what, name = name, text = text, keys = first_keys }
  end
  local n_objects = objects.compare(a, b, function(name, text) report("object", name, text) end)
  local n_rows = compare_rows(a, b, report)
  compare_properties(a, b, report)
  compare_extensions(a, b, report)
  compare_roles(a, b, report)
  table.sort(differences, function(left, right)
    if left.what ~= right.what then
      return ORDER[left.what] < ORDER[right.what]
    elseif left.name ~= right.name then
      return left.name < right.name
    end
    return left.text < right.text
  end)
  return { equal = #differences == 0, differences = differences, objects = n_objects,
    tables = count(a.tables), rows = n_rows, advisory = advisory(a, b) }
end

-- A difference in one line.
local function line_of(difference)
  local first = difference.keys and difference.keys[1] and
    (" (first: %s)"):format(table.concat(difference.keys, "; ")) or ""
  return ("%s %s: %s%s"):format(difference.what, difference.name, difference.text, first)
end

--- The differences of these kinds (a set; default: all), a line each.
function M.lines(result, kinds)
  local lines = {}
  for _, difference in ipairs(result.differences) do
    if not kinds or kinds[difference.what] then
      lines[#lines + 1] = line_of(difference)
    end
  end
  return lines
end

return M
