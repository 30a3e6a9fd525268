--- Whether the newest backup that stores show is the newest there is. Signatures do not tell: whoever
--- can write into a store can set it back to what it once was. So there must be a witness: another
--- store, or this machine's catalog, which knows what was published (and forgets what has expired).
---
--- Of a job with `trust` a store that was set back is refused; of any other it is told.
local catalog = require "moonkeep.catalog"
local errors = require "moonkeep.errors"
local log = require "moonkeep.log"
local stores = require "moonkeep.store"
local trust = require "moonkeep.trust"

local M = {}

-- The newest of each store, of what was found of a series: { [url] = id }, and how many there are.
local function newest_by_store(items, series)
  local newest, n = {}, 0
  for _, item in ipairs(items) do
    if item.job == series.job and item.series == series.series then
      n = n + (newest[item.store.url] and 0 or 1)
      local other = newest[item.store.url]
      newest[item.store.url] = other and other > item.id and other or item.id
    end
  end
  return newest, n
end

local function refuse(found, known)
  errors.raise("ROLLED_BACK", ("the newest backup of %s that can be found is %s, but there was %s in %s")
    :format(stores.unseries(found.series), found.id, known.id, known.store), { hint =
    "the store was set back, or has lost it: look for it there, and in other stores; to take the " ..
    "older one all the same, name it by its id" })
end

--- What a store has lost: the newest backup of a series that the catalog knows to have been in it, when
--- that is newer than `id` (the newest there; nil: there is none); or nil.
function M.lost(job, series, store, id)
  local known = catalog.newest(job, series, store.url)
  return known and (not id or known.id > id) and known.id or nil
end

--- Checks that `found` ({ job, series, id }), the newest of `items` (the same with their `store`), is
--- the newest there is, as far as anybody can witness. `n_stores`: how many were looked at. Raises
--- ROLLED_BACK when it is not, and the job is one that trusts only what is signed.
function M.check(found, items, n_stores)
  local known, is_strict = catalog.newest(found.job, found.series), trust.is_required(found.job)
  if known and known.id > found.id then
    local ok, err = pcall(refuse, found, known)
    if not ok and is_strict then
      error(err, 0)
    end
    log.warn("%s; %s", err.message, err.hint)
  end
  local newest, n = newest_by_store(items, found)
  for url, id in pairs(newest) do
    if id ~= found.id then
      log.warn("%s does not have %s; the newest there is %s", url, found.id, id)
    end
  end
  if is_strict and not known and (n_stores == 1 or n == 1) then
    log.warn("nobody but the store itself says that %s is the newest: there is no other store, and " ..
      "no catalog here, to witness it", found.id)
  end
end

return M
