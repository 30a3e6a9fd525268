--- Verifying many backups in turn: which of them now, and what to do about those that are damaged.
---
--- Every copy counts by itself, for what is damaged in one store may be whole in another. Copies that
--- have not been proved for the longest come first, so that a run with a limit goes on where the one
--- before it ended, and all of them are proved in turn. When each was proved is in the stores' marks.
local catalog = require "moonkeep.catalog"
local clock = require "moonkeep.clock"
local copies = require "moonkeep.copy"
local core_task = require "moonkeep.core.task"
local errors = require "moonkeep.errors"
local judge = require "moonkeep.retention.judge"
local list_of = require "moonkeep.list_of"
local log = require "moonkeep.log"
local manifests = require "moonkeep.manifest"
local proof = require "moonkeep.proof"
local surveys = require "moonkeep.surveys"
local units = require "moonkeep.units"
local zone = require "moonkeep.schedule.zone"

local M = {}

-- ---- which ------------------------------------------------------------------------------------------

--- A list of copies, { store, job, series, id, marks, where (all stores that have the backup) }, and a
--- function ({ store, job, series }, id, marks) that adds one.
function M.collector()
  local list, by_backup = {}, {}
  return list, function(of, id, marks)
    local key = table.concat({ of.job, of.series, id }, "\0")
    by_backup[key] = by_backup[key] or {}
    table.insert(by_backup[key], of.store)
    list[#list + 1] = { store = of.store, job = of.job, series = of.series, id = id, marks = marks,
      where = by_backup[key] }
  end
end

-- When a copy was last proved at least so far: seconds since 1970, 0: never.
local function proved_at(item, level, known)
  if known and known.proved_ms and (judge.RANK[known.proof] or 0) >= judge.RANK[level] then
    return known.proved_ms // 1000
  end
  local best = 0
  for mark in pairs(item.marks) do
    local of = mark:match "^proof%-(%l+)$"
    if of and (judge.RANK[of] or 0) >= judge.RANK[level] then
      local ok, fields = pcall(item.store.read_mark, item.store, item, mark)
      best = math.max(best, ok and fields and zone.parse_time(tostring(fields.at)) or 0)
    end
  end
  return best
end

-- Reads what is not in the catalog; what cannot be read is small, and told of when its turn comes.
local function size_of(item, known)
  if known then
    return known.size
  end
  local ok, backup = pcall(item.store.backup, item.store, item.job, item.series, item.id)
  if not ok then
    return 0
  end
  catalog.record_facts { { backup = backup, store = item.store } }
  return (manifests.sizes(backup.manifest))
end

--- Parses how much is to be proved at most: "10%" of all bytes, "50GiB", or a number of copies. Returns
--- { share | bytes | count }; nil, why.
function M.sample(value)
  local percent = type(value) == "string" and tonumber(value:match "^(%d+%.?%d*)%%$")
  local bytes = type(value) == "string" and units.size(value)
  local count = math.tointeger(tonumber(value))
  if percent and percent > 0 and percent <= 100 then
    return { share = percent / 100 }
  elseif bytes then
    return { bytes = bytes }
  elseif count and count > 0 then
    return { count = count }
  end
  return nil, "must be a share such as \"10%\", a size such as \"50GiB\", or a number of copies"
end

local function limits(sample, list)
  local bytes = 0
  for _, item in ipairs(list) do
    bytes = bytes + item.size
  end
  return sample.share and bytes * sample.share or sample.bytes or math.huge, sample.count or math.huge
end

