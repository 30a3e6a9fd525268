--- Whose manifests are believed. A job with `trust` takes only those that are signed by one of its keys,
--- from whatever store, and that say to be what their place says: so neither a forged one, nor another
--- backup's, passes for a backup of it. `--trust` does the same for all jobs of a command.
local errors = require "moonkeep.errors"
local list_of = require "moonkeep.list_of"
local signatures = require "moonkeep.signature"

local M = {}

local by_job, by_all = {}, {} -- lists of keys

local function add(list, lines)
  for _, line in ipairs(list_of(lines)) do
    list[#list + 1] = signatures.public_key(line)
  end
  return list
end

--- From now on, of these jobs only what these public keys have signed is believed.
function M.require_of(names, lines)
  for _, name in ipairs(names) do
    by_job[name] = add(by_job[name] or {}, lines)
  end
end

--- The same of all jobs.
function M.require_of_all(lines)
  add(by_all, lines)
end

-- The keys for a job; nil: anything is believed.
local function keys_of(job)
  local keys = table.move(by_all, 1, #by_all, 1, {})
  table.move(by_job[job] or {}, 1, #(by_job[job] or {}), #keys + 1, keys)
  return #keys > 0 and keys or nil
end

--- Whether only what is signed is believed of a job.
function M.is_required(job)
  return keys_of(job) ~= nil
end

local function refuse(store, id, why)
  errors.raise("UNTRUSTED", ("backup %s in store %s is not to be trusted: %s"):format(id, store.name,
    why), { hint = "it was not made by the hosts that `trust` names, or was changed since: take it " ..
      "from another store, and look who can write into this one" })
end

--- Checks a manifest, which is believed only if it is signed: `place` is { job, series, id }, `text` its
--- bytes, `signature()` returns those of the signature, or raises NOT_FOUND. Raises UNTRUSTED.
function M.check(store, place, text, manifest, signature)
  local keys = keys_of(place.job)
  if not keys then
    return
  end
  local ok, signed = pcall(signature)
  if not ok and errors.of(signed).code == "NOT_FOUND" then
    refuse(store, place.id, "it is not signed")
  elseif not ok then
    error(signed, 0)
  end
  local trusted, why = signatures.verify(text, signed, keys)
  if not trusted then
    refuse(store, place.id, why)
  end
  for key, value in pairs(place) do
    if manifest[key] ~= value then
      refuse(store, place.id, ("it is the manifest of another backup: its %s is %s, not %s"):format(key,
        tostring(manifest[key]), value))
    end
  end
end

return M
