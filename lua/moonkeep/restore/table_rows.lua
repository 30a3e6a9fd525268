--- The rows of one table of a directory backup, as text: straight from the objects that hold them, with
--- no server. What is read is compared with the manifest as it passes, so damage is told at the end.
local contents = require "moonkeep.restore.contents"
local core_task = require "moonkeep.core.task"
local errors = require "moonkeep.errors"
local flow = require "moonkeep.flow"
local meters = require "moonkeep.meter"
local log = require "moonkeep.log"
local spec = require "moonkeep.spec"
local sums = require "moonkeep.dump.sums"
local toc_list = require "moonkeep.pg.toc_list"
local verify = require "moonkeep.verify"
local work = require "moonkeep.restore.work"

local M = {}

-- ---- which table --------------------------------------------------------------------------------

-- Rows of a table that the archive does not create (an extension's) are there without it.
local TABLES = { TABLE = true, ["TABLE DATA"] = true }

-- The entries of tables that are meant by `name` or `schema.name`, one of each.
local function find_entries(archive, name)
  local found, names, seen = {}, {}, {}
  for _, entry in ipairs(archive.entries) do
    local key = TABLES[entry.kind] and entry.schema .. "." .. entry.name
    if key and not seen[key] then
      seen[key] = true
      local full = entry.schema .. "." .. entry.name
      names[#names + 1], names[#names + 2] = full, entry.name
      if full == name or entry.name == name then
        found[#found + 1] = entry
      end
    end
  end
  return found, names
end

local function find_table(archive, name)
  local found, names = find_entries(archive, name)
  if #found == 0 then
    errors.raise("NOT_FOUND", ("the backup has no table %q%s"):format(name,
      spec.suggestion(name, names)), { hint = "see: moonkeep ls" })
  elseif #found > 1 then
    local full = {}
    for i, entry in ipairs(found) do
      full[i] = entry.schema .. "." .. entry.name
    end
    errors.raise("USAGE", ("there are several tables %q: say which"):format(name),
      { hint = "one of: " .. table.concat(full, ", ") })
  end
  return found[1]
end

-- A table and all partitions below it.
local function with_partitions(archive, entry)
  local parents, list = toc_list.parents(archive.entries), { entry }
  for _, other in ipairs(archive.entries) do
    local above = parents[other.id]
    while above and above ~= entry.id do
      above = parents[above]
    end
    list[#list + 1] = above and other or nil
  end
  return list
end

-- ---- columns ------------------------------------------------------------------------------------

-- The names in "COPY public.t (a, "b c") FROM stdin;", with and without quotes.
local function columns_of(copy)
  local bare = (copy or ""):gsub('"[^"]*"', function(name) return ("x"):rep(#name) end)
  local first = bare:find("(", 1, true) -- not one of a name
  local list = first and (copy:sub(first + 1):match "^(.*)%) FROM stdin;\n$") or ""
  local names, at = {}, 1
  while at <= #list do
    local quoted = list:match('^"[^"]*"', at)
    while quoted and list:sub(at + #quoted, at + #quoted) == '"' do -- "" is one quote
      quoted = quoted .. list:match('^"[^"]*"', at + #quoted)
    end
    local name = quoted or list:match("^[^,]+", at)
    names[#names + 1] = quoted and quoted:sub(2, -2):gsub('""', '"') or name
    at = at + #name + 2
  end
  return names, list
end

-- The data entries of these tables, in order, and their columns, which must be the same.
local function data_of(archive, tables)
  local list, columns, text = {}, nil, nil
  for _, entry in ipairs(tables) do
    for _, data in ipairs(archive.entries) do
      if data.kind == "TABLE DATA" and data.has_data and data.schema == entry.schema and
        data.name == entry.name then
        local names, its = columns_of(data.copy)
        if text and text ~= its then
          errors.raise("UNSUPPORTED", ("the partition %s.%s has its columns in another order than " ..
            "the others"):format(entry.schema, entry.name), { hint = "ask for one partition at a time" })
        end
        columns, text = names, its
        list[#list + 1] = data
      end
    end
  end
  return list, columns or {}
end

-- The only column of a table's primary key; nil: it has none, or of several.
local function key_of(archive, entry)
  for _, constraint in ipairs(archive.entries) do
    local list = constraint.kind == "CONSTRAINT" and constraint.create:match "PRIMARY KEY (%b())"
    local is_its = false
    for _, id in ipairs(list and constraint.needs or {}) do
      is_its = is_its or id == entry.id
    end
    local names = is_its and columns_of(("COPY t %s FROM stdin;\n"):format(list)) or {}
    if #names == 1 then
      return names[1]
    end
  end
end

local ESCAPES = { ["\b"] = "\\b", ["\f"] = "\\f", ["\n"] = "\\n", ["\r"] = "\\r", ["\t"] = "\\t",
  ["\v"] = "\\v", ["\\"] = "\\\\" }

-- "id=42", or "42" of the primary key, as { number of the column, text as COPY writes it }.
local function condition(text, columns, key)
  local name, value = text:match "^([^=]+)=(.*)$"
  local is_column = false
  for _, column in ipairs(columns) do
    is_column = is_column or column == name
  end
  if not is_column then
    if name and name:find "^[%a_][%w_]*$" then
      errors.raise("USAGE", ("the table has no column %q"):format(name),
        { hint = "it has " .. table.concat(columns, ", ") })
    elseif not key then
      errors.raise("USAGE", ("%q names no column, and the table has no primary key of one column")
        :format(text), { hint = "say which: COLUMN=" .. text })
    end
    name, value = key, text
  end
  for i, column in ipairs(columns) do
    if column == name then
      return { i, (value:gsub("[\b\f\n\r\t\v\\]", ESCAPES)) }
    end
  end
  errors.raise("UNSUPPORTED", ("the values of the key %q are not in the backup: it is generated"):format(
    name), { hint = "say another column: COLUMN=VALUE" })
end

-- ---- rows ---------------------------------------------------------------------------------------

local function check(backup, store, part, name, report)
  local found = report.sum.result
  found = part.member and sums.by_member(found)[part.member] or found
  if found ~= part.sum then
    errors.raise("CORRUPT", ("%s in store %s: %s: the rows of %s are not those that were dumped")
      :format(backup.id, store.name, part.object, name), { hint =
      "do not use what has been written; take an older backup, or another store's" })
  end
end

local function write_part(backup, store, part, name, options, meter)
  local object
  for _, one in ipairs(backup.manifest.objects) do
    object = one.name == part.object and one or object
  end
  local report = verify.unpack(backup, store, object, { kind = "tee",
    { { kind = "rows", packed = part.member ~= nil, label = "sum" } },
    { { kind = "table_rows", member = part.member, csv = options.csv, where = options.where },
      options.sink() } }, meter)
  check(backup, store, part, name, report)
end

local function csv_line(names)
  local cells = {}
  for i, name in ipairs(names) do
    cells[i] = name:find '[,"\n\r]' and '"' .. name:gsub('"', '""') .. '"' or name
  end
  return table.concat(cells, ",") .. "\n"
end

--- Writes the rows of a table, and of its partitions. `options`: where = { "COLUMN=VALUE" or "VALUE" of
--- the primary key... }, all of which must fit; csv (with a line of names; else COPY's text format);
--- sink: a function that makes the end of a flow, each of which goes on where the one before has
--- stopped. Raises NOT_FOUND, USAGE, CORRUPT.
function M.write(backup, store, name, options)
  local archive = contents.archive(backup, store)
  local tables = with_partitions(archive, find_table(archive, name))
  local with_rows, columns = data_of(archive, tables)
  local how = { csv = options.csv and #columns > 0, sink = options.sink, where = {} }
  for i, text in ipairs(options.where or {}) do
    how.where[i] = condition(text, columns, key_of(archive, tables[1]))
  end
  if options.csv then
    flow.run { { kind = "memory", text = csv_line(columns) }, options.sink() }
  end
  local meter = meters.new("reading " .. name)
  local shown <close> = core_task.scope()
  shown:spawn(meter.show, meter)
  if #with_rows == 0 then
    log.warn("the backup has no rows of %s", name)
  end
  local parts = work.parts_of(backup.manifest)
  for _, entry in ipairs(with_rows) do
    local part = parts[entry.file]
    if not part then
      errors.raise("CORRUPT", ("the manifest is damaged: it does not know the rows of %s"):format(
        entry.name))
    end
    write_part(backup, store, part, entry.schema .. "." .. entry.name, how, meter)
  end
end

return M
