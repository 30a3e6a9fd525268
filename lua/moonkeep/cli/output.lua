--- What commands print: tables for people, JSON for programs.
local core = require "moonkeep.core.columns"
local host = require "moonkeep.core.host"
local json = require "moonkeep.core.json"
local log = require "moonkeep.log"
local units = require "moonkeep.units"

local M = {}

--- The version of all JSON documents; it changes when a key changes its meaning or goes away.
M.VERSION = 1

--- Prints a document: the version, the command, and the fields.
function M.json(command, fields)
  local document = { version = M.VERSION, command = command }
  for key, value in pairs(fields) do
    -- Lists are lists also when they are empty.
    document[key] = type(value) == "table" and next(value) == nil and json.array(value) or value
  end
  log.show(json.encode(document, true))
end

local CODES = { bold = "1", dim = "2", red = "31", green = "32", yellow = "33" }

--- The text in a colour, when stdout is a terminal and NO_COLOR is not set.
function M.paint(name, text)
  local no_color = os.getenv "NO_COLOR"
  if not host.is_terminal(1) or no_color and no_color ~= "" or os.getenv "TERM" == "dumb" then
    return text
  end
  return ("\27[%sm%s\27[0m"):format(CODES[name], text)
end

local LINES_AT_ONCE = 1000 -- a line by itself is an event by itself, which takes longer than the line

--- A table to be printed: rows:add(cell, ...) adds a row, of which there may be very many. `heads`: the
--- names of its columns; those that begin with ">" are set to the right. `kinds`, by head: see
--- core.columns's new; all others are texts.
function M.rows(heads, kinds)
  local columns, names = {}, {}
  for i, head in ipairs(heads) do
    names[i] = head:gsub("^>", "")
    columns[i] = kinds and kinds[names[i]] or head:sub(1, 1) == ">" and "r" or "l"
  end
  local rows = core.new(table.concat(columns))
  rows:heads(table.unpack(names))
  return rows
end

--- The kinds of columns that tables of backups have: the first two take ids, the third bytes, or nil.
M.OF_BACKUPS = { ID = "i", CREATED = "c", SIZE = "s" }

--- Prints such a table, once.
function M.show_rows(rows)
  log.show("%s", M.paint("bold", rows:show(1)))
  local lines = rows:show(LINES_AT_ONCE)
  while lines do
    log.show(lines)
    lines = rows:show(LINES_AT_ONCE)
  end
end

--- The same of a list of rows, { cell, ... }.
function M.table(heads, list)
  local rows = M.rows(heads)
  for _, row in ipairs(list) do
    rows:add(table.unpack(row))
  end
  M.show_rows(rows)
end

--- "26h ago" of a time in seconds.
function M.age(seconds, now)
  local age = math.max(0, (now or host.wall() // 1000) - seconds)
  if age < 60 then
    return "just now"
  end
  return units.format_duration((age - age % 60) * 1000) .. " ago"
end

--- The six digits that name a backup among others.
function M.short(id)
  return id:sub(#"20261122T020000Z-" + 1)
end

return M
