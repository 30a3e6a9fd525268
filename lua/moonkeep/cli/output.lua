--- What commands print: tables for people, JSON for programs.
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
  log.show("%s", json.encode(document, true))
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

-- Characters, not bytes; text that is no UTF-8 counts bytes.
local function width(text)
  local bare = text:gsub("\27%[%d*m", "")
  return utf8.len(bare) or #bare
end

--- Prints rows in columns. `heads`: their names; those that begin with ">" are set to the right.
function M.table(heads, rows)
  local widths, right = {}, {}
  for i, head in ipairs(heads) do
    right[i] = head:sub(1, 1) == ">"
    heads[i] = head:gsub("^>", "")
    widths[i] = width(heads[i])
  end
  for _, row in ipairs(rows) do
    for i, cell in ipairs(row) do
      widths[i] = math.max(widths[i], width(cell))
    end
  end
  local function line(row, color)
    local cells = {}
    for i, cell in ipairs(row) do
      local gap = (" "):rep(widths[i] - width(cell))
      cells[i] = right[i] and gap .. cell or cell .. gap
    end
    local text = table.concat(cells, "  "):gsub("%s+$", "")
    log.show("%s", color and M.paint(color, text) or text)
  end
  line(heads, "bold")
  for _, row in ipairs(rows) do
    line(row)
  end
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
  return id:match "%-(%x+)$" or id
end

return M
