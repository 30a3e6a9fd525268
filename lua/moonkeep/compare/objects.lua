--- What differs between the objects of two tables of contents: everything that pg_dump writes SQL for,
--- by kind and name. Dumps of equal databases have the same SQL for each.
local M = {}

-- Entries of data, and such as say how the archive is to be read.
local LEFT_OUT = { ["TABLE DATA"] = true, BLOBS = true, ENCODING = true, STDSTRINGS = true,
  SEARCHPATH = true, DATABASE = true, ["DATABASE PROPERTIES"] = true, ["STATISTICS DATA"] = true }

-- Of the database itself: properties, which both sides have beside their tables of contents.
local function is_of_database(entry)
  return entry.name:find "^DATABASE " and (entry.kind == "ACL" or entry.kind == "COMMENT" or
    entry.kind == "SECURITY LABEL")
end

local function key_of(entry)
  -- grants and comments have the kind of their object in their name
  local schema = entry.schema
  if schema and schema:find(".", 1, true) then
    schema = ('"%s"'):format(schema)
  end
  return ("%s %s%s"):format(entry.kind, schema and schema .. "." or "", entry.name)
end

-- pg_dump lists the roles of a policy in the order in which they were created on that server.
local function sort_roles(text)
  local head, list, tail = text:match "^(.- TO )(.-)( USING .*)$"
  if not head then
    head, list, tail = text:match "^(.- TO )(.-)( WITH CHECK .*)$"
  end
  if not head then
    head, list, tail = text:match "^(.- TO )(.-)(;.*)$"
  end
  local roles = {}
  for role in (list or ""):gmatch "[^,]+" do
    roles[#roles + 1] = role:match "^%s*(.-)%s*$"
  end
  table.sort(roles)
  return head and head .. table.concat(roles, ", ") .. tail or text
end

-- All that an entry says of its object.
local function text_of(entry)
  local create = entry.create or ""
  if entry.kind == "POLICY" then
    create = sort_roles(create)
  end
  return table.concat({ create, "owner: " .. (entry.owner or ""),
    "tablespace: " .. (entry.tablespace or ""), "access method: " .. (entry.access_method or "") },
    "\n")
end

-- By key; several of the same (operators of other types) are one text.
local function by_key(entries)
  local found = {}
  for _, entry in ipairs(entries) do
    if not LEFT_OUT[entry.kind] and not entry.has_data and not is_of_database(entry) then
      local key = key_of(entry)
      found[key] = found[key] or {}
      table.insert(found[key], text_of(entry))
    end
  end
  for key, texts in pairs(found) do
    table.sort(texts)
    found[key] = table.concat(texts, "\n")
  end
  return found
end

-- The first line that differs, of each.
local function first_difference(a, b)
  local lines = {}
  for line in b:gmatch "[^\n]*" do
    lines[#lines + 1] = line
  end
  local i = 0
  for line in a:gmatch "[^\n]*" do
    i = i + 1
    if line ~= lines[i] then
      return line:match "^%s*(.-)%s*$", (lines[i] or ""):match "^%s*(.-)%s*$"
    end
  end
  return "", lines[i + 1] or ""
end

--- Compares; report(what, text) is called for each difference. Returns the number of objects of the
--- first side.
function M.compare(a, b, report)
  local left, right, n = by_key(a.entries), by_key(b.entries), 0
  for key, text in pairs(left) do
    n = n + 1
    if not right[key] then
      report(key, "is missing in the second")
    elseif right[key] ~= text then
      local one, other = first_difference(text, right[key])
      report(key, ("differs: %s; in the second: %s"):format(one ~= "" and one or "(nothing)",
        other ~= "" and other or "(nothing)"))
    end
  end
  for key in pairs(right) do
    if not left[key] then
      report(key, "is only in the second")
    end
  end
  return n
end

return M
