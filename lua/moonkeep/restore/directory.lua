--- A directory backup as a plain directory of pg_dump's: every file decompressed, packs taken apart,
--- every byte compared with the manifest on the way.
local contents = require "moonkeep.restore.contents"
local core_task = require "moonkeep.core.task"
local envelope = require "moonkeep.encryption.envelope"
local errors = require "moonkeep.errors"
local fs = require "moonkeep.fs"
local manifests = require "moonkeep.manifest"
local meters = require "moonkeep.meter"
local toc = require "moonkeep.pg.toc"
local verify = require "moonkeep.verify"

local M = {}

-- Archives have names of our own making only: digits and letters.
local function into_folder(folder)
  return { kind = "process", argv = { "tar", "--extract", "--no-same-owner", "--file=-",
    "--directory=" .. folder } }
end

-- Damage makes errors of tar: then that is what is told.
local function unpack(backup, store, object, folder, meter)
  local ok, err = pcall(verify.unpack, backup, store, object, into_folder(folder), meter)
  if not ok and errors.of(err).code == "PROCESS_FAILED" then
    verify.read_object(backup, store, object, meter)
  end
  if not ok then
    error(err, 0)
  end
end

-- The file that an object becomes; nil: it is an archive of several, or none of the directory's.
local function file_of(object)
  if object.role == "list" then
    return envelope.plain_name(object.name)
  elseif object.role == "data" or object.role == "objects" then
    return object.name:match "^.*%.dat"
  end
end

--- Writes the directory, which must not exist; it is removed again if that fails. Raises CORRUPT.
function M.write(backup, store, folder)
  if fs.exists(folder) then
    errors.raise("ALREADY_EXISTS", folder .. " exists", { hint = "name a folder that does not" })
  end
  local archive = contents.archive(backup, store)
  local meter = meters.new("writing " .. folder, (manifests.sizes(backup.manifest)))
  local shown <close> = core_task.scope()
  shown:spawn(meter.show, meter)
  fs.mkdir(folder)
  local ok, err = pcall(function()
    for _, object in ipairs(backup.manifest.objects) do
      local file = file_of(object)
      if file then
        verify.unpack(backup, store, object, { kind = "file", path = folder .. "/" .. file }, meter)
      elseif object.role == "pack" or object.role == "objects" then
        unpack(backup, store, object, folder, meter)
      end
    end
    fs.write(folder .. "/toc.dat", toc.write(toc.to_directory(archive, "none")))
  end)
  if not ok then
    fs.remove(folder)
    error(err, 0)
  end
end

return M
