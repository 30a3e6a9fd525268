--- The values of a table as a list.
return function(set)
  local list = {}
  for _, value in pairs(set) do
    list[#list + 1] = value
  end
  return list
end
