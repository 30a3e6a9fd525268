--- Where a big table is cut: ranges of pages that have about the same number of bytes, so that the
--- connections that read them are done at about the same time.
---
--- Pages are not alike: rows whose values lie in the TOAST table are short in the table itself, and
--- a page of them can stand for a hundred times the bytes of its neighbour; others are nearly empty. So
--- some pages are sampled, and the values of their rows measured, which does not read the TOAST
--- table (pg_column_size of such a value is known from its pointer).
local pg = require "moonkeep.pg"

local M = {}

local SAMPLES_PER_RANGE = 64
local PAGE_WEIGHT = 1024 -- of reading a page, whatever is in it; in bytes

local VALUES = [[
  SELECT pg_catalog.string_agg(pg_catalog.format('coalesce(pg_catalog.pg_column_size(%I), 0)',
    attname), ' + ' ORDER BY attnum) AS sum
  FROM pg_catalog.pg_attribute
  WHERE attrelid = $1 AND attnum > 0 AND NOT attisdropped AND attlen = -1 AND attgenerated = '']]

local SAMPLE = [[
  SELECT (ctid::text::point)[0]::bigint AS page, sum(24 + %s)::bigint AS bytes
  FROM ONLY %s TABLESAMPLE SYSTEM (%.6f) REPEATABLE (1) GROUP BY 1 ORDER BY 1]]

-- Some pages of a table, in order: { page, bytes }.
local function sample(connection, t, pages, n)
  local sum = connection:value(VALUES, t.oid)
  return connection:query(SAMPLE:format(sum or 0, pg.quoted(t),
    math.min(100, 100 * n * SAMPLES_PER_RANGE / pages)))
end

--- Cuts `pages` into at most n ranges after what a sample of them says, a list of { page, bytes } in
--- order. Returns a list of { first, share }, first being a range's first page and share its part of
--- the whole, 0 to 1; together they are all pages. With too small a sample all pages count the same.
function M.even(pages, n, sampled)
  local total = 0
  for _, page in ipairs(sampled) do
    total = total + page.bytes + PAGE_WEIGHT
  end
  local ranges = { { first = 0, share = 0 } }
  if #sampled < n then
    for i = 1, n do
      ranges[i] = { first = pages * (i - 1) // n, share = 1 / n }
    end
    return ranges
  end
  local before, n_full = 0, 0 -- n-ths of the whole that the pages before have filled
  for _, page in ipairs(sampled) do
    local last = ranges[#ranges]
    if before * n // total > n_full and page.page < pages then
      n_full = before * n // total
      last = { first = page.page, share = 0 }
      ranges[#ranges + 1] = last
    end
    last.share = last.share + (page.bytes + PAGE_WEIGHT) / total
    before = before + page.bytes + PAGE_WEIGHT
  end
  return ranges
end

--- The same for a table of this server.
function M.ranges(connection, t, pages, n)
  return M.even(pages, n, sample(connection, t, pages, n))
end

return M
