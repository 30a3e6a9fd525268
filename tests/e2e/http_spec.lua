-- HTTP against nginx, and against a server that fails as it is told to.
local core = require "moonkeep.core.http"
local core_task = require "moonkeep.core.task"
local flow = require "moonkeep.flow"
local http = require "moonkeep.http"
local mk = require "moonkeep"
local servers = require "servers"
local support = require "support"

describe("a request", function()
  local nginx, faults

  setup(function()
    nginx, faults = servers.nginx(), servers.http_faults()
    mk.fs.write(nginx.www .. "/hello", "hello, world\n")
    mk.fs.write(nginx.www .. "/empty", "")
    mk.fs.write(nginx.www .. "/answer.json", '{"n": 9007199254740993}')
    mk.process.run { argv = { "bash", "-c",
      ("head -c 20000003 /dev/urandom > %s/big"):format(nginx.www) } }
  end)
  teardown(function()
    getmetatable(nginx).__close()
    getmetatable(faults).__close()
  end)

  local function count(path)
    return tonumber(mk.http.get(faults.url .. "/count" .. path).body)
  end

  it("gets an answer with its headers and its body", function()
    local answer = mk.http.get(nginx.url .. "/hello")
    assert.same({ 200, "hello, world\n", "13" },
      { answer.status, answer.body, answer.headers["content-length"] })
    assert.equal("", mk.http.get(nginx.url .. "/empty").body)
    assert.equal(9007199254740993, mk.http.get(nginx.url .. "/answer.json"):json().n)
  end)

  it("sends what it is told to", function()
    local function agent(options)
      options.url, options.headers = nginx.url .. "/agent", { ["X-Token"] = "t" }
      return mk.http.request(options).body
    end
    assert.equal("t GET ", agent {})
    assert.equal("t POST application/json", agent { json = { 1 } })
    assert.equal("t PUT text/plain; charset=utf-8", agent { method = "PUT", body = "x" })
    assert.equal("t HEAD ", "t HEAD " .. agent { method = "HEAD" })
  end)

  it("that is refused is an error with what the server said", function()
    local err = support.caught(mk.http.get, nginx.url .. "/gone?secret=1")
    assert.same({ "HTTP_STATUS", 410, "it was here once" }, { err.code, err.status, err.detail })
    assert.equal(("GET %s/gone: it answered 410"):format(nginx.url), err.message)
    assert.equal(410, mk.http.get(nginx.url .. "/gone", { any_status = true }).status)
  end)

  it("follows redirections, if it is to", function()
    assert.equal("hello, world\n", mk.http.get(nginx.url .. "/moved").body)
    assert.equal(302, mk.http.get(nginx.url .. "/moved", { redirects = 0, any_status = true }).status)
  end)

  it("verifies certificates", function()
    local err = support.caught(mk.http.get, nginx.tls_url .. "/hello")
    assert.equal("TLS", err.code)
    assert.matches("`ca`", err.hint)
    assert.equal("hello, world\n", mk.http.get(nginx.tls_url .. "/hello", { ca = nginx.ca }).body)
    local elsewhere = nginx.tls_url:gsub("localhost", "127.0.0.2")
    assert.is_true(support.caught(mk.http.get, elsewhere, { ca = nginx.ca, retries = 0 }).code ~= nil)
    err = support.caught(mk.http.get, nginx.tls_url .. "/hello", { ca = "/nowhere" })
    assert.equal("TLS", err.code)
  end)

  it("goes to a socket of this machine", function()
    assert.equal("hello, world\n",
      mk.http.get("http://anything/hello", { unix_socket = nginx.socket }).body)
  end)

  it("to nobody, or to what is no URL, is told without its secrets", function()
    local err = support.caught(mk.http.get, "http://user:password@127.0.0.1:1/x?key=1",
      { retries = 0 })
    assert.equal("NETWORK", err.code)
    assert.matches("GET http://127%.0%.0%.1:1/x: ", err.message)
    assert.matches("nobody answers there", err.hint)
    err = support.caught(mk.http.get, "nonsense")
    assert.same({ "INVALID", "the URL is not one: it begins with http:// or https://" },
      { err.code, err.message })
    assert.equal("INVALID", support.caught(mk.http.get, "file:///etc/passwd").code)
  end)

  it("is tried again as long as the server asks for that", function()
    local began = mk.clock.monotonic()
    assert.equal("ok", mk.http.get(faults.url .. "/status/503/2/0").body)
    assert.equal(3, count "/status/503/2/0")
    assert.equal("ok", mk.http.get(faults.url .. "/status/429/1/1").body)
    assert.is_true(mk.clock.monotonic() - began >= 1000) -- Retry-After
    local err = support.caught(mk.http.get, faults.url .. "/status/500/9/0", { retries = 2 })
    assert.same({ "HTTP_STATUS", 3 }, { err.code, count "/status/500/9/0" })
    assert.equal("HTTP_STATUS", support.caught(mk.http.get, faults.url .. "/status/403/9/-").code)
    assert.equal(1, count "/status/403/9/-")
  end)

  it("is tried again when its connection is reset", function()
    assert.equal("ok", mk.http.get(faults.url .. "/reset/1").body)
    assert.equal("ok", mk.http.request({ url = faults.url .. "/reset/1?put", method = "PUT",
      body = ("x"):rep(3000000) }).body)
  end)

  it("that may have been done is not repeated, unless it may be", function()
    local err = support.caught(mk.http.post, faults.url .. "/status/500/1/0", { body = "x" })
    assert.same({ "HTTP_STATUS", 1 }, { err.code, count "/status/500/1/0" })
    assert.equal("ok", mk.http.post(faults.url .. "/status/503/1/0", { body = "x" }).body)
    assert.equal("ok", mk.http.post(faults.url .. "/status/502/1/0", { body = "x",
      repeats = true }).body)
  end)

  it("that is never answered ends in time", function()
    for _, options in ipairs { { timeout = "300ms" }, { idle_timeout = "1s" } } do
      options.retries = 0
      assert.equal("TIMEOUT", support.caught(mk.http.get, faults.url .. "/silent", options).code)
    end
    local err = support.caught(mk.timeout, "300ms", mk.http.get, faults.url .. "/silent")
    assert.matches("not done within", err.message)
  end)

  it("whose answer is cut short is not taken for a good one", function()
    assert.equal("NETWORK", support.caught(mk.http.get, faults.url .. "/short", { retries = 1 }).code)
    assert.equal(2, count "/short")
  end)

  it("with mistakes is told about all of them", function()
    local err = support.caught(mk.http.request, { ulr = "x", retries = -1 })
    assert.matches("3 mistakes", err.message)
    assert.matches("line end", support.caught(mk.http.get, nginx.url,
      { headers = { A = "b\r\nC: d" } }).message)
  end)

  it("whose answer is too large for a text says so", function()
    local err = support.caught(mk.http.get, nginx.url .. "/big")
    assert.matches("the answer has more than 1048576 bytes", err.message)
  end)

  -- ---- flows --------------------------------------------------------------------------------------

  local function sha256(path)
    return flow.run({ { kind = "file", path = path }, { kind = "sha256", label = "x" } }).x.result
  end

  -- What becomes of the answers as the source of a flow: its report, what fill returned.
  local function filled(make)
    local feed, results = core.feed(), nil
    local scope <close> = core_task.scope()
    scope:spawn(function()
      results = table.pack(pcall(http.fill, feed, make))
      if results[1] and not results[3] then
        feed:finish()
      else
        feed:fail(results[1] and mk.json.encode(results[3].status) or results[2])
      end
    end)
    local ok, report = pcall(flow.run, { { kind = "feed", feed = feed },
      { kind = "sha256", label = "x" } })
    scope:join()
    return ok, report, results
  end

  local function get(url)
    return function(from)
      return { url = url, headers = { from > 0 and ("Range: bytes=%d-"):format(from) or nil } }
    end
  end

  it("fills a flow", function()
    local ok, report = filled(get(nginx.url .. "/big"))
    assert.is_true(ok)
    assert.same({ sha256(nginx.www .. "/big"), 20000003 }, { report.x.result,
      report.source.bytes_out })
  end)

  it("that is cut off again and again goes on where it was", function()
    local ok, report = filled(get(faults.url .. "/cut/70000"))
    assert.is_true(ok, tostring(report))
    assert.equal(300000, report.source.bytes_out)
    assert.equal(5, count "/cut/70000")
    local whole = filled(get(faults.url .. "/cut/300000"))
    assert.is_true(whole)
  end)

  it("that fills a flow goes on with nothing but the same object", function()
    for _, kind in ipairs { "changed", "norange" } do
      local ok = filled(get(("%s/%s/70000"):format(faults.url, kind)))
      assert.is_false(ok, kind)
    end
  end)

  it("is a source of flows for recipes", function()
    local digest = { kind = "sha256", label = "x" }
    local report = mk.flow.run { mk.http.source(nginx.tls_url .. "/big", { ca = nginx.ca }), digest }
    assert.equal(sha256(nginx.www .. "/big"), report.x.result)
    assert.equal(300000, mk.flow.run({ mk.http.source(faults.url .. "/cut/70000"), digest }).x.bytes_in)
    local function code_of(url)
      return support.caught(mk.flow.run, { mk.http.source(url), digest }).code
    end
    assert.equal("HTTP_STATUS", code_of(nginx.url .. "/gone"))
    assert.equal("CORRUPT", code_of(faults.url .. "/norange/70000"))
  end)

  it("that fills a flow waits for it, and ends with it", function()
    local feed = core.feed()
    local scope <close> = core_task.scope()
    local result
    scope:spawn(function() result = table.pack(pcall(http.fill, feed, get(nginx.url .. "/slow"))) end)
    local err = support.caught(mk.timeout, "300ms", flow.run, { { kind = "feed", feed = feed },
      { kind = "null" } })
    assert.equal("TIMEOUT", err.code)
    scope:join()
    assert.is_false(result[1])
    assert.equal("CANCELED", result[2].code)
  end)

  it("sends the parts of a flow", function()
    local parts, sizes = core.parts(6000000), {}
    local scope <close> = core_task.scope()
    scope:spawn(function()
      local part = parts:next()
      while part do
        local answer = core.request { method = "PUT", body = part,
          url = ("%s/dav/part%d"):format(nginx.url, part.number) }
        assert(answer.status == 201, answer.status)
        sizes[part.number] = part.size
        part:close()
        part = parts:next()
      end
      parts:done()
    end)
    flow.run { { kind = "file", path = nginx.www .. "/big" }, { kind = "parts", parts = parts } }
    scope:join()
    assert.same({ 6000000, 6000000, 6000000, 2000003 }, sizes)
    mk.process.run { argv = { "bash", "-c", "cat dav/part? | cmp - big" }, cwd = nginx.www }
  end)
end)
