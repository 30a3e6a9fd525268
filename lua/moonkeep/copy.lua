--- Copying a backup from one store into another, byte for byte: what is stored needs no key. Every
--- object is compared with the manifest on its way; the manifest comes last, as ever.
local core_task = require "moonkeep.core.task"
local log = require "moonkeep.log"
local manifests = require "moonkeep.manifest"
local meters = require "moonkeep.meter"
local verify = require "moonkeep.verify"

local M = {}

local function copy_object(backup, from, session, object, meter)
  local sink = session:sink(object.name)
  local report = verify.reading(from, backup, object, {
    from:source(backup.job, backup.series, backup.id, object.name),
    { kind = "tee", { { kind = "sha256", label = "stored" } }, { sink } },
  }, { meter = meter })
  verify.check_digest(from, backup, object, report.stored)
end

--- Copies the objects of a backup into a session of another store, but those that `has` names.
--- Raises CORRUPT when one is not what the manifest says.
function M.objects(backup, from, session, has)
  local missing, bytes = {}, 0
  for _, object in ipairs(backup.manifest.objects) do
    if not (has and has[object.name]) then
      missing[#missing + 1], bytes = object, bytes + object.size
    end
  end
  local meter = meters.new(("copying %s to %s"):format(backup.id, session.store.name), bytes)
  local shown <close> = core_task.scope()
  shown:spawn(meter.show, meter)
  for _, object in ipairs(missing) do
    copy_object(backup, from, session, object, meter)
  end
end

--- Copies a backup (of which `from` has a copy) into a store that has none. Returns how many bytes.
--- Raises CORRUPT, ALREADY_EXISTS, BUSY and what stores raise; nothing can be seen then.
function M.backup(backup, from, to)
  local session <close> = to:begin(backup.job, backup.series, backup.id)
  M.objects(backup, from, session)
  session:put("RESTORE.txt", from:text(backup, "RESTORE.txt"))
  session:publish(from:manifest_text(backup.job, backup.series, backup.id))
  local size = manifests.sizes(backup.manifest)
  log.info("copied %s from %s to %s", backup.id, from.name, to.name)
  return size
end

return M
