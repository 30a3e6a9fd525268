--- The five fields of cron: "30 2 * * mon-fri", "*/15 * * * *", "@daily".
local M = {}

local MONTHS = { jan = 1, feb = 2, mar = 3, apr = 4, may = 5, jun = 6, jul = 7, aug = 8, sep = 9,
  oct = 10, nov = 11, dec = 12 }
local DAYS = { sun = 0, mon = 1, tue = 2, wed = 3, thu = 4, fri = 5, sat = 6 }

local FIELDS = {
  { name = "minute", min = 0, max = 59 },
  { name = "hour", min = 0, max = 23 },
  { name = "day", min = 1, max = 31 },
  { name = "month", min = 1, max = 12, names = MONTHS },
  { name = "weekday", min = 0, max = 7, names = DAYS },
}

local MACROS = { ["@hourly"] = "0 * * * *", ["@daily"] = "0 0 * * *", ["@midnight"] = "0 0 * * *",
  ["@weekly"] = "0 0 * * 0", ["@monthly"] = "0 0 1 * *", ["@yearly"] = "0 0 1 1 *",
  ["@annually"] = "0 0 1 1 *" }

M.WEEKDAYS = DAYS

local function number_of(field, text)
  local number = field.names and field.names[text:lower()] or
    (text:match "^%d%d?$" and tonumber(text))
  if number and number >= field.min and number <= field.max then
    return number
  end
end

-- Adds the values of one item, "mon", "1-5", "*/15", "10-50/20", to a set. Returns nil, or why not.
local function add_item(field, item, set)
  local range, step = item:match "^([^/]+)/(%d%d?)$"
  if not range and item:find("/", 1, true) then
    return ("\"%s\" has no proper step"):format(item)
  end
  local has_step = step ~= nil
  range, step = range or item, tonumber(step or 1)
  local from, to
  if range == "*" then
    from, to = field.min, field.name == "weekday" and 6 or field.max
  else
    local first, last = range:match "^(%w+)-(%w+)$"
    from = number_of(field, first or range)
    to = last and number_of(field, last) or (not last and from)
    if not last and has_step then
      to = field.max -- "5/10": as cron reads it
    end
  end
  if not from or not to then
    return ("\"%s\" is no %s (%d to %d)"):format(item, field.name, field.min, field.max)
  elseif from > to then
    return ("\"%s\" goes backwards"):format(item)
  elseif step == 0 then
    return ("\"%s\" has no proper step"):format(item)
  end
  for value = from, to, step do
    set[field.name == "weekday" and value % 7 or value] = true
  end
end

--- Returns { minute, hour, day, month, weekday }, each a set, with any_day and any_weekday (a `*`),
--- any_hour; or nil and what is wrong.
function M.parse(text)
  if type(text) ~= "string" then
    return nil, "must be a string such as \"0 2 * * *\""
  end
  local plain = MACROS[text:lower()] or text
  if plain:sub(1, 1) == "@" then
    return nil, "is no cron shorthand: there are @hourly, @daily, @weekly, @monthly, @yearly"
  end
  local parts = {}
  for part in plain:gmatch "%S+" do
    parts[#parts + 1] = part
  end
  if #parts ~= #FIELDS then
    return nil, ("has %d fields, cron has 5: minute hour day month weekday"):format(#parts)
  end
  local rule = { any_day = parts[3]:sub(1, 1) == "*", any_weekday = parts[5]:sub(1, 1) == "*",
    any_hour = parts[2] == "*", fields = parts }
  for i, field in ipairs(FIELDS) do
    local set = {}
    for item in (parts[i] .. ","):gmatch "([^,]*)," do
      local why = add_item(field, item, set)
      if why then
        return nil, ("%s: %s"):format(field.name, why)
      end
    end
    rule[field.name] = set
  end
  return rule
end

--- Whether the rule holds on a day. As in cron, day and weekday are ORed when neither begins
--- with `*`.
function M.on_day(rule, month, day, weekday)
  if not rule.month[month] then
    return false
  elseif rule.any_day or rule.any_weekday then
    return rule.day[day] and rule.weekday[weekday] or false
  end
  return rule.day[day] or rule.weekday[weekday] or false
end

return M
