--- Choosing entries of an archive: of its table of contents (pg/toc.lua), or of what `pg_restore
--- --list --verbose` prints, of which pg_restore takes the chosen lines with --use-list.
---
---   215; 1259 16385 TABLE public fruit postgres
---   ;       depends on: 5 6
---
--- There, names are bare, so one with blanks can be read in more than one way; owners that are known
--- from other entries decide.
local errors = require "moonkeep.errors"
local list_of = require "moonkeep.list_of"
local patterns = require "moonkeep.patterns"

local M = {}

-- Kinds of more than one word, longest first.
local KINDS = { "MATERIALIZED VIEW DATA", "TEXT SEARCH CONFIGURATION", "TEXT SEARCH DICTIONARY",
  "TEXT SEARCH TEMPLATE", "TEXT SEARCH PARSER", "PUBLICATION TABLES IN SCHEMA",
  "SEQUENCE OWNED BY", "FOREIGN DATA WRAPPER", "PROCEDURAL LANGUAGE", "DATABASE PROPERTIES",
  "MATERIALIZED VIEW", "PUBLICATION TABLE", "SUBSCRIPTION TABLE", "STATISTICS DATA",
  "OPERATOR FAMILY", "OPERATOR CLASS", "CHECK CONSTRAINT", "FK CONSTRAINT", "SECURITY LABEL",
  "FOREIGN SERVER", "FOREIGN TABLE", "EVENT TRIGGER", "ACCESS METHOD", "BLOB METADATA",
  "INDEX ATTACH", "TABLE ATTACH", "SEQUENCE SET", "USER MAPPING", "ROW SECURITY", "DEFAULT ACL",
  "TABLE DATA", "SHELL TYPE" }

-- What can be asked for by the name of a table, as with pg_restore --table.
local RELATIONS = { TABLE = true, ["TABLE DATA"] = true, VIEW = true, ["MATERIALIZED VIEW"] = true,
  ["MATERIALIZED VIEW DATA"] = true, SEQUENCE = true, ["SEQUENCE SET"] = true,
  ["FOREIGN TABLE"] = true, ["STATISTICS DATA"] = true }

-- What belongs to what it depends on.
local BELONGINGS = { INDEX = true, CONSTRAINT = true, ["CHECK CONSTRAINT"] = true,
  ["FK CONSTRAINT"] = true, TRIGGER = true, RULE = true, DEFAULT = true, SEQUENCE = true,
  ["SEQUENCE OWNED BY"] = true, ["SEQUENCE SET"] = true, ["TABLE DATA"] = true, ACL = true,
  COMMENT = true, POLICY = true, ["ROW SECURITY"] = true, STATISTICS = true,
  ["INDEX ATTACH"] = true, ["TABLE ATTACH"] = true, ["MATERIALIZED VIEW DATA"] = true,
  ["SECURITY LABEL"] = true, ["STATISTICS DATA"] = true }

