--- moonkeep list: the backups of stores, in restic's spirit.
local catalog = require "moonkeep.catalog"
local errors = require "moonkeep.errors"
local facts = require "moonkeep.retention.facts"
local host = require "moonkeep.core.host"
local json = require "moonkeep.core.json"
local judge = require "moonkeep.retention.judge"
local log = require "moonkeep.log"
local manifests = require "moonkeep.manifest"
local output = require "moonkeep.cli.output"
local runner = require "moonkeep.runner"
local stores = require "moonkeep.store"
local task = require "moonkeep.task"
local targets = require "moonkeep.cli.targets"
local units = require "moonkeep.units"
local zone = require "moonkeep.schedule.zone"

local M = {}

-- What its manifest says: its size, when it was made, whether it is not trusted, why it cannot be read.
local function read(store, job, series, id)
  local ok, manifest = pcall(store.manifest, store, job, series, id)
  if ok then
    return (manifests.sizes(manifest)), manifest.created_at
  end
  local err = errors.of(manifest)
  return nil, nil, err.code == "UNTRUSTED", err.message
end

-- A function (where, store) -> the stores of `where` (nil: none) and that one: { names, urls }. There
-- are few sets of stores, and many backups: each is one table.
local function places_with()
  local none = { names = {}, urls = {} }
  local more = { [none] = {} }
  return function(where, store)
    where = where or none
    local known = more[where][store.url]
    if not known then
      known = { names = { table.unpack(where.names) }, urls = { table.unpack(where.urls) } }
      table.insert(known.names, store.name)
      table.insert(known.urls, store.url)
      known.text = table.concat(known.names, ", ")
      more[where][store.url], more[known] = known, {}
    end
    return known
  end
end

-- The backups of a series in its stores. There may be very many: a list for each column, by row. Those
-- from `held` on have something in few rows only.
local function new_series(job, series)
  return { job = job, series = series, database = stores.unseries(series), stores = {}, n = 0, id = {},
    where = {}, size = {}, created_at = {}, proof = {}, held = {}, damaged_in = {}, untrusted = {},
    error = {} }
end

-- The rows by id, when another store had some of them.
local function rows_of(one)
  local rows = {}
  for row = 1, one.n do
    rows[one.id[row]] = row
  end
  return rows
end

-- What a store has of a row, beside what others have. What the manifest says need not be read if the
-- catalog knows it (columns and a row of theirs). One that cannot be read is there too: it must not look
-- as if there were no backup.
local function note(one, row, store, marks, known, at)
  if not one.size[row] and known and known.tags[at] then
    one.size[row], one.created_at[row] = known.size[at], known.created_at[at]
    one.untrusted[row], one.error[row] = nil, nil
  elseif not one.size[row] then
    one.size[row], one.created_at[row], one.untrusted[row], one.error[row] = read(store, one.job,
      one.series, one.id[row])
  end
  local known_proof = known and known.proof[at]
  local proof = facts.proof_of(marks, known_proof)
  one.held[row] = one.held[row] or marks.hold
  if facts.is_damaged(marks, known_proof) then
    one.damaged_in[row] = json.array(one.damaged_in[row] or {})
    table.insert(one.damaged_in[row], store.name)
  elseif not one.proof[row] or judge.RANK[proof] > judge.RANK[one.proof[row]] then
    one.proof[row] = proof
  end
end

local function add(one, store, with)
  local ids, states = store:survey(one.job, one.series)
  local known_of, rows = catalog.known(one.job, one.series, store), one.n > 0 and rows_of(one) or {}
  local alone = with(nil, store)
  for id, marks in stores.there(ids, states) do
    local row = rows[id]
    if row then
      one.where[row] = with(one.where[row], store)
    else
      row = one.n + 1
      one.n, one.id[row], one.where[row] = row, id, alone
    end
    note(one, row, store, marks, known_of(id))
  end
end

