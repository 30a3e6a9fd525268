--- The first keys of a table whose rows differ between two databases. Both servers sort by the text of
--- the primary key and hash each row; keys and hashes are merged here, a batch at a time, until enough
--- differences are found.
local pg = require "moonkeep.pg"
local sessions = require "moonkeep.pg.session"

local M = {}

local BATCH = 1000

-- The columns of the primary key, as text that sorts by bytes.
local KEY = [[
  SELECT pg_catalog.string_agg(pg_catalog.format('%I::text', a.attname), ', ' ORDER BY k.n)
  FROM pg_catalog.pg_index i, unnest(i.indkey::int2[]) WITH ORDINALITY AS k (attnum, n),
    pg_catalog.pg_attribute a
  WHERE i.indrelid = $1::pg_catalog.regclass AND i.indisprimary AND a.attrelid = i.indrelid
    AND a.attnum = k.attnum]]

-- A column of the alias' name would shadow it, so it is one that no column has.
local ROW = '"moonkeep: the whole row of a table"'

local Cursor = {}
Cursor.__index = Cursor

-- A cursor over { key, hash } of a table; nil when it has no primary key.
local function open(source, t)
  local connection = source:connect()
  local ok, key = pcall(function()
    sessions.pin(connection)
    connection:query "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY"
    local columns = connection:value(KEY, pg.quoted(t))
    if columns then
      connection:query(([[DECLARE moonkeep_keys NO SCROLL CURSOR FOR
        SELECT ROW(%s)::text COLLATE "C" AS key, pg_catalog.md5(%s::text) AS hash
        FROM %s AS %s ORDER BY 1]]):format(columns, ROW, pg.quoted(t), ROW))
    end
    return columns
  end)
  if ok and key then
    return setmetatable({ connection = connection, rows = {}, at = 1 }, Cursor)
  end
  connection:close()
  if not ok then
    error(key, 0)
  end
end

function Cursor:row()
  if self.at > #self.rows and not self.over then
    self.rows, self.at = self.connection:query(("FETCH %d FROM moonkeep_keys"):format(BATCH)), 1
    self.over = #self.rows == 0
  end
  return self.rows[self.at]
end

function Cursor:close()
  self.connection:close()
end
Cursor.__close = Cursor.close

--- The sum of the hashes of a table's rows, as its server has them.
function M.sum(source, t)
  local connection <close> = source:connect()
  sessions.pin(connection)
  return connection:value(("SELECT coalesce(sum(pg_catalog.hashtextextended(%s::text, 0)::numeric), " ..
    "0)::text FROM %s AS %s"):format(ROW, pg.quoted(t), ROW))
end

--- At most `limit` differences of a table { schema, name }, as text; nil when it has no primary key.
function M.first(a, b, t, limit)
  local left <close> = open(a, t)
  local right <close> = left and open(b, t)
  if not left or not right then
    return nil
  end
  local found = {}
  while #found < limit do
    local one, other = left:row(), right:row()
    if not one and not other then
      break
    elseif not other or one and one.key < other.key then
      found[#found + 1] = one.key .. " is missing in the second"
      left.at = left.at + 1
    elseif not one or other.key < one.key then
      found[#found + 1] = other.key .. " is only in the second"
      right.at = right.at + 1
    else
      if one.hash ~= other.hash then
        found[#found + 1] = one.key .. " differs"
      end
      left.at, right.at = left.at + 1, right.at + 1
    end
  end
  return found
end

return M
