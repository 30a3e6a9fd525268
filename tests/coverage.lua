-- lua5.4 tests/coverage.lua INFO PAGE: puts the lines that ran, by room of runtime/, into the page,
-- between its two markers. INFO is lcov's.
local info, page = ...

local rooms, order = {}, {}

local function room_of(file)
  return file:match "/runtime/(%w+)/" or "main.c"
end

local room
for line in io.lines(info) do
  local file = line:match "^SF:(.*)"
  if file then
    local name = room_of(file)
    if not rooms[name] then
      rooms[name] = { lines = 0, hit = 0 }
      order[#order + 1] = name
    end
    room = rooms[name]
  end
  local field, count = line:match "^(L[FH]):(%d+)"
  local key = field == "LF" and "lines" or field == "LH" and "hit"
  if key then
    room[key] = room[key] + tonumber(count)
  end
end
table.sort(order)

local out, lines, hit = { "| room | lines | run |", "|---|---|---|" }, 0, 0
for _, name in ipairs(order) do
  local r = rooms[name]
  out[#out + 1] = ("| `%s` | %d | %.1f %% |"):format(name, r.lines, 100 * r.hit / r.lines)
  lines, hit = lines + r.lines, hit + r.hit
end
out[#out + 1] = ("| all | %d | **%.1f %%** |"):format(lines, 100 * hit / lines)

local file = assert(io.open(page))
local text = file:read "a"
file:close()
local from, to = "<!-- coverage -->\n", "<!-- end of coverage -->"
local _, first = text:find(from, 1, true)
local last = text:find(to, 1, true)
file = assert(io.open(page, "w"))
file:write(text:sub(1, first), table.concat(out, "\n"), "\n", text:sub(last))
file:close()
print(("%.1f %% of %d lines"):format(100 * hit / lines, lines))
