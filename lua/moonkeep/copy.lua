--- Copying a backup from one store into another, byte for byte: what is stored needs no key. Every
--- object is compared with the manifest on its way; the manifest comes last, as ever.
---
--- What fails at the target is told as it is; all else is the source's fault, and another source may
--- be better (from_any).
local core_task = require "moonkeep.core.task"
local errors = require "moonkeep.errors"
local identity = require "moonkeep.store.identity"
local log = require "moonkeep.log"
local manifests = require "moonkeep.manifest"
local merge = require "moonkeep.merge"
local meters = require "moonkeep.meter"
local rekey = require "moonkeep.encryption.rekey"
local signatures = require "moonkeep.signature"
local verify = require "moonkeep.verify"

local M = {}

local of_target = setmetatable({}, { __mode = "k" }) -- errors that are

local function raise_of_target(err)
  err = errors.of(err)
  of_target[err] = true
  error(err, 0)
end

-- Calls what writes to the target.
local function target(fn, ...)
  local results = table.pack(xpcall(fn, errors.handler, ...))
  if not results[1] then
    raise_of_target(results[2])
  end
  return table.unpack(results, 2, results.n)
end

-- The target's sink is optional beside one that takes everything, so that its failure is not the
-- flow's.
local function copy_object(backup, from, session, object, meter)
  local sink = target(session.sink, session, object.name, object.piece_size)
  sink.label, sink.optional = "target", true
  local report = verify.reading(from, backup, object, {
    from:source(backup, object),
    { kind = "tee", { { kind = "sha256", label = "stored" } }, { sink },
      { { kind = "null", optional = true } } },
  }, { meter = meter })
  if report.target.error then
    raise_of_target(report.target.error)
  end
  verify.check_digest(from, backup, object, report.stored)
end

--- Whether a store is among those of a list.
function M.is_in(list, store)
  for _, one in ipairs(list) do
    if one.url == store.url then
      return true
    end
  end
  return false
end

--- Calls fn(store) with one store after the other until it goes well, or fails for another reason than
--- the store's; raises the first error.
function M.from_any(sources, fn)
  local first
  for _, from in ipairs(sources) do
    local ok, err = xpcall(fn, errors.handler, from)
    if ok then
      return
    end
    first = first or err
    if of_target[err] or core_task.canceled() then
      error(err, 0)
    end
    log.warn("it cannot be copied from %s: %s", from.name, tostring(err))
  end
  error(first, 0)
end

--- Copies the objects of a backup into a session of another store, but those that `has` names, to which
--- they are added. Raises CORRUPT when one is not what the manifest says.
function M.objects(backup, from, session, has)
  local missing, bytes = {}, 0
  for _, object in ipairs(manifests.stored(backup.manifest)) do
    if not has[object.name] then
      missing[#missing + 1], bytes = object, bytes + object.size
    end
  end
  local meter = meters.new(("copying %s to %s"):format(backup.id, session.store.name), bytes)
  local shown <close> = core_task.scope()
  shown:spawn(meter.show, meter)
  for _, object in ipairs(missing) do
    copy_object(backup, from, session, object, meter)
    has[object.name] = true
  end
end

-- What holds a backup in a store, where one may look.
local function hold_of(store, backup)
  local ok, hold = pcall(store.hold_of, store, backup)
  if not ok and not errors.is_denied(hold) then
    error(hold, 0)
  end
  return ok and hold or nil
end

-- A session in the target. What is left there of a backup whose manifest was lost may be all that there
-- is: it goes only when the source is known to be whole. (What held it there stays.)
local function begin(backup, from, to)
  local ok, session = xpcall(to.begin, errors.handler, to, backup.job, backup.series, backup.id)
  if ok then
    return session
  elseif errors.of(session).code ~= "REMAINS" then
    raise_of_target(session)
  end
  verify.read(backup, from)
  return target(to.begin, to, backup.job, backup.series, backup.id, true)
end

--- Copies a backup (of which `from` has a copy) into a store that has none. Returns how many bytes.
--- Raises CORRUPT, ALREADY_EXISTS, BUSY and what stores raise; nothing can be seen then.
function M.backup(backup, from, to)
  -- What is written is what was checked, whatever becomes of the source meanwhile.
  local manifest, text = from:manifest(backup.job, backup.series, backup.id)
  backup = merge(backup, { manifest = manifest })
  local hold = hold_of(from, backup)
  local tell = target(identity.copier, backup.job, from, to)
  local session <close> = begin(backup, from, to)
  M.objects(backup, from, session, {})
  local beside = { manifest.signed_by and signatures.NAME or nil }
  beside[#beside + 1] = not manifest.restore_text and "RESTORE.txt" or nil
  for _, name in ipairs(beside) do
    target(session.put, session, name, from:text(backup, name))
  end
  local key = manifest.encryption and select(2, rekey.read_mark(from, backup))
  if key then -- before it can be seen: it says what key.age may be
    target(session.put_key_mark, session, backup, rekey.MARK, key)
  end
  target(session.publish, session, text)
  tell()
  if hold then
    target(to.mark, to, backup, "hold", hold)
  end
  log.info("copied %s from %s to %s", backup.id, from.name, to.name)
  return (manifests.sizes(backup.manifest))
end

return M