--- Those of a list of copies { store, job, series, id, marks } that are to be proved now, the longest
--- unproved first. `options`: sample (see M.sample; nil: all), again (seconds in which none is proved
--- anew). At least one is chosen, if any is due.
function M.choose(list, level, options)
  local knowledge, due = catalog.knowledge(), {}
  local now = clock.wall() // 1000
  for _, item in ipairs(list) do
    local known = knowledge(item.job, item.series, item.id, item.store)
    item.proved_at = proved_at(item, level, known)
    item.size = options.sample and size_of(item, known) or 0
    due[#due + 1] = now - item.proved_at >= (options.again or 0) and item or nil
  end
  if not options.sample then
    return due
  end
  table.sort(due, function(a, b)
    if a.proved_at ~= b.proved_at then
      return a.proved_at < b.proved_at
    end
    return a.id .. a.store.url < b.id .. b.store.url
  end)
  local bytes, count = limits(options.sample, list)
  local chosen, total = {}, 0
  for _, item in ipairs(due) do
    if #chosen > 0 and (total + item.size > bytes or #chosen >= count) then
      break
    end
    chosen[#chosen + 1], total = item, total + item.size
  end
  return chosen
end

-- ---- proving, and mending -------------------------------------------------------------------------

-- Replaces a damaged copy by one of another store that is whole. Raises when there is none.
local function repair(item, level, err)
  for _, other in ipairs(item.where) do
    local ok, backup = pcall(other.backup, other, item.job, item.series, item.id)
    if other.url ~= item.store.url and ok and pcall(proof.prove, backup, "read") then
      log.warn("the copy of %s in %s is damaged, and is replaced by that of %s", item.id,
        item.store.name, other.name)
      item.store:remove(item)
      copies.backup(backup, other, item.store)
      local mended = proof.prove(item.store:backup(item.job, item.series, item.id), level)
      catalog.record_proof(mended)
      return other
    end
  end
  err.hint = "no other store has a whole copy of it: " .. (err.hint or "verify an older backup")
  error(err, 0)
end

local function prove(item, level)
  local backup = item.store:backup(item.job, item.series, item.id)
  proof.prove(backup, level)
  if item.marks.damaged then
    item.store:unmark(item, "damaged")
  end
  catalog.record_proof(backup)
  return backup.proof
end

-- Also of one whose manifest cannot be read: it must not count any more.
local function note_damage(item, err)
  local ok, backup = pcall(item.store.backup, item.store, item.job, item.series, item.id)
  if ok then
    catalog.record_damage(backup, item.store)
  elseif errors.of(backup).code == "CORRUPT" then
    proof.mark(item, item.store, "damaged", err)
  end
end

local IS_BAD = { CORRUPT = true, UNTRUSTED = true }

--- Proves a copy: { ok, proof, is_gone (it has expired meanwhile), repaired_from (a store), error }.
--- With `mend`, a damaged one is replaced by another store's that is whole.
function M.prove(item, level, mend)
  local ok, result = xpcall(prove, errors.handler, item, level)
  if ok then
    return { ok = true, proof = result }
  end
  local err = errors.explain(errors.of(result))
  if core_task.canceled() then
    error(err, 0)
  elseif err.code == "NOT_FOUND" and not item.store:is_there(item) then
    return { ok = true, is_gone = true }
  elseif not IS_BAD[err.code] then
    return { ok = false, error = err }
  elseif err.code == "CORRUPT" then -- whom to trust is this host's business, and no mark in the store
    note_damage(item, err)
  end
  if not mend then
    return { ok = false, error = err }
  end
  ok, result = xpcall(repair, errors.handler, item, level, err)
  if ok then
    return { ok = true, proof = level, repaired_from = result, error = err }
  elseif core_task.canceled() then
    error(result, 0)
  end
  return { ok = false, error = errors.explain(errors.of(result)) }
end

-- ---- as a job -------------------------------------------------------------------------------------

-- All copies in the places; what was left out, as errors; and the places that were not.
local function copies_in(places)
  local list, add = M.collector()
  local found, left_out, read = surveys.of(places)
  surveys.each(found, add)
  return list, surveys.errors_of(left_out), read
end

-- How much of all has been done, and since when nothing has been left out.
local function tell(list, chosen, level, is_all)
  local oldest = math.huge
  for _, item in ipairs(list) do
    oldest = math.min(oldest, item.proved_at)
  end
  local since = "some have never been"
  if oldest > 0 and #list > 0 then
    local age = math.max(1, clock.wall() // 1000 - oldest)
    since = "all have been within the last " .. units.format_duration(age * 1000)
  end
  log.info("%s of %d, %s; %s%s", units.format_count(#chosen, "copy"), #list, level, since,
    is_all and "" or "; but not all stores could be read")
end

--- What a job of mk.verify does: `keys` are its own. Raises CORRUPT when a copy is damaged and could not
--- be mended, or what else kept one, or all of a store, from being proved, with all of them beside it.
function M.run(keys)
  local places, problems, unread = surveys.places_of(keys.jobs), {}, {}
  local levels = list_of(keys.levels or "read")
  for _, level in ipairs(levels) do
    local list, failed
    list, failed, places = copies_in(places) -- what could not be read is not asked again
    table.move(failed, 1, #failed, #unread + 1, unread)
    local chosen = M.choose(list, level, { sample = keys.sample and M.sample(keys.sample),
      again = keys.again and units.duration(keys.again) // 1000 })
    for _, item in ipairs(chosen) do
      local result = M.prove(item, level, keys.repair)
      item.proved_at = result.ok and clock.wall() // 1000 or item.proved_at
      problems[#problems + 1] = not result.ok and result.error or nil
    end
    tell(list, chosen, level, #unread == 0)
  end
  local err = errors.together(table.move(unread, 1, #unread, #problems + 1, problems))
  if err then
    error(err, 0)
  end
end

return M
