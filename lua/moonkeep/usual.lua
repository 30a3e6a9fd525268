--- What is usual for the backups of a series: the median of the seven before, from three on; and what is
--- far from it. The thresholds are the job's `unusual`, in percent of what is usual.
local units = require "moonkeep.units"

local M = {}

--- So many before a backup say what is usual.
M.COUNT = 7
local MIN = 3
local BELOW, ABOVE = 50, 200

--- The median of the first COUNT values; nil when there are too few.
function M.median(values)
  local first = table.move(values, 1, math.min(#values, M.COUNT), 1, {})
  if #first < MIN then
    return nil
  end
  table.sort(first)
  return first[(#first + 1) // 2]
end

--- What is usual after a list of backups { size, seconds }, newest first: { size, seconds }, or nil.
function M.of(backups)
  local sizes, seconds = {}, {}
  for i = 1, math.min(#backups, M.COUNT) do
    sizes[#sizes + 1] = backups[i].size
    seconds[#seconds + 1] = backups[i].seconds
  end
  local size = M.median(sizes)
  return size and { size = size, seconds = M.median(seconds) }
end

--- What is unusual about a backup { database, size, seconds }: a list of texts. `limits`: { below,
--- above, slower }, or nil.
function M.problems(backup, usual, limits)
  local found = {}
  limits = limits or {}
  if usual and usual.size > 0 then
    local percent = backup.size * 100 / usual.size
    if percent < (limits.below or BELOW) or percent > (limits.above or ABOVE) then
      found[1] = ("the size of %s, %s, is far from the usual %s"):format(backup.database,
        units.format_size(backup.size), units.format_size(usual.size))
    end
  end
  if limits.slower and usual and usual.seconds and backup.seconds and
    backup.seconds * 100 > usual.seconds * limits.slower then
    found[#found + 1] = ("the dump of %s took %s, usually %s"):format(backup.database,
      units.format_duration(math.max(1, backup.seconds * 1000 // 1 | 0)),
      units.format_duration(math.max(1, usual.seconds * 1000 // 1 | 0)))
  end
  return found
end

return M
