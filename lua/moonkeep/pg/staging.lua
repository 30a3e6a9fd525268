--- A directory archive, unpacked into a temporary folder for pg_restore: every file decompressed,
--- packs taken apart, every byte checked on the way. The folder needs as much space as the data has
--- before compression; only what is asked for is unpacked.
local errors = require "moonkeep.errors"
local fs = require "moonkeep.fs"
local log = require "moonkeep.log"
local manifests = require "moonkeep.manifest"
local tempdir = require "moonkeep.tempdir"
local toc = require "moonkeep.pg.toc"
local units = require "moonkeep.units"
local verify = require "moonkeep.verify"

local M = {}

--- The archive of a backup.
function M.archive(backup, store)
  local object = manifests.objects(backup.manifest, "contents")[1]
  if not object then
    errors.raise("CORRUPT", "the manifest is damaged: it has no table of contents")
  end
  return (toc.read(verify.text(backup, store, object)))
end

-- Archives have names of our own making only: digits and letters.
local function into_folder(folder)
  return { kind = "process", argv = { "tar", "--extract", "--no-same-owner", "--file=-",
    "--directory=" .. folder } }
end

-- Which objects hold what is wanted: all, or those of the entries' files.
local function is_wanted(object, files, parts)
  if not files or object.role == "list" or object.role == "objects" then
    return true
  end
  for file in pairs(parts[object.name] or {}) do
    if files[file] then
      return true
    end
  end
  return false
end

-- The files that each object holds.
local function parts_of(manifest)
  local parts = {}
  for _, known in ipairs(manifest.tables) do
    for _, part in ipairs(known.parts) do
      parts[part.object] = parts[part.object] or {}
      parts[part.object][part.member or part.object:match "^.*%.dat"] = true
    end
  end
  return parts
end

--- Unpacks a backup: a closable temporary folder { path }. `archive`: its table of contents;
--- `files`: the set of the data files that are needed, nil for all.
function M.unpack(backup, store, archive, files)
  local folder = tempdir.new()
  local parts = parts_of(backup.manifest)
  local ok, err = pcall(function()
    local total = 0
    for _, object in ipairs(backup.manifest.objects) do
      total = total + (is_wanted(object, files, parts) and object.decoded_size or 0)
    end
    log.info("unpacking %s into %s", units.format_size(total), folder.path)
    for _, object in ipairs(backup.manifest.objects) do
      local role = object.role
      if (role == "pack" or role == "objects" and object.name:match "%.tar") and
        is_wanted(object, files, parts) then
        verify.unpack(backup, store, object, into_folder(folder.path),
          "unpacking " .. object.name)
      elseif (role == "data" or role == "objects" or role == "list") and
        is_wanted(object, files, parts) then
        local name = role == "list" and object.name or object.name:match "^.*%.dat"
        verify.unpack(backup, store, object, { kind = "file", path = folder.path .. "/" .. name },
          "unpacking " .. name)
      end
    end
    fs.write(folder.path .. "/toc.dat", toc.write(toc.to_directory(archive, "none")))
  end)
  if not ok then
    folder:close()
    error(err, 0)
  end
  return folder
end

return M
