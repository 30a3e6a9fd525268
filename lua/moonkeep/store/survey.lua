--- What names in the folder of a series tell of its backups: see moonkeep.store.layout. There may be
--- very many, so what is the same for most of them is one table.
local keys = require "moonkeep.store.keys"

local states = {} -- by their endings: there are few different ones

-- False: nothing that is told here.
local function state_of(endings)
  local state = states[endings]
  if state == nil then
    local is_some, is_there, has_folder, marks = false, false, false, {}
    for ending in endings:gmatch "/([^/]*)" do
      local is_mark = keys.is_mark(ending)
      is_there = is_there or ending == "json"
      has_folder = has_folder or ending == ""
      is_some = is_some or is_mark or ending == ""
      marks[ending] = is_mark and ending ~= "json" or nil
    end
    state = is_some and { is_there = is_there, has_folder = has_folder, marks = marks }
    states[endings] = state
  end
  return state
end

--- The ids of backups, oldest first; and what there is of each: { is_there (it has a manifest),
--- has_folder, marks = { [mark] = true } }, which is not to be changed. `stems` and `endings`: as
--- core.fs's stems returns them.
return function(stems, endings)
  local ids, list = {}, {}
  for i, id in ipairs(stems) do
    local state = state_of(endings[i])
    if state and keys.is_id(id) then
      ids[#ids + 1], list[#list + 1] = id, state
    end
  end
  return ids, list
end
