--- A new table with the keys of all of these; a later one's win. Of one table: a shallow copy.
return function(...)
  local merged = {}
  for _, one in ipairs { ... } do
    for key, value in pairs(one) do
      merged[key] = value
    end
  end
  return merged
end
