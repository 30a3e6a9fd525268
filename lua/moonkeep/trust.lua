--- Whose manifests are believed. A job with `trust` takes only those that are signed by one of its keys,
--- from whatever store, and that say to be what their place says: so neither a forged one, nor another
--- backup's, passes for a backup of it. With `--trust` only those keys count, for all jobs of a command.
local errors = require "moonkeep.errors"
local list_of = require "moonkeep.list_of"
local signatures = require "moonkeep.signature"

local M = {}

local by_job, for_all = {}, nil -- lists of keys

local function keys_of_lines(lines)
  local list = {}
  for i, line in ipairs(list_of(lines)) do
    list[i] = signatures.public_key(line)
  end
  return list
end

--- From now on, of these jobs only what these public keys have signed is believed.
function M.require_of(names, lines)
  for _, name in ipairs(names) do
    by_job[name] = keys_of_lines(lines)
  end
end

--- The same of all jobs, whatever they say themselves.
function M.require_of_all(lines)
  for_all = keys_of_lines(lines)
end

-- The keys for a job; nil: anything is believed.
local function keys_of(job)
  return for_all or by_job[job]
end

--- Whether only what is signed is believed of a job.
function M.is_required(job)
  return keys_of(job) ~= nil
end

--- Whether what the key of this id signs would be believed.
function M.accepts(job, id)
  for _, key in ipairs(keys_of(job) or {}) do
    if key.id == id then
      return true
    end
  end
  return keys_of(job) == nil
end

--- What stands for the keys of a job: what was believed by others must be looked at again. "": anything
--- is believed.
function M.fingerprint(job)
  local ids = {}
  for i, key in ipairs(keys_of(job) or {}) do
    ids[i] = key.id
  end
  table.sort(ids)
  return table.concat(ids, " ")
end

--- Whether a text of a job is to be believed, as its signature says: true; false, why not.
function M.is_signed(job, text, signature)
  local keys = keys_of(job)
  if not keys then
    return true
  elseif type(signature) ~= "string" then
    return false, "it is not signed"
  end
  local is_trusted, why = signatures.verify(text, signature, keys)
  return is_trusted or false, why
end

local HINT = "it was not made by the hosts that `trust` names, or was changed since: take it from " ..
  "another store (--store), and look who can write into this one; if it is an older one of your own, " ..
  "add the key it was signed by to `trust`"

local function refuse(store, id, why)
  errors.raise("UNTRUSTED", ("backup %s in store %s is not to be trusted: %s"):format(id, store.name,
    why), { hint = HINT })
end

--- Checks a manifest, which is believed only if it is signed: `place` is { job, series, id }, `text` its
--- bytes, `signature()` returns those of the signature, or raises NOT_FOUND. Raises UNTRUSTED.
function M.check(store, place, text, manifest, signature)
  if not keys_of(place.job) then
    return
  end
  local ok, signed = pcall(signature)
  if not ok and errors.of(signed).code ~= "NOT_FOUND" then
    error(signed, 0)
  end
  local is_trusted, why = M.is_signed(place.job, text, ok and signed or nil)
  if not is_trusted then
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
