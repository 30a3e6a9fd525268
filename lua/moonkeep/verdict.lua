--- Whether a backup has as many copies as it should have: see `copies` in definitions/tables.lua.
local units = require "moonkeep.units"

local M = {}

--- nil when all is well; else what makes the run a degraded one. `wanted`: { min, offsite } or nil;
--- `targets`: the stores that should have got it.
function M.of(backup, wanted, targets)
  wanted = wanted or {}
  local n_offsite = 0
  for _, store in ipairs(backup.stores) do
    n_offsite = n_offsite + (store.options.offsite and 1 or 0)
  end
  local min, offsite = wanted.min or #targets, wanted.offsite or 0
  if #backup.stores >= min and n_offsite >= offsite then
    return nil
  end
  local text = ("%s has %s of %d"):format(backup.id, units.format_count(#backup.stores, "copy"), min)
  if n_offsite < offsite then
    text = ("%s, %d of %d offsite"):format(text, n_offsite, offsite)
  end
  local parts = { text }
  for _, one in ipairs(backup.missing) do
    parts[#parts + 1] = ("store %s: %s: %s"):format(one.store.name, one.error.code, one.error.message)
  end
  return table.concat(parts, "; ")
end

return M
