--- Content sums: how many rows (or large objects), how many bytes, and their content hash; as flows
--- report them, "BYTES:ROWS:HASH" (runtime/codec/content_hash.h). The sums of parts add up to that of
--- the whole.
local M = {}

local Sum = {}
Sum.__index = Sum

--- The sum of nothing: { bytes, rows, hash }.
function M.new()
  return setmetatable({ bytes = 0, rows = 0, hash = ("0"):rep(32) }, Sum)
end

--- Reads "BYTES:ROWS:HASH".
function M.parse(text)
  local bytes, rows, hash = text:match "^(%d+):(%d+):(%x+)$"
  return setmetatable({ bytes = math.tointeger(tonumber(bytes)),
    rows = math.tointeger(tonumber(rows)), hash = hash }, Sum)
end

--- The sums of the files of an archive, as the digest `rows` of a pack tells them: a map by name, of
--- texts.
function M.by_member(text)
  local found = {}
  for member, sum in text:gmatch "(%S+) (%S+)\n" do
    found[member] = sum
  end
  return found
end

-- Two halves, each modulo 2^64.
local function add_hashes(a, b)
  local high = tonumber(a:sub(1, 16), 16) + tonumber(b:sub(1, 16), 16)
  local low = tonumber(a:sub(17), 16) + tonumber(b:sub(17), 16)
  return ("%016x%016x"):format(high, low)
end

--- Adds another sum, or its text.
function Sum:add(other)
  if type(other) == "string" then
    other = M.parse(other)
  end
  self.bytes, self.rows = self.bytes + other.bytes, self.rows + other.rows
  self.hash = add_hashes(self.hash, other.hash)
end

--- The text of a sum, or of what a manifest keeps of one.
function M.text(sum)
  return ("%d:%d:%s"):format(sum.bytes, sum.rows or sum.count, sum.hash)
end
Sum.text = M.text

return M
