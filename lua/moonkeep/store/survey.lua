--- What names in the folder of a series tell of its backups: see moonkeep.store.layout. There may be
--- very many, so what is the same for most of them is one table.
local keys = require "moonkeep.store.keys"
local merge = require "moonkeep.merge"

-- Sets of marks, { [mark] = true }, of which there are few: those that are equal are one table. `more`
-- has for each the set that a mark makes of it.
local NO_MARKS = {}
local more = { [NO_MARKS] = {} }

local function with_mark(marks, mark)
  local known = more[marks][mark]
  if not known then
    known = merge(marks, { [mark] = true })
    more[marks][mark], more[known] = known, {}
  end
  return known
end

--- { id, is_there (it has a manifest), has_folder, marks = { [mark] = true }, which is not to be changed
--- } of each backup, oldest first; and the same by id.
return function(names)
  local by_id, list = {}, {}
  for _, name in ipairs(names) do
    local id, mark = keys.parse(name, by_id)
    if id then
      local item = by_id[id]
      if not item then
        item = { id = id, is_there = false, has_folder = false, marks = NO_MARKS }
        list[#list + 1], by_id[id] = item, item
      end
      if not mark then
        item.has_folder = true
      elseif mark == "json" then
        item.is_there = true
      else
        item.marks = with_mark(item.marks, mark)
      end
    end
  end
  table.sort(list, function(a, b) return a.id < b.id end)
  return list, by_id
end
