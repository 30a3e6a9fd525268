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

-- The newest of a series in each store, of what was found: { [url] = id }.
local function newest_by_store(items, series)
  local newest = {}
  for _, item in ipairs(items) do
    if item.job == series.job and item.series == series.series then
      local other = newest[item.store.url]
      newest[item.store.url] = other and other > item.id and other or item.id
    end
  end
  return newest
end

--- What a store has lost: the newest backup of a series that the catalog knows to have been in it, when
--- that is newer than `id` (the newest there; nil: there is none); or nil.
function M.lost(job, series, url, id)
  local known = catalog.newest(job, series, url)
  return known and (not id or known > id) and known or nil
end

local function refuse(found, lost, where, is_strict)
  local err = errors.new("ROLLED_BACK", ("the newest backup of %s that can be found is %s, but there " ..
    "was %s in %s"):format(stores.unseries(found.series), found.id, lost, table.concat(where, " and ")),
    { hint = ("it was set back, or has lost it: look for it there, and in other stores; to take the " ..
    "older one all the same, name it: %s; and if it was removed on purpose: moonkeep catalog " ..
    "rebuild"):format(found.id) })
  if is_strict then
    error(err, 0)
  end
  log.warn("%s; %s", err.message, err.hint)
end

--- Checks that `found` ({ job, series, id }), the newest of `items` (the same with their `store`), is
--- the newest there is, as far as anybody can witness. `urls`: the stores that were looked at. Raises
--- ROLLED_BACK when it is not, and the job is one that trusts only what is signed.
function M.check(found, items, urls)
  local newest, is_strict = newest_by_store(items, found), trust.is_required(found.job)
  local lost, where, is_known = nil, {}, false
  for _, url in ipairs(urls) do
    local one = catalog.newest(found.job, found.series, url)
    is_known = is_known or one ~= nil
    if one and one > found.id and (not lost or one >= lost) then
      where = one == lost and where or {}
      lost, where[#where + 1] = one, url
    elseif one == found.id and newest[url] ~= found.id then
      log.warn("%s has lost %s, or was set back: the newest there is %s", url, found.id,
        newest[url] or "none")
    elseif newest[url] and newest[url] ~= found.id then
      log.warn("%s does not have %s; the newest there is %s", url, found.id, newest[url])
    end
  end
  if lost then
    refuse(found, lost, where, is_strict)
  elseif is_strict and not is_known and #urls == 1 then
    log.warn("nobody but the store itself says that %s is the newest: there is no other store, and " ..
      "no catalog here, to witness it", found.id)
  end
end

return M