-- All series of the places.
local function collect(options)
  local list, by_name, with = {}, {}, places_with()
  for _, place in ipairs(targets.series(targets.places(options), options)) do
    local name = place.job .. "\0" .. place.series
    local one = by_name[name] or new_series(place.job, place.series)
    list[#list + 1], by_name[name] = not by_name[name] and one or nil, one
    table.insert(one.stores, place.store)
  end
  catalog.open()
  task.each(list, { parallel = stores.SERIES_AT_ONCE }, function(one)
    for _, store in ipairs(one.stores) do
      add(one, store, with)
    end
  end)
  return list
end

-- The rows of several stores are not in the order of ids.
local function order_of(one)
  local order = {}
  for row = 1, one.n do
    order[row] = row
  end
  table.sort(order, function(a, b) return one.id[a] < one.id[b] end)
  return order
end

-- A series and its next row: by that row's second, then by the series, for ids end at random.
local function is_before(a, b)
  return a.second < b.second or a.second == b.second and a.one.series < b.one.series
end

local function advance(head)
  head.at = head.at + 1
  head.row = head.order and head.order[head.at] or head.at
  head.second = head.at <= head.one.n and head.one.id[head.row]:sub(1, #"20261122T020000Z") or nil
end

-- Puts the first of a heap, which may have become greater, where it belongs.
local function sift(heap)
  local i, n, moved = 1, #heap, heap[1]
  while true do
    local child = 2 * i
    if child < n and is_before(heap[child + 1], heap[child]) then
      child = child + 1
    end
    if child > n or not is_before(heap[child], moved) then
      heap[i] = moved
      return
    end
    heap[i], i = heap[child], child
  end
end

-- Calls fn(series, row) for each backup in order. Returns how many there are.
local function each(list, fn)
  local heap, n = {}, 0
  for _, one in ipairs(list) do
    local head = { one = one, order = #one.stores > 1 and order_of(one) or nil, at = 0 }
    advance(head)
    heap[#heap + 1] = head.second and head or nil
  end
  table.sort(heap, is_before)
  while heap[1] do
    local head = heap[1]
    fn(head.one, head.row)
    n = n + 1
    advance(head)
    if not head.second then
      heap[1] = heap[#heap]
      heap[#heap] = nil
    end
    if heap[2] then
      sift(heap)
    end
  end
  return n
end

local function proof_of(one, row)
  local proof, damaged_in = one.proof[row] or "stored", one.damaged_in[row]
  if one.untrusted[row] then
    return output.paint("red", "not trusted")
  elseif one.error[row] or damaged_in and #damaged_in == #one.where[row].names then
    return output.paint("red", "damaged")
  elseif damaged_in then
    return ("%s, %s"):format(proof, output.paint("red", "damaged in " .. table.concat(damaged_in, ", ")))
  end
  return proof
end

local function show_json(list)
  local entries = {}
  each(list, function(one, row)
    entries[#entries + 1] = { id = one.id[row], job = one.job, series = one.series,
      database = one.database, created_at = one.created_at[row], size = one.size[row],
      proof = one.proof[row] or "stored", held = one.held[row], damaged_in = one.damaged_in[row],
      error = one.error[row], untrusted = one.untrusted[row], stores = one.where[row].urls }
  end)
  output.json("list", { backups = entries })
end

local function show(list)
  local rows = output.rows { "ID", "CREATED", ">AGE", "JOB", "DATABASE", ">SIZE", "PROOF", "STORES" }
  local total, now = 0, host.wall() // 1000
  local ages = {} -- by the minute, which databases of one job share
  local n = each(list, function(one, row)
    local size, created = one.size[row], one.created_at[row] or "?"
    local minute = created:sub(1, 16)
    if not ages[minute] then
      local time = zone.parse_time(created)
      ages[minute] = time and output.age(time, now) or "?"
    end
    total = total + (size or 0)
    rows:add(output.short(one.id[row]), created, ages[minute], one.job, one.database,
      size and units.format_size(size) or "?",
      one.held[row] and proof_of(one, row) .. ", held" or proof_of(one, row), one.where[row].text)
  end)
  if n == 0 then
    log.show "no backup yet"
    return
  end
  output.show_rows(rows)
  log.show("%s", output.paint("dim", ("%s, %s"):format(units.format_count(n, "backup"),
    units.format_size(total))))
end

function M.run(options)
  local list = collect(options)
  if options.json then
    show_json(list)
  else
    show(list)
  end
  return runner.OK
end

return M
