-- ./dev bench stores: objects into and out of a bucket of Ceph's gateway beside `aws` and `rclone`, and
-- a dump straight into it beside `pg_dump | aws s3 cp` and beside a dump into a folder.
package.path = package.path .. ";tests/?.lua"
local mk = require "moonkeep"
local servers = require "servers"
local support = require "support"

local SIZE, N_SMALL = 256 << 20, 2000

-- CPU of one contender divided by another's, the median of the rounds.
local function cpu_ratio(contenders, a, b)
  local ratios = {}
  for round = 1, support.runs do
    ratios[round] = contenders.figures[a][round].cpu / contenders.figures[b][round].cpu
  end
  return support.median(ratios)
end

local folder <close> = mk.fs.tempdir()
local rgw <close> = servers.rgw()
local driver = rgw.driver "bench"
driver.client:call { method = "PUT" }

-- The beginning of a command with these variables.
local function with_env(variables, command)
  local words = { "env", "-u", "AWS_CA_BUNDLE" }
  for name, value in pairs(variables) do
    words[#words + 1] = name .. "=" .. value
  end
  return table.concat(words, " ") .. " " .. command
end

local AWS = with_env({ AWS_ACCESS_KEY_ID = rgw.id, AWS_SECRET_ACCESS_KEY = rgw.secret,
  AWS_DEFAULT_REGION = "us-east-1", AWS_EC2_METADATA_DISABLED = "true" },
  ("/usr/bin/aws --endpoint-url %s s3"):format(rgw.url))
local RCLONE = with_env({ RCLONE_CONFIG_R_TYPE = "s3", RCLONE_CONFIG_R_PROVIDER = "Ceph",
  RCLONE_CONFIG_R_ENDPOINT = rgw.url, RCLONE_CONFIG_R_ACCESS_KEY_ID = rgw.id,
  RCLONE_CONFIG_R_SECRET_ACCESS_KEY = rgw.secret, RCLONE_CONFIG = "" }, "rclone")

-- The gateway keeps what was deleted until it is collected, and all of it is in memory.
local function clean()
  driver:remove_folder "put/"
  rgw.admin("gc", "process", "--include-all")
  mk.fs.remove(folder.path .. "/out")
  mk.fs.mkdir(folder.path .. "/out")
end

local function ours(name, body, ...)
  return support.script(folder.path, name, ([[
    local driver = assert(require("moonkeep.store.s3").new("bench", { endpoint = %q, access_key = %q,
      secret_key = %q }))
    local flow, fs, mk = require "moonkeep.flow", require "moonkeep.fs", require "moonkeep"
    ]]):format(rgw.url, rgw.id, rgw.secret) .. body, ...)
end

local function rounds(say, title, list)
  for _, contender in ipairs(list) do
    contender.before = clean
  end
  say(title)
  say ""
  support.rounds(folder.path, list)
  support.say_table(say, list)
  return list
end

local section = support.section("stores", "Buckets")
local say = section.say
say("Ceph's gateway 16 on this machine, its cluster in memory; it and the clients share %s cores. %d " ..
  "rounds; medians. CPU is the client's.", (mk.process.run({ argv = { "nproc" } }):gsub("%s", "")),
  support.runs)
say ""

local big = folder.path .. "/big"
mk.process.run { argv = { "bash", "-c", ("head -c %d /dev/urandom > %s"):format(SIZE, big) } }
local put = rounds(say, "Storing an object of 256 MiB:", {
  { name = "moonkeep", argv = ours("put", [[
    flow.run { { kind = "file", path = "%s" }, driver:sink "put/x" }]], big) },
  { name = "`aws s3 cp`", argv = support.shell("%s cp --no-progress %s s3://bench/put/x", AWS, big) },
  { name = "`rclone copyto`", argv = support.shell("%s copyto %s R:bench/put/x", RCLONE, big) } })

mk.flow.run { { kind = "file", path = big }, driver:sink "x" }
local get = rounds(say, "Getting it:", {
  { name = "moonkeep", argv = ours("get", [[
    flow.run { driver:source "x", { kind = "file", path = "%s/out/x" } }]], folder.path) },
  { name = "`aws s3 cp`", argv = support.shell("%s cp --no-progress s3://bench/x %s/out/x", AWS,
    folder.path) },
  { name = "`rclone copyto`", argv = support.shell("%s copyto R:bench/x %s/out/x", RCLONE,
    folder.path) } })

mk.process.run { cwd = folder.path, argv = { "bash", "-c",
  ("mkdir small; cd small; for i in $(seq %d); do echo $i > $i; done"):format(N_SMALL) } }
local small = rounds(say, ("Storing %d small objects:"):format(N_SMALL), {
  { name = "moonkeep", argv = ours("small", [[
    mk.each(fs.list "%s/small", { parallel = 16 }, function(name)
      driver:write("put/" .. name, fs.read("%s/small/" .. name))
    end)]], folder.path, folder.path) },
  { name = "`aws s3 cp --recursive`", argv = support.shell(
    "%s cp --quiet --recursive %s/small s3://bench/put/", AWS, folder.path) },
  { name = "`rclone copy --transfers 16`", argv = support.shell(
    "%s copy --transfers 16 %s/small R:bench/put/", RCLONE, folder.path) } })

local cluster <close> = mk.pg.scratch { settings = { shared_buffers = "1GB" } }
do
  local c <close> = cluster:create_database("app"):connect()
  c:query [[
    CREATE TABLE wide AS SELECT i AS id, now() - i * interval '1 second' AS at,
      jsonb_build_object('user', i % 5000, 'path', '/v1/' || md5((i % 90000)::text),
        'ms', (i * 37) % 9000) AS payload, md5(i::text) AS token FROM generate_series(1, 3000000) i]]
  c:query "VACUUM ANALYZE"
end

local function job(name, store)
  local path = ("%s/%s.lua"):format(folder.path, name)
  mk.fs.write(path, ([[
    local mk = require "moonkeep"
    local driver = { endpoint = %q, access_key = %q, secret_key = mk.secret.file "%s/secret" }
    return mk.job { name = "bench", dump = { jobs = 2 }, verify = "stored",
      source = mk.pg { host = %q, user = "postgres", dbname = "app" }, upload = { %s } }]]):format(
    rgw.url, rgw.id, folder.path, cluster.folder, store))
  return { support.binary, "run", "-q", "--log-format", "human", path }
end
mk.fs.write(folder.path .. "/secret", rgw.secret)

local BUCKET = 'mk.store("s3", "s3://bench/put", driver)'
local FOLDER = ('mk.store("disk", "file://%s/out/disk")'):format(folder.path)
local dump = rounds(say, "A dump of one table of 3 million rows, zstd:1, over 2 connections:", {
  { name = "moonkeep into the bucket", argv = job("bucket", BUCKET) },
  { name = "moonkeep into a folder, synced", argv = job("folder", FOLDER) },
  { name = "moonkeep into both at once", argv = job("both", BUCKET .. ", " .. FOLDER) },
  { name = "`pg_dump -Fc \\| aws s3 cp -`", argv = support.shell(
    "pg_dump -Fc -h %s -U postgres app | %s cp --no-progress - s3://bench/put/x", cluster.folder,
    AWS) } })

say "| | measured | target |"
say "|---|---|---|"
local databases = require "databases"
databases.target(say, "storing: CPU beside `aws`'s", cpu_ratio(put, 1, 2), 0.25)
databases.target(say, "getting: CPU beside `aws`'s", cpu_ratio(get, 1, 2), 0.25)
databases.target(say, "storing: wall beside the faster of the two",
  math.max(support.ratio(put, 1, 2), support.ratio(put, 1, 3)), 1)
databases.target(say, "getting: wall beside the faster of the two",
  math.max(support.ratio(get, 1, 2), support.ratio(get, 1, 3)), 1)
databases.target(say, "small objects: wall beside the faster of the two",
  math.max(support.ratio(small, 1, 2), support.ratio(small, 1, 3)), 1)
databases.target(say, "`pg_dump -Fc \\| aws s3 cp -` beside the dump into the bucket",
  support.ratio(dump, 4, 1), 2.5, true)
databases.target(say, "CPU of the dump into the bucket beside that into a folder",
  cpu_ratio(dump, 1, 2), 1.2)
databases.target(say, "CPU of the dump into both beside that into the bucket",
  cpu_ratio(dump, 3, 1), 1.3)
section.write()
