--- What runs that were killed have left in a store, and its removal: see moonkeep.store.layout.
---
--- What has no manifest is invisible. It goes when nobody holds its lock, for then its maker is dead;
--- unless marks say that it was a backup once, which the store must have lost the manifest of: then it
--- stays, and that is said. What was marked `expired` goes.
local keys = require "moonkeep.store.keys"
local log = require "moonkeep.log"
local values_of = require "moonkeep.values_of"

local M = {}

-- Marks by id: { [id] = { [mark] = key } }; "json" is the manifest.
local function marks_of(folder, names)
  local marks = {}
  for _, name in ipairs(names) do
    local id, mark = keys.parse(name)
    if mark then
      marks[id] = marks[id] or {}
      marks[id][mark] = folder .. name
    end
  end
  return marks
end

-- What a run that has died may have left: its lock, half-written files, and, when it had not published,
-- its folder; or the last marks of what has expired. Returns a table: id -> half-written files; and the
-- marks of all.
local function leftovers(driver, folder)
  local names, found = driver:names(folder), {}
  local marks = marks_of(folder, names)
  local function note(id, partial)
    found[id] = found[id] or {}
    table.insert(found[id], partial)
  end
  for _, name in ipairs(names) do
    local partial_of = name:match("^%.(" .. keys.ID .. ")%.%l[%l-]*%..*%.partial$")
    local lock_of = name:match("^%.(" .. keys.ID .. ")%.lock$")
    local id, mark = keys.parse(name)
    if partial_of then
      note(partial_of, folder .. name)
    elseif lock_of or id and not mark and not (marks[id] and marks[id].json) then
      note(lock_of or id)
    end
  end
  for id, of_id in pairs(marks) do
    if of_id.expired and not of_id.json and next(of_id, next(of_id)) then
      note(id)
    end
  end
  return found, marks
end

--- Whether marks ({ [mark] = ... }) say that there was a manifest. That of a key is written before it.
function M.was_published(marks)
  for mark in pairs(marks) do
    if mark ~= "key" and not marks.expired then
      return true
    end
  end
  return false
end

-- Removes what has no manifest, and is not to be kept for its marks.
local function sweep_one(driver, folder, id, marks)
  local shown = driver:shown(folder .. id)
  if M.was_published(marks) then
    log.warn("%s was a backup, but has lost its manifest: it stays as it is; complete it from " ..
      "another store (moonkeep copy), or remove it by hand", shown)
    return
  end
  log.info("removing %s, which %s", shown, marks.expired and "has expired" or "a killed run had left")
  driver:remove_folder(("%s%s/"):format(folder, id))
  marks.expired = nil
  driver:remove(values_of(marks))
end

--- Removes what runs that have died had left in the folder of a series, but of the id `but`: whoever
--- holds a lock lives. Returns what there was, by id: half-written files, and { [mark] = key }.
function M.sweep(driver, folder, but)
  local found, marks = leftovers(driver, folder)
  for id, partials in pairs(found) do
    local lock <close> = id ~= but and driver:hold(keys.lock(folder, id)) or nil
    if lock then
      -- Under the lock, for its maker may have published a moment ago.
      if not driver:stat(keys.manifest(folder, id)) then
        sweep_one(driver, folder, id, marks[id] or {})
      end
      driver:remove(partials)
    end
  end
  return found, marks
end

--- The same for what is written into the folder of a job itself.
function M.sweep_job(driver, job)
  local folder, partials, is_left = keys.folder(job), {}, false
  for _, name in ipairs(driver:names(folder)) do
    partials[#partials + 1] = name:match "^%.%l+%.json%..*%.partial$" and folder .. name or nil
    is_left = is_left or name == ".job.lock"
  end
  if #partials > 0 or is_left then
    local lock <close> = driver:hold(keys.job_lock(job))
    driver:remove(lock and partials or {})
  end
end

return M