local function split_kind(text)
  for _, kind in ipairs(KINDS) do
    if text:sub(1, #kind + 1) == kind .. " " then
      return kind, text:sub(#kind + 2)
    end
  end
  return text:match "^(%S+) (.*)$"
end

-- schema, name of "public fruit salad postgres".
local function split_name(rest, owners, schemas)
  local schema, named = rest:match "^(%S+) (.*)$"
  for _, known in ipairs(schemas) do -- those with blanks
    if rest:sub(1, #known + 1) == known .. " " then
      schema, named = known, rest:sub(#known + 2)
      break
    end
  end
  local best
  for at in (named or ""):gmatch "() " do
    if owners[named:sub(at + 1)] then
      best = named:sub(1, at - 1)
      break -- the longest owner that is known
    end
  end
  return schema, best or (named or ""):match "^(.*) %S*$" or named
end

--- The entries of a listing, { id, kind, schema, name, needs = { id... } }, in order.
function M.parse(listing)
  local entries, owners = {}, {}
  for line in listing:gmatch "[^\n]+" do
    local id, text = line:match "^(%d+); %d+ %d+ (.*)$"
    local needed = line:match "^;%s+depends on: (.*)$"
    if id then
      local kind, rest = split_kind(text)
      local entry = { id = tonumber(id), kind = kind, rest = rest or "", needs = {} }
      entries[#entries + 1] = entry
      local owner = entry.rest:match "^%S+ %S+ (%S+)$"
      if owner then
        owners[owner] = true
      end
    elseif needed and #entries > 0 then
      for other in needed:gmatch "%d+" do
        table.insert(entries[#entries].needs, tonumber(other))
      end
    end
  end
  local schemas = {}
  for _, entry in ipairs(entries) do
    if entry.kind == "SCHEMA" then
      local _, name = split_name(entry.rest, owners, {})
      schemas[#schemas + 1] = name:find " " and name or nil
    end
  end
  table.sort(schemas, function(a, b) return #a > #b end)
  for _, entry in ipairs(entries) do
    entry.schema, entry.name = split_name(entry.rest, owners, schemas)
  end
  return entries
end

local function is_wanted(entry, wanted)
  if not RELATIONS[entry.kind] then
    return false
  end
  for _, pattern in ipairs(wanted) do
    if patterns.matches(entry.name, pattern) or
      patterns.matches((entry.schema or "") .. "." .. entry.name, pattern) then
      return pattern
    end
  end
  return false
end

local function add_needs(chosen, by_id, entry)
  for _, id in ipairs(entry.needs) do
    local needed = by_id[id]
    if needed and not chosen[id] then
      chosen[id] = true
      add_needs(chosen, by_id, needed)
    end
  end
end

local HAS_ROWS = { TABLE = true, VIEW = true, ["MATERIALIZED VIEW"] = true, ["FOREIGN TABLE"] = true }

-- Whether an entry belongs to what is chosen: it needs some of it, and no table that is not. So the
-- trigger of a chosen table belongs (and brings its function), a foreign key to another table, or
-- the trigger of another table that calls the same function, does not.
local function belongs(entry, chosen, by_id)
  local any = false
  for _, id in ipairs(entry.needs) do
    any = any or chosen[id]
    if by_id[id] and HAS_ROWS[by_id[id].kind] and not chosen[id] then
      return false
    end
  end
  return any
end

local function add_belongings(chosen, by_id, entries)
  local n_added
  repeat
    n_added = 0
    for _, entry in ipairs(entries) do
      if not chosen[entry.id] and BELONGINGS[entry.kind] and belongs(entry, chosen, by_id) then
        chosen[entry.id] = true
        add_needs(chosen, by_id, entry)
        n_added = n_added + 1
      end
    end
  until n_added == 0
end

--- Whether an entry makes a table a partition; pg_dump 13 has no entry of its own for that.
function M.attaches(entry)
  return entry.kind == "TABLE ATTACH" or entry.kind == "TABLE" and
    (entry.create or ""):find "\nALTER TABLE ONLY .* ATTACH PARTITION " ~= nil
end

--- Whether an entry is a partitioned table; of a listing it is not known which tables are.
function M.may_have_partitions(entry)
  return entry.kind == "TABLE" and (not entry.create or
    entry.create:find("\nPARTITION BY ", 1, true) ~= nil)
end

-- The numbers of a partition and of its parent, of an entry that attaches the one to the other.
local function ends_of(entry, by_id)
  local child, parent = entry.kind == "TABLE" and entry.id or nil, nil
  for _, id in ipairs(M.attaches(entry) and entry.needs or {}) do
    local needed = by_id[id]
    if needed and needed.name == entry.name and needed.schema == entry.schema then
      child = id
    elseif needed and M.may_have_partitions(needed) then
      parent = parent or id
    end
  end
  return child, parent
end

--- The parent of each partition: { [number of its entry] = number of the parent's }.
function M.parents(entries)
  local by_id, parents = {}, {}
  for _, entry in ipairs(entries) do
    by_id[entry.id] = entry
  end
  for _, entry in ipairs(entries) do
    local child, parent = ends_of(entry, by_id)
    if child and parent then
      parents[child] = parent
    end
  end
  return parents
end

local HAS_DATA = { ["TABLE DATA"] = true, ["MATERIALIZED VIEW DATA"] = true }

-- The partitions of chosen tables, with their rows: the rows of a partitioned table are there.
local function add_partitions(chosen, by_id, entries)
  local parents, attached = M.parents(entries), {}
  for _, entry in ipairs(entries) do
    local above = parents[entry.id]
    while above and not chosen[above] do
      above = parents[above]
    end
    attached[entry.id] = above ~= nil or nil
  end
  for id in pairs(attached) do
    chosen[id] = true
  end
  for _, entry in ipairs(entries) do
    local child = ends_of(entry, by_id)
    local is_its = HAS_DATA[entry.kind] and (chosen[entry.needs[1] or -1] or
      chosen[entry.needs[2] or -1]) or M.attaches(entry) and attached[child or -1]
    chosen[entry.id] = chosen[entry.id] or is_its or nil
  end
end

--- The entries that restore the tables of a pattern, or of a list of them, in their order.
--- With `dependencies` also what they need, and what belongs to them. Raises NOT_FOUND.
function M.choose(entries, wanted, dependencies)
  wanted = list_of(wanted)
  local by_id = {}
  for _, entry in ipairs(entries) do
    by_id[entry.id] = entry
  end
  local chosen, matched, names = {}, {}, {}
  for _, entry in ipairs(entries) do
    local pattern = is_wanted(entry, wanted)
    if pattern then
      chosen[entry.id], matched[pattern] = true, true
    end
    if entry.kind == "TABLE" then
      names[#names + 1] = entry.schema .. "." .. entry.name
    end
  end
  for _, pattern in ipairs(wanted) do
    local matches = matched[pattern]
    for _, entry in ipairs(matches and {} or entries) do
      matches = matches or is_wanted(entry, { pattern })
    end
    if not matches then
      errors.raise("NOT_FOUND", ("the backup has no table %q"):format(pattern),
        { hint = "it has " .. table.concat(names, ", ", 1, math.min(#names, 20)) })
    end
  end
  add_partitions(chosen, by_id, entries)
  if dependencies then
    local roots = {}
    for id in pairs(chosen) do
      roots[#roots + 1] = by_id[id]
    end
    for _, entry in ipairs(roots) do
      add_needs(chosen, by_id, entry)
    end
    add_belongings(chosen, by_id, entries)
  end
  local list = {}
  for _, entry in ipairs(entries) do
    list[#list + 1] = chosen[entry.id] and entry or nil
  end
  return list
end

return M
