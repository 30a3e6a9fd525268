-- Whom a job tells of what, and that it arrives: also after an outage, a crash, with a recipe that does
-- not load. What they send is taken by a server of the tests' own (tests/sink.py).
local mk = require "moonkeep"
local servers = require "servers"
local support = require "support"

describe("a job that tells", function()
  local sink, dir
  local n = 0

  setup(function()
    sink, dir = servers.sink(), mk.fs.tempdir()
  end)
  teardown(function()
    dir:close()
    getmetatable(sink).__close()
  end)

  -- A recipe of a job that does what `body` says, in a place of its own: run(env), messages() since
  -- the last time, as { path = kind of message } of webhooks.
  local function job(notify, body, keys)
    n = n + 1
    local self = { state = ("%s/state%d"):format(dir.path, n),
      path = ("%s/job%d.lua"):format(dir.path, n) }
    local text = ([[
      local mk = require "moonkeep"
      local function hook(name, more)
        local options = { url = %q .. "/%d/" .. name, again = "1d" }
        for key, value in pairs(more or {}) do options[key] = value end
        return mk.notify.webhook(options)
      end
      return mk.job { name = "nightly", %s notify = { %s }, run = function(ctx) %s end }
    ]]):format(sink.url, n, keys or "", notify, body or "")
    mk.fs.write(self.path, text)
    function self.start(env)
      local variables = { MOONKEEP_STATE = self.state }
      for name, value in pairs(env or {}) do
        variables[name] = value
      end
      return support.start(dir.path, { "run", self.path }, variables)
    end
    function self.run(env)
      return self.start(env):finish()
    end
    function self.command(...)
      return support.start(dir.path, { ... }, { MOONKEEP_STATE = self.state }):finish()
    end
    local prefix = ("/%d/"):format(n)
    function self.requests()
      local list = {}
      for _, request in ipairs(sink.requests()) do
        if request.path:sub(1, #prefix) == prefix then
          request.name = request.path:sub(#prefix + 1)
          request.json = request.headers["content-type"] == "application/json" and
            mk.json.decode(request.body) or nil
          list[#list + 1] = request
        end
      end
      return list
    end
    function self.kinds()
      local list = {}
      for i, request in ipairs(self.requests()) do
        list[i] = request.name .. ": " .. request.json.event.kind
      end
      table.sort(list)
      return list
    end
    return self
  end

  local FAILS = 'mk.error("OOPS", "it did not work", { hint = "try again" })'
  local BY_ENV = 'if os.getenv "FAIL" then ' .. FAILS .. ' end'

  it("tells of a success, and of each problem, whom it names for it", function()
    local it_works = job('success = hook "s", problem = hook "p", always = hook "a"')
    assert.equal(0, it_works.run().code)
    assert.same({ "a: start", "a: success", "s: success" }, it_works.kinds())
    local it_fails = job([[success = hook "s", problem = { hook "p", hook "q" },
      failure = hook "f"]], FAILS)
    assert.equal(1, it_fails.run().code)
    assert.same({ "f: failure", "p: failure", "q: failure" }, it_fails.kinds())
    local event = it_fails.requests()[1].json.event
    assert.equal("OOPS", event.error.code)
    assert.matches("job%d+.lua:", event.error.where)
    assert.equal("nothing was published", event.error.left)
    local text = it_fails.requests()[1].json.text
    assert.matches("error   OOPS: it did not work\nwhere   .*:%d+\nleft    nothing was published\n" ..
      "hint    try again", text)
    assert.matches("log     .*%.jsonl", text)
  end)

  it("tells once who is named twice", function()
    local place = job('failure = hook "x", problem = hook "x", always = hook "x"', FAILS)
    place.run()
    assert.same({ "x: failure", "x: start" }, place.kinds())
  end)

  it("tells of the same problem once a while, of another one at once, and of the recovery", function()
    local place = job('problem = hook "p", recovered = hook "r", always = hook "a"', [[
      if os.getenv "FAIL" then mk.error("OOPS", os.getenv "FAIL") end]])
    for _, why in ipairs { "no disk 17", "no disk 18", "no network" } do
      place.run { FAIL = why }
    end
    place.run()
    place.run { FAIL = "no disk 19" }
    local told = {}
    for _, request in ipairs(place.requests()) do
      local event = request.json.event
      if request.name ~= "a" then
        told[#told + 1] = ("%s: %s (%d held back)"):format(request.name, event.error and
          event.error.message or "well", event.held_back)
      end
    end
    assert.same({ "p: no disk 17 (0 held back)", "p: no network (1 held back)", "r: well (0 held back)",
      "p: no disk 19 (0 held back)" }, told)
  end)

  it("does not send more than 20 messages an hour to anybody", function()
    local place = job('success = hook "s"')
    for _ = 1, 22 do
      place.run()
    end
    assert.equal(20, #place.requests())
  end)

  it("tells of a run that was skipped, killed, or stopped at its deadline", function()
    local skipped = job('problem = hook "p"', 'mk.sleep "30s"')
    local first = skipped.start()
    support.eventually("it runs", function()
      return mk.fs.exists(first.err) and mk.fs.read(first.err):find '"event":"start"'
    end)
    assert.equal(4, skipped.run().code)
    assert.same({ "p: skipped" }, skipped.kinds())
    mk.process.run { argv = { "kill", "-KILL", tostring(first:worker_pid()) } }
    assert.equal(1, first:finish().code)
    assert.same({ "p: failure", "p: skipped" }, skipped.kinds())
    assert.equal("WORKER_DIED", skipped.requests()[2].json.event.error.code)

    local late = job('problem = hook "p"', 'mk.sleep "30s"', 'deadline = "300ms",')
    assert.equal(1, late.run().code)
    assert.equal("DEADLINE", late.requests()[1].json.event.error.code)
  end)

  it("tells of its recipe that does not load any more", function()
    local place = job('problem = hook "p", success = hook "s"')
    place.run()
    mk.fs.write(place.path, 'return mk.jbo {')
    assert.equal(2, place.run().code)
    assert.same({ "p: failure", "s: success" }, place.kinds())
    local event = place.requests()[2].json.event
    assert.equal("SYNTAX", event.error.code)
    assert.is_nil(event.job)
    assert.equal(place.path, event.recipe)
  end)

  it("tells by the site's notify.lua when its recipe has never loaded", function()
    local place = job ""
    mk.fs.write(place.path, "return 17")
    mk.fs.write(place.state .. ".lua", ([[local mk = require "moonkeep"
      return { problem = mk.notify.webhook { url = "%s/%d/site" } }]]):format(sink.url, n))
    assert.equal(2, place.run({ MOONKEEP_NOTIFY = place.state .. ".lua" }).code)
    assert.same({ "site: failure" }, place.kinds())
  end)

  it("keeps what could not be sent, and sends it with the next run", function()
    local place = job('problem = hook "p", success = hook "s"', BY_ENV)
    sink.set(404)
    local run = place.run { FAIL = "1" }
    assert.equal(1, run.code)
    assert.matches("webhook could not be told: HTTP_STATUS: .*404.*notify flush", run.stderr)
    assert.matches("1 message could not be delivered yet.*HTTP_STATUS", place.command("status",
      place.path).stdout)
    assert.matches("webhook +failure +nightly +1 +HTTP_STATUS", place.command("notify", "list").stdout)
    sink.set(200)
    assert.equal(0, place.run().code)
    assert.same({ "s: success" }, place.kinds()) -- the other one waits for its time
    local flushed = place.command("notify", "flush")
    assert.matches("sent 1 message, 0 still wait", flushed.stdout)
    assert.same({ "p: failure", "s: success" }, place.kinds())
    assert.matches("no message waits", place.command("notify", "list").stdout)
  end)

  it("does not lose what was on its way when everything was killed", function()
    local place = job('success = mk.notify.command { argv = { "sleep", "60" } }')
    local run = place.start()
    local function waiting()
      return #support.files(place.state .. "/outbox") > 1
    end
    support.eventually("a message is on its way", waiting)
    mk.process.run { argv = { "kill", "-KILL", tostring(run.child:pid()) } }
    run:finish()
    assert.is_true(waiting())
    support.eventually("nothing of it runs", function()
      return #support.processes(place.state) == 0 and #support.processes "--deliver" == 0
    end)
  end)

  it("has the outcome that it has, whatever becomes of its messages", function()
    local place = job([[success = { hook("s", { template = function() error "broken" end }),
      hook("t", { template = function() while true do end end, timeout = "10s" }),
      mk.notify.command { argv = { "sleep", "60" }, timeout = "500ms" },
      mk.notify.command { argv = { "false" } }, mk.notify.slack "http://127.0.0.1:1/x" }]])
    local run = place.run()
    assert.equal(0, run.code, run.stderr)
    assert.matches("command could not be told: TIMEOUT: it was not done within 500ms", run.stderr)
    assert.matches("command could not be told: PROCESS_FAILED: false failed with exit code 1",
      run.stderr)
    assert.matches("slack could not be told: NETWORK", run.stderr)
    assert.same({ "s: success", "t: success" }, place.kinds())
    local texts = {}
    for _, request in ipairs(place.requests()) do
      texts[request.name] = request.json.text
    end
    assert.matches("note    the template of this message failed: .*broken", texts.s)
    assert.matches("note    the template of this message failed: TIMEOUT", texts.t)
  end)

  it("says what its template says", function()
    local place = job([[always = { hook("text", { template = function(event)
        return event.job .. " is " .. event.status end }),
      hook("title", { template = function() return { title = "T", text = "B" } end }),
      hook("own", { template = function(event) return { state = event.kind } end }) }]])
    place.run()
    local bodies = {}
    for _, request in ipairs(place.requests()) do
      local json = request.json
      if (json.event or { kind = json.state }).kind == "success" then
        bodies[request.name] = json
      end
    end
    assert.equal("nightly is ok", bodies.text.text)
    assert.same({ "T", "B" }, { bodies.title.title, bodies.title.text })
    assert.same({ state = "success" }, bodies.own)
  end)

  it("keeps no secret: not on disk, not in messages, not in its log", function()
    local place = job([[problem = mk.notify.webhook { url = mk.secret.env "HOOK",
      headers = { Authorization = mk.secret.env "TOKEN" } }]], FAILS)
    local run = place.run { HOOK = ("%s/%d/secret-path"):format(sink.url, n), TOKEN = "t0p-s3cret" }
    assert.equal("t0p-s3cret", place.requests()[1].headers.authorization)
    for _, file in ipairs(support.files(place.state)) do
      local text = mk.fs.read(place.state .. "/" .. file)
      assert.is_nil(text:find("secret-path", 1, true) or text:find("t0p-s3cret", 1, true), file)
    end
    assert.is_nil(run.stderr:find("secret-path", 1, true))
  end)

  it("pings a check of healthchecks", function()
    local place = job(('always = mk.notify.healthchecks("%s/%d/uuid?create=1")'):format(sink.url, n + 1),
      BY_ENV)
    place.run()
    place.run { FAIL = "1" }
    place.run { FAIL = "1" }
    local paths = {}
    for i, request in ipairs(place.requests()) do
      paths[i] = request.name
    end
    assert.same({ "uuid/start?create=1", "uuid?create=1", "uuid/start?create=1", "uuid/fail?create=1",
      "uuid/start?create=1", "uuid/fail?create=1" }, paths)
    assert.matches("FAILED on .*: OOPS\n\nerror   OOPS: it did not work", place.requests()[4].body)
  end)

  it("writes to Slack, and what it quotes stays text", function()
    local place = job(('problem = mk.notify.slack("%s/%d/slack")'):format(sink.url, n + 1),
      'mk.error("OOPS", "<!channel> & <https://evil|here>")')
    place.run()
    local body = place.requests()[1].json
    assert.matches("^nightly FAILED on .*: OOPS$", body.text)
    assert.matches("OOPS: &lt;!channel&gt; &amp; &lt;https://evil|here&gt;", body.attachments[1].text)
  end)

  it("runs a program that has the event", function()
    local out = dir.path .. "/program"
    local place = job(([[problem = mk.notify.command { argv = { "sh", "-c",
      'printf "%%s\n" "$MOONKEEP_KIND" "$MOONKEEP_JOB" "$MOONKEEP_TITLE" >$OUT; cat >>$OUT' },
      env = { OUT = %q } }]]):format(out), FAILS)
    place.run()
    assert.matches("^failure\nnightly\nnightly FAILED on [^\n]*: OOPS\nerror   OOPS: it did not work\n",
      mk.fs.read(out))
  end)

  it("tells of a backup of an unusual size, with what is usual", function()
    local cluster <close> = support.cluster_with("app", support.SMALL)
    local place = job('size = hook "z", success = hook "s"', "ctx:backup()", ([[
      source = mk.pg { host = %q, user = "postgres", dbname = "app" }, compress = "none",
      upload = { mk.store("disk", "file://%s/sizes") },]]):format(cluster.folder, dir.path))
    for _ = 1, 4 do
      assert.equal(0, place.run().code)
    end
    assert.same({ "s: success", "s: success", "s: success", "s: success" }, place.kinds())
    assert.matches("app: [^,]*, [%d.]+ KiB %(usually [%d.]+ KiB, [+-]%d+ %%%), read, in disk",
      place.requests()[4].json.text)
    do
      local c <close> = cluster:database("app"):connect()
      c:query("INSERT INTO fruit SELECT i, repeat('x', 200), 1, true FROM generate_series(1000, 3000) i")
    end
    place.run()
    assert.equal("z: size", place.kinds()[6])
    assert.matches("problem the size of app, .*, is far from the usual",
      place.requests()[5].json.text .. place.requests()[6].json.text)
  end)

  it("tells of a failure, whatever the size", function()
    local rules = require "moonkeep.notify.rules"
    local function kind(status)
      local list = { { service = "slack", options = { url = "x" } } }
      return rules.recipients({ job = "j", status = status, has_unusual_size = true }, { jobs = { j = {
        notify = { problem = list, always = list } } } })[1].kind
    end
    assert.same({ "size", "degraded", "failure" }, { kind "ok", kind "degraded", kind "failed" })
  end)

  it("tells of what is stale on a machine that has never run it, and of a recipe that is broken",
    function()
      local place = job('stale = hook "old"', "", [[fresh = "1h", source = mk.pg { dbname = "x" },
        upload = { mk.store("disk", "file:///nonexistent") },]])
      assert.equal(5, place.command("status", "--notify", place.path).code)
      assert.same({ "old: stale" }, place.kinds())
      local broken = job('problem = hook "p"')
      broken.run()
      mk.fs.write(broken.path, "return 17 +")
      local looked = support.start(dir.path, { "status", "--notify", broken.path, place.path }, {
        MOONKEEP_STATE = broken.state }):finish()
      assert.equal(1, looked.code)
      assert.same({ "p: failure" }, broken.kinds())
      assert.same({ "old: stale", "old: stale" }, place.kinds())
    end)

  it("tells also without a state folder, once", function()
    local place = job('problem = hook "p"', FAILS)
    mk.fs.write(place.state, "no folder")
    assert.equal(1, place.run().code)
    assert.same({ "p: failure" }, place.kinds())
    sink.set(500)
    local run = place.run()
    sink.set(200)
    assert.matches("webhook could not be told, and the message cannot be kept", run.stderr)
  end)

  it("does not send what needs the environment of another job's runs", function()
    local one = job('success = mk.notify.webhook { url = mk.secret.env "HOOK" }')
    local env = { HOOK = "http://127.0.0.1:1/x" }
    one.run(env)
    local waiting = #support.files(one.state .. "/outbox")
    assert.equal(1, waiting)
    local other = job("", "")
    other.state = one.state
    support.start(dir.path, { "status", "--notify", other.path }, { MOONKEEP_STATE = one.state,
      HOOK = ("%s/%d/wrong"):format(sink.url, n) }):finish()
    assert.equal(waiting, #support.files(one.state .. "/outbox"))
    assert.same({}, other.requests())
  end)

  it("gives no secret to the programs that it runs", function()
    local out = dir.path .. "/environment"
    local place = job(([[success = { mk.notify.command { argv = { "sh", "-c", "env >$OUT" },
      env = { OUT = %q } }, mk.notify.webhook { url = mk.secret.env "HOOK" } }]]):format(out))
    place.run { HOOK = ("%s/%d/x"):format(sink.url, n), PGPASSWORD = "pg-s3cret" }
    local text = mk.fs.read(out)
    assert.matches("MOONKEEP_KIND=success", text)
    assert.is_nil(text:find("HOOK=", 1, true) or text:find("pg-s3cret", 1, true))
  end)

  it("shows nothing of a URL that is a secret when it is refused", function()
    sink.set(404)
    local place = job('success = mk.notify.webhook { url = mk.secret.env "HOOK" }')
    local run = place.run { HOOK = ("%s/%d/t0ken?channel=x"):format(sink.url:gsub("//", "//u:pw@"), n) }
    sink.set(200)
    assert.matches("webhook could not be told: HTTP_STATUS", run.stderr)
    for _, text in ipairs { run.stderr, place.command("status", place.path).stdout } do
      assert.is_nil(text:find("t0ken", 1, true), text)
    end
  end)

  it("tells of an error with any bytes in it", function()
    local place = job('problem = hook "p"', [[mk.error("OOPS", "a\0b", { detail = "c\0d" })]])
    place.run()
    assert.equal("a?b", place.requests()[1].json.event.error.message)
  end)

  it("does not tell the site of the same failure again and again", function()
    local place = job("", FAILS)
    mk.fs.write(place.state .. ".lua", ([[local mk = require "moonkeep"
      local hook = mk.notify.webhook { url = "%s/%d/site" }
      return { problem = hook, always = hook }]]):format(sink.url, n))
    for _ = 1, 3 do
      place.run { MOONKEEP_NOTIFY = place.state .. ".lua" }
    end
    assert.same({ "site: failure" }, place.kinds())
  end)

  it("tells of what is stale, when status is asked to", function()
    local place = job('stale = hook "old"', "", [[fresh = "1h", source = mk.pg { dbname = "x" },
      upload = { mk.store("disk", "file:///nonexistent") },]])
    place.run()
    assert.equal(5, place.command("status", "--notify", place.path).code)
    assert.equal(5, place.command("status", "--notify", place.path).code)
    assert.same({ "old: stale" }, place.kinds())
    assert.matches("there is no good backup that is newer than 1h", place.requests()[1].json.text)
  end)

  it("can be tried", function()
    local place = job([[problem = { hook "p", mk.notify.slack "http://127.0.0.1:1/x" },
      success = hook("s", { template = function() return "own words" end })]])
    local test = place.command("notify", "test", place.path)
    assert.equal(1, test.code)
    assert.matches("OK  webhook of .*:%d+ was told", test.stdout)
    assert.matches("FAILED  slack of .*:%d+: NETWORK: .*\n +nobody answers there", test.stdout)
    assert.same({ "p: failure", "s: failure" }, place.kinds())
    assert.matches("^TEST: nightly FAILED", place.requests()[1].json.title)
    assert.equal(2, place.command("notify", "test").code)
    local silent = job ""
    assert.matches("no job of .* tells anybody", silent.command("notify", "test", silent.path).stderr)
  end)

  it("works as docs/guide/notify.md says", function()
    local page = mk.fs.read "docs/guide/notify.md"
    local folder = dir.path .. "/guide"
    mk.fs.mkdir(folder)
    local recipes = {}
    for text in page:gmatch "```lua\n(.-)```" do
      recipes[#recipes + 1] = text:gsub("smtp://mail.example.org:587", "smtp://localhost:" .. sink.smtp)
        :gsub("user = \"backup\"", ('ca = %q, user = "moonkeep"'):format(sink.ca))
        :gsub("/run/secrets/mail", folder .. "/password"):gsub("/etc/moonkeep/slack", folder .. "/slack")
        :gsub("/var/backups/app", folder .. "/store")
    end
    mk.fs.write(folder .. "/password", "let me in")
    mk.fs.write(folder .. "/slack", sink.url .. "/guide/site")
    mk.fs.write(folder .. "/nightly.lua", recipes[1])
    local env = { MOONKEEP_STATE = folder .. "/state", SLACK_URL = sink.url .. "/guide/slack",
      HEALTHCHECKS_URL = sink.url .. "/guide/check" }
    local codes = {}
    for line in page:gmatch "\n(moonkeep [^\n]+)" do
      local words = {}
      for word in line:gsub("nightly.lua", folder .. "/nightly.lua"):gmatch "%S+" do
        words[#words + 1] = word
      end
      codes[#codes + 1] = support.start(dir.path, { table.unpack(words, 2) }, env):finish().code
    end
    assert.same({ 0, 0, 5 }, codes) -- there is no backup yet
    mk.fs.write(folder .. "/bad.lua", "return")
    mk.fs.write(folder .. "/notify.lua", recipes[2])
    env.MOONKEEP_NOTIFY = folder .. "/notify.lua"
    support.start(dir.path, { "run", folder .. "/bad.lua" }, env):finish()
    local paths = {}
    for _, request in ipairs(sink.requests()) do
      paths[#paths + 1] = request.path:match "^/guide/(.*)"
    end
    table.sort(paths) -- a failure by `test`, and that the job is stale
    assert.same({ "check/fail", "check/fail", "site", "slack", "slack" }, paths)
  end)

  describe("by mail", function()
    local function mail(more, body)
      return job(([[problem = mk.notify.email { url = "smtp://localhost:%d", ca = %q, %s }]]):format(
        sink.smtp, sink.ca, more), body or FAILS)
    end
    local ADDRESSES = [[from = "Nächte <n@example.org>",
      to = { "Ops <ops@example.org>", "on-call@example.org" }, ]]
    local LOGIN = 'user = "moonkeep", password = mk.secret.env "PW"'

    it("sends it encrypted, logged in, and readable", function()
      local before = #sink.mails()
      local place = mail(ADDRESSES .. LOGIN, 'mk.error("OOPS", "naïve: " .. ("ä"):rep(100))')
      local run = place.run { PW = "let me in" }
      assert.equal(before + 1, #sink.mails(), run.stderr)
      local got = sink.mails()[before + 1]
      assert.same({ "n@example.org", { "ops@example.org", "on-call@example.org" }, "moonkeep", true },
        { got.from, got.to, got.user, got.tls })
      mk.fs.write(dir.path .. "/mail", got.text)
      local read = mk.process.run { argv = { "/usr/bin/python3", "-c", [[
import email, email.policy, sys
m = email.message_from_file(open(sys.argv[1]), policy=email.policy.default)
print(m["subject"]); print(m["from"]); print(m["to"]); print(m.get_content())]], dir.path .. "/mail" } }
      read = read:gsub("\r\n", "\n") -- mail has its own
      assert.matches("^nightly FAILED on [^\n]*: OOPS\n", read)
      assert.truthy(read:find("Nächte <n@example.org>\nOps <ops@example.org>, on-call@example.org\n" ..
        "error   OOPS: naïve: " .. ("ä"):rep(100) .. "\nwhere", 1, true), read)
    end)

    it("sends it to those who are still there, from a name of any kind", function()
      local before = #sink.mails()
      local run = mail([[from = "Backups, Nightly <n@example.org>", to = { "gone@example.org",
        "here@example.org" }, ]] .. LOGIN).run { PW = "let me in" }
      assert.equal(before + 1, #sink.mails(), run.stderr)
      assert.same({ "here@example.org" }, sink.mails()[before + 1].to)
      assert.matches('From: "Backups, Nightly" <n@example.org>\r\n', sink.mails()[before + 1].text)
    end)

    it("says what is wrong with a login, a certificate, an address", function()
      assert.matches("email could not be told: PERMISSION_DENIED: mail by smtp://.*check the user",
        mail(ADDRESSES .. LOGIN).run({ PW = "wrong" }).stderr)
      assert.matches("email could not be told: TLS: ", mail(ADDRESSES .. "ca = nil").run().stderr)
    end)

    it("insists on encryption, unless it need not", function()
      local plain <close> = servers.sink(true)
      local function to(more)
        return job(([[problem = mk.notify.email { url = "smtp://localhost:%d", %s }]]):format(plain.smtp,
          ADDRESSES .. more), FAILS)
      end
      assert.matches("email could not be told: TLS: .*offers no encryption", to("").run().stderr)
      assert.equal(0, #plain.mails())
      assert.equal(1, to('tls = "optional"').run().code)
      assert.equal(1, #plain.mails())
    end)
  end)
end)
