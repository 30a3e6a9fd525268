--- What may be one thing or a list of them, as a list; nil is an empty one.
return function(value)
  return type(value) == "table" and value or { value }
end
