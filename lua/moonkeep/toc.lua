--- Tables of contents of pg_dump's archives, for recipes: what is in an archive, what a table needs,
--- what depends on what. See pg/toc.lua for the shape of an archive and of its entries.
local errors = require "moonkeep.errors"
local flow = require "moonkeep.flow"
local fs = require "moonkeep.fs"
local list = require "moonkeep.pg.toc_list"
local list_of = require "moonkeep.list_of"
local toc = require "moonkeep.pg.toc"

local M = { read = function(text) return (toc.read(text)) end, write = toc.write, lines = toc.lines }

-- How much of a file is looked at: more and more, until its table of contents is complete.
local FIRST_BYTES, MOST_BYTES = 1 << 20, 1 << 30
local TAR_BLOCK = 512

local function beginning(path, bytes)
  return flow.run({ { kind = "process", argv = { "head", "--bytes=" .. bytes, "--", path } },
    { kind = "text", limit = bytes, label = "text" } }).text.result
end

-- The archive at the beginning of a custom archive, or in the first file of a tar archive.
local function read_beginning(text)
  if text:sub(1, 8) == "toc.dat\0" then
    text = text:sub(TAR_BLOCK + 1)
  end
  return (toc.reader():feed(text))
end

--- The archive in a directory, a custom or a tar file. Raises NOT_FOUND, CORRUPT, UNSUPPORTED.
function M.open(path)
  local stat = fs.stat(path)
  if stat and stat.type == "directory" then
    path = path .. "/toc.dat"
  end
  local bytes = FIRST_BYTES
  while true do
    local text = beginning(path, bytes)
    local archive = read_beginning(text)
    if archive then
      return archive
    elseif #text < bytes or bytes >= MOST_BYTES then
      errors.raise("CORRUPT", path .. ": the archive ends inside its table of contents")
    end
    bytes = bytes * 16
  end
end

--- The entries that restore tables, `name` or `schema.name` with * and ?; with `dependencies` also
--- what they need and what belongs to them.
function M.choose(archive, tables, dependencies)
  return list.choose(archive.entries, list_of(tables), dependencies)
end

--- Entries in an order in which each comes after what it depends on; otherwise as they are. Raises
--- INVALID when some depend on each other.
function M.order(entries)
  local by_id, state, ordered = {}, {}, {}
  for _, entry in ipairs(entries) do
    by_id[entry.id] = entry
  end
  -- Without recursion: a chain of dependencies may be as long as the archive.
  for _, first in ipairs(entries) do
    local stack = { { first, 0 } }
    while #stack > 0 and state[first] ~= "done" do
      local frame = stack[#stack]
      local entry = frame[1]
      state[entry] = "open"
      frame[2] = frame[2] + 1
      local needed = by_id[entry.needs[frame[2]] or 0]
      if frame[2] > #entry.needs then
        state[entry] = "done"
        ordered[#ordered + 1] = entry
        stack[#stack] = nil
      elseif needed and state[needed] == "open" then
        errors.raise("INVALID", ("the entries %d and %d depend on each other"):format(entry.id,
          needed.id))
      elseif needed and not state[needed] then
        stack[#stack + 1] = { needed, 0 }
      end
    end
  end
  return ordered
end

return M
