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
  if not text:find "[\27\128-\255]" then
    return #text
  end
  local bare = text:gsub("\27%[%d*m", "")
  return utf8.len(bare) or #bare
end

local WIDEST = 99 -- that string.format takes

-- What string.format makes a line of, where all bytes are characters.
local function format_of(widths, right)
  local parts = {}
  for i, n in ipairs(widths) do
    parts[i] = n > 0 and ("%%%s%ds"):format(right[i] and "" or "-", n) or "%s"
  end
  return table.concat(parts, "  ")
end

-- A row whose cells are of these widths, in columns.
local function line_of(row, widths, right)
  local cells = {}
  for i, cell in ipairs(row) do
    local gap = (" "):rep(widths[i] - width(cell))
    cells[i] = right[i] and gap .. cell or cell .. gap
  end
  return (table.concat(cells, "  "):gsub("%s+$", ""))
end

local LINES_AT_ONCE = 200 -- a line by itself is an event by itself, which takes longer than the line

--- Prints rows in columns. `heads`: their names; those that begin with ">" are set to the right.
function M.table(heads, rows)
  local widths, right, names = {}, {}, {}
  for i, head in ipairs(heads) do
    right[i] = head:sub(1, 1) == ">"
    names[i] = head:gsub("^>", "")
    widths[i] = width(names[i])
  end
  local is_plain, last = true, #heads
  for _, row in ipairs(rows) do
    for i, cell in ipairs(row) do
      local n = width(cell)
      is_plain = is_plain and n == #cell and (n <= WIDEST or i == last)
      widths[i] = n > widths[i] and n or widths[i]
    end
    is_plain = is_plain and #row == last
  end
  local format
  if is_plain then -- most; and many times faster
    widths[last] = right[last] and widths[last] or 0
    format = widths[last] <= WIDEST and format_of(widths, right) or nil
  end
  log.show("%s", M.paint("bold", line_of(names, widths, right)))
  local lines = {}
  for i, row in ipairs(rows) do
    lines[#lines + 1] = format and (format:format(table.unpack(row)):gsub("%s+$", "")) or
      line_of(row, widths, right)
    if #lines == LINES_AT_ONCE or i == #rows then
      log.show("%s", table.concat(lines, "\n"))
      lines = {}
    end
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
