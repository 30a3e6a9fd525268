--- Large objects lie in pieces: `<object>`, `<object>.2`, `<object>.3` ..., each of the job's
--- `piece_size` bytes but the last, which is not empty. Joined, they are the object, whose size and
--- SHA-256 the manifest has. So no stored file is larger than file systems and services take: those
--- that allow 1,000 parts of 16 MiB among them.
local units = require "moonkeep.units"

local M = {}

--- What parts of an upload are: a larger piece is a multiple of it.
M.PART_BYTES = 16 << 20

M.STANDARD = "15GiB"

--- A `piece_size` in bytes.
function M.bytes(size)
  local bytes = units.size(size or M.STANDARD)
  return bytes < M.PART_BYTES and bytes or bytes - bytes % M.PART_BYTES
end

--- How many pieces an object of a manifest lies in.
function M.count(object)
  local bytes = object.piece_size
  return bytes and math.max(1, (object.size + bytes - 1) // bytes) or 1
end

--- What a piece is called, by its number from 1 on. (Also mk_file_piece of runtime/loop/file.h.)
function M.name(object_name, number)
  return number == 1 and object_name or ("%s.%d"):format(object_name, number)
end

--- The names of all pieces of an object.
function M.names(object)
  local names = {}
  for i = 1, M.count(object) do
    names[i] = M.name(object.name, i)
  end
  return names
end

return M
