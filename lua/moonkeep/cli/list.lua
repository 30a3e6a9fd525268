--- moonkeep list: the backups of stores, in restic's spirit.
local backup_id = require "moonkeep.core.backup_id"
local catalog = require "moonkeep.catalog"
local core_task = require "moonkeep.core.task"
local errors = require "moonkeep.errors"
local facts = require "moonkeep.retention.facts"
local host = require "moonkeep.core.host"
local json = require "moonkeep.core.json"
local judge = require "moonkeep.retention.judge"
local log = require "moonkeep.log"
local manifests = require "moonkeep.manifest"
local names_of = require "moonkeep.names_of"
local output = require "moonkeep.cli.output"
local stores = require "moonkeep.store"
local task = require "moonkeep.task"
local targets = require "moonkeep.cli.targets"
local units = require "moonkeep.units"

local M = {}

-- What a manifest may be; all else is its store's failure.
local BAD = { CORRUPT = true, UNSUPPORTED = true, UNTRUSTED = true, NOT_FOUND = true }

-- What its manifest says: its size, whether it is not trusted, why it cannot be read. A store that fails
-- is asked no more, and `failed` has why, by its URL.
local function read(store, job, series, id, failed)
  if failed[store.url] then
    return nil
  end
  local ok, manifest = pcall(store.manifest, store, job, series, id)
  if ok then
    return (manifests.sizes(manifest))
  end
  local err = errors.of(manifest)
  if core_task.canceled() then
    error(err, 0)
  elseif BAD[err.code] then
    return nil, err.code == "UNTRUSTED", err.message
  end
  failed[store.url] = { store = store, error = errors.explain(err) }
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
  return { job = job, series = series, database = stores.unseries(series), found = {}, n = 0, id = {},
    where = {}, size = {}, proof = {}, held = {}, damaged_in = {}, untrusted = {}, error = {} }
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
local function note(one, row, store, marks, known, at, failed)
  if not one.size[row] and known and known.tags[at] then
    one.size[row], one.untrusted[row], one.error[row] = known.size[at], nil, nil
  elseif not one.size[row] then
    one.size[row], one.untrusted[row], one.error[row] = read(store, one.job, one.series, one.id[row],
      failed)
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

local function add(one, of, with, failed)
  local known_of, rows = catalog.known(one.job, one.series, of.store), one.n > 0 and rows_of(one) or {}
  local alone = with(nil, of.store)
  for id, marks in stores.there(of.ids, of.states) do
    local row = rows[id]
    if row then
      one.where[row] = with(one.where[row], of.store)
    else
      row = one.n + 1
      one.n, one.id[row], one.where[row] = row, id, alone
    end
    local known, at = known_of(id)
    note(one, row, of.store, marks, known, at, failed)
  end
end

-- All series of the places; and what was left out.
local function collect(options)
  local found, left_out = targets.surveys(targets.places(options), options)
  local list, by_name, with, failed = {}, {}, places_with(), {}
  for _, of in ipairs(found) do
    local name = of.job .. "\0" .. of.series
    local one = by_name[name] or new_series(of.job, of.series)
    list[#list + 1], by_name[name] = not by_name[name] and one or nil, one
    table.insert(one.found, of)
  end
  catalog.open()
  task.each(list, { parallel = stores.SERIES_AT_ONCE }, function(one)
    for _, of in ipairs(one.found) do
      add(one, of, with, failed)
    end
  end)
  for _, url in ipairs(names_of(failed)) do
    left_out[#left_out + 1] = failed[url]
  end
  return list, left_out
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

local function show_json(list, left_out)
  local entries = {}
  for _, one in ipairs(list) do
    for row = 1, one.n do
      entries[#entries + 1] = { id = one.id[row], job = one.job, series = one.series,
        database = one.database, created_at = backup_id.created_at(one.id[row]), size = one.size[row],
        proof = one.proof[row] or "stored", held = one.held[row], damaged_in = one.damaged_in[row],
        error = one.error[row], untrusted = one.untrusted[row], stores = one.where[row].urls }
    end
  end
  table.sort(entries, function(a, b)
    return a.created_at < b.created_at or a.created_at == b.created_at and (a.series < b.series or
      a.series == b.series and a.id < b.id)
  end)
  output.json("list", { backups = entries, left_out = targets.plain(left_out) })
end

-- A function (id) -> how old it is. Ages are told by the minute at most, of which there are fewer.
local function ages()
  local now, known = host.wall() // 1000, {}
  return function(id)
    local time = backup_id.time_of(id)
    local minute = (now - time) // 60
    known[minute] = known[minute] or output.age(time, now)
    return known[minute]
  end
end

local function show(list, left_out)
  local rows = output.rows({ "ID", "CREATED", ">AGE", "JOB", "DATABASE", "SIZE", "PROOF", "STORES" },
    output.OF_BACKUPS)
  local n, total, age_of = 0, 0, ages()
  for _, one in ipairs(list) do
    for row = 1, one.n do
      local id, size, proof = one.id[row], one.size[row], proof_of(one, row)
      rows:add(id, id, age_of(id), one.job, one.database, size, one.held[row] and proof .. ", held" or
        proof, one.where[row].text)
      total = total + (size or 0)
    end
    n = n + one.n
  end
  if n == 0 then
    targets.show_none(left_out)
    return
  end
  rows:sort(2, 2, 5) -- below their heads: by CREATED, then by DATABASE
  output.show_rows(rows)
  log.show("%s", output.paint("dim", ("%s, %s"):format(units.format_count(n, "backup"),
    units.format_size(total))))
end

function M.run(options)
  local list, left_out = collect(options)
  if options.json then
    show_json(list, left_out)
  else
    show(list, left_out)
  end
  return targets.report(left_out)
end

return M
