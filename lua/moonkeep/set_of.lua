local list_of = require "moonkeep.list_of"

--- What is one thing or a list of them as a set: { [item] = true }.
return function(value)
  local set = {}
  for _, item in ipairs(list_of(value)) do
    set[item] = true
  end
  return set
end
