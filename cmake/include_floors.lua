-- The include-floor lint: lua5.4 cmake/include_floors.lua
--
-- Floors include only downwards, siblings don't include each other, and each foreign library is
-- known to the rooms that wrap it and to nobody else. docs/internals/house.md has the picture.

local FLOOR = { base = 0, buf = 1, codec = 1, loop = 2, pg = 3, http = 3, db = 3, flow = 4, sched = 5,
  bind = 6, host = 7 }

-- header pattern -> rooms that may include it
local FOREIGN = {
  ["^uv%.h$"] = { "loop", "flow" },
  ["^lua%.h$"] = { "sched", "bind", "host" },
  ["^lauxlib%.h$"] = { "sched", "bind", "host" },
  ["^lualib%.h$"] = { "host" },
  ["^libpq%-fe%.h$"] = { "pg" },
  ["^curl/"] = { "http" },
  ["^expat%.h$"] = { "bind" },
  ["^sqlite3%.h$"] = { "db" },
  ["^zlib%.h$"] = { "codec" },
  ["^isa%-l%.h$"] = { "codec" },
  ["^zstd.*%.h$"] = { "codec" },
  ["^lz4.*%.h$"] = { "codec" },
  ["^xxhash%.h$"] = { "codec" },
  ["^openssl/"] = { "codec", "pg" }, -- pg asks what libpq's TLS holds back
  ["^jansson%.h$"] = { "bind", "host" },
}

local mistakes = 0
local function mistake(file, line, text)
  io.stderr:write(("%s:%d: %s\n"):format(file, line, text))
  mistakes = mistakes + 1
end

local function contains(list, item)
  for _, entry in ipairs(list) do
    if entry == item then
      return true
    end
  end
  return false
end

local function check_own(file, number, room, target)
  local other = target:match "^([%w_]+)/"
  if not FLOOR[other] then
    mistake(file, number, ("%s is in no room of the house"):format(target))
  elseif other ~= room and FLOOR[other] >= FLOOR[room] then
    mistake(file, number, ("%s (floor %d) must not include %s (floor %d)"):format(room,
      FLOOR[room], target, FLOOR[other]))
  elseif target:match "_impl%.h$" and other ~= room and room .. other ~= "flowloop" then
    mistake(file, number, ("%s is for %s only"):format(target, other))
  end
end

local function check_foreign(file, number, room, target)
  for pattern, rooms in pairs(FOREIGN) do
    if target:match(pattern) and not contains(rooms, room) then
      mistake(file, number, ("%s must not include <%s>: that is for %s"):format(room, target,
        table.concat(rooms, ", ")))
    end
  end
end

local files = 0
for file in io.popen("find runtime -mindepth 2 -name '*.[ch]'"):lines() do
  files = files + 1
  local room, number = file:match "^runtime/(%w+)/", 0
  if not FLOOR[room] then
    mistake(file, 1, ("there is no room %s"):format(room))
  end
  for line in io.lines(file) do
    number = number + 1
    local own = line:match '^%s*#%s*include%s+"([^"]+)"'
    local foreign = line:match "^%s*#%s*include%s+<([^>]+)>"
    if own and FLOOR[room] then
      check_own(file, number, room, own)
    elseif foreign then
      check_foreign(file, number, room, foreign)
    end
  end
end

if files == 0 then
  mistake("runtime", 1, "no files found")
end
os.exit(mistakes == 0 and 0 or 1)
