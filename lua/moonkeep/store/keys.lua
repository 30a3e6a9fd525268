--- The keys of what lies in a store, and the names that may be in them: see moonkeep.store.layout.
--- Names come from recipes, manifests and listings, none of which is trusted as a path.
local errors = require "moonkeep.errors"

local M = {}

--- Patterns: of ids of backups, and of the names of jobs, series and objects.
M.ID = "%d%d%d%d%d%d%d%dT%d%d%d%d%d%dZ%-%x+"
M.NAME = "^[%w_%%][%w._%%-]*$"

local WHOLE_ID, MARK = "^" .. M.ID .. "$", "^%l[%l-]*$"

function M.is_id(text)
  return text:find(WHOLE_ID) ~= nil
end

--- Whether what follows the dot after an id is a mark; "json", the manifest's, is one.
function M.is_mark(text)
  return text:find(MARK) ~= nil
end

--- What a name in the folder of a series is of: an id, and a mark; nil for the mark: the backup's
--- folder. nil: none of these.
function M.parse(name)
  local dot = name:find(".", 1, true)
  local id, mark = dot and name:sub(1, dot - 1) or name, dot and name:sub(dot + 1) or nil
  if M.is_id(id) and (not mark or M.is_mark(mark)) then
    return id, mark
  end
end

function M.check_name(what, name)
  if type(name) ~= "string" or not name:match(M.NAME) then
    errors.raise("INVALID", ("%s is not a proper %s"):format(tostring(name), what))
  end
  return name
end

function M.check_id(id)
  if type(id) ~= "string" or not M.is_id(id) then
    errors.raise("INVALID", ("%s is not the id of a backup"):format(tostring(id)))
  end
  return id
end

--- The folder of a job, or of a series of it.
function M.folder(job, series)
  local folder = M.check_name("job name", job) .. "/"
  return series and folder .. M.check_name("series", series) .. "/" or folder
end

--- A small object in a job's folder: `job`, which says whose it is, and others.
function M.beside(job, name)
  return ("%s%s.json"):format(M.folder(job), name)
end

--- Held by who writes that.
function M.job_lock(job)
  return M.folder(job) .. ".job.lock"
end

function M.manifest(folder, id)
  return ("%s%s.json"):format(folder, id)
end

function M.lock(folder, id)
  return ("%s.%s.lock"):format(folder, id)
end

function M.object(backup, name)
  return ("%s%s/%s"):format(M.folder(backup.job, backup.series), M.check_id(backup.id),
    M.check_name("object name", name))
end

function M.mark(backup, mark)
  return ("%s%s.%s"):format(M.folder(backup.job, backup.series), M.check_id(backup.id), mark)
end

return M
