--- Real servers that specs start and stop, each in a folder of its own.
local mk = require "moonkeep"

local M = {}

local next_port = 21000 + math.random(0, 9000)

--- A port that nobody listens on.
function M.port()
  for _ = 1, 1000 do
    next_port = next_port + 1
    local ok = pcall(mk.process.run, { argv = { "bash", "-c",
      ("exec 3<>/dev/tcp/127.0.0.1/%d"):format(next_port) } })
    if not ok then
      return next_port
    end
  end
end

--- Waits until somebody listens on a port.
function M.wait(port)
  for _ = 1, 1000 do
    if pcall(mk.process.run, { argv = { "bash", "-c",
      ("exec 3<>/dev/tcp/127.0.0.1/%d"):format(port) } }) then
      return
    end
    mk.sleep "10ms"
  end
  error("nobody listens on " .. port)
end

--- A certificate for localhost and 127.0.0.1 of an authority of its own: paths { cert, key, ca }.
function M.certificate(folder)
  mk.process.run { cwd = folder, argv = { "bash", "-c", [[
    exec 2>openssl.log
    openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=tests -keyout ca.key -out ca.pem
    openssl req -newkey rsa:2048 -nodes -subj /CN=localhost -keyout key.pem -out request.pem
    openssl x509 -req -days 2 -in request.pem -CA ca.pem -CAkey ca.key -CAcreateserial -out cert.pem \
      -extfile <(echo subjectAltName=DNS:localhost,IP:127.0.0.1)]] } }
  return { cert = folder .. "/cert.pem", key = folder .. "/key.pem", ca = folder .. "/ca.pem" }
end

-- What a spec gets: fields, and how it is closed.
local function server(fields, child, tempdir)
  fields.folder = tempdir.path
  return setmetatable(fields, { __close = function()
    child:kill "TERM"
    child:wait()
    tempdir:close()
  end })
end

local NGINX = [[
daemon off;
master_process off;
pid $folder/pid;
error_log $folder/error.log;
events {}
http {
  access_log $folder/access.log;
  client_body_temp_path $folder/body;
  proxy_temp_path $folder/t1;
  fastcgi_temp_path $folder/t2;
  scgi_temp_path $folder/t3;
  uwsgi_temp_path $folder/t4;
  default_type text/plain;
  server {
    listen 127.0.0.1:$port;
    listen unix:$folder/socket;
    listen 127.0.0.1:$tls_port ssl;
    ssl_certificate $folder/cert.pem;
    ssl_certificate_key $folder/key.pem;
    root $folder/www;
    location /dav/ { dav_methods PUT DELETE; client_max_body_size 0; create_full_put_path on; }
    location = /moved { return 302 /hello; }
    location = /gone { return 410 "it was here once"; }
    # a bucket of another region, as Amazon's service says it
    location /bucket-elsewhere/ {
      if ($http_authorization !~ "/eu-west-3/s3/") {
        add_header x-amz-bucket-region eu-west-3 always;
        return 400;
      }
      return 200 "found";
    }
    location = /agent { return 200 "$http_x_token $request_method $content_type"; }
    # what gives credentials: an instance, a container, STS
    location = /latest/api/token { if ($request_method != PUT) { return 405; } return 200 TOKEN; }
    location = /latest/meta-data/iam/security-credentials/ {
      if ($http_x_aws_ec2_metadata_token != TOKEN) { return 401; }
      return 200 "the-role\n";
    }
    location = /latest/meta-data/iam/security-credentials/the-role {
      if ($http_x_aws_ec2_metadata_token != TOKEN) { return 401; }
      return 200 '{"AccessKeyId": "of instance", "SecretAccessKey": "s1", "Token": "t1",
        "Expiration": "2030-01-01T00:00:00Z"}';
    }
    location = /container {
      if ($http_authorization != "may I") { return 403; }
      return 200 '{"AccessKeyId": "of container", "SecretAccessKey": "s2", "Token": "t2",
        "Expiration": "2020-01-01T00:00:00Z"}';
    }
    location = / {
      if ($request_method != POST) { return 405; }
      return 200 '<R xmlns="q"><S><Credentials><AccessKeyId>of web</AccessKeyId>
        <SecretAccessKey>s3</SecretAccessKey><SessionToken>t3</SessionToken>
        <Expiration>2030-01-01T00:00:00Z</Expiration></Credentials></S></R>';
    }
    location = /slow { limit_rate 20k; alias $folder/www/big; }
  }
}]]

--- nginx with files in `www`: { url, tls_url, ca, socket, www, folder }. It takes PUT and DELETE below
--- /dav/.
function M.nginx()
  local tempdir = mk.fs.tempdir()
  local folder, port, tls_port = tempdir.path, M.port(), M.port()
  local certificate = M.certificate(folder)
  mk.fs.mkdir(folder .. "/www/dav")
  mk.fs.write(folder .. "/nginx.conf", (NGINX:gsub("%$(%a+_?%a*)", { folder = folder, port = port,
    tls_port = tls_port })))
  local child = mk.process.spawn { argv = { "/usr/sbin/nginx", "-p", folder, "-c",
    folder .. "/nginx.conf" } }
  M.wait(tls_port)
  return server({ url = "http://127.0.0.1:" .. port, tls_url = "https://localhost:" .. tls_port,
    ca = certificate.ca, socket = folder .. "/socket", www = folder .. "/www" }, child, tempdir)
end

--- Ceph's S3 gateway, with a cluster in memory: { url, id, secret, driver(bucket, options), folder,
--- admin(...) }. It takes some 13 seconds to start. TLS: `tls` = true adds tls_url and ca.
function M.rgw(tls)
  local tempdir, port = mk.fs.tempdir(), M.port()
  local folder = tempdir.path
  local argv = { "bash", "tests/rgw.bash", "up", folder, tostring(M.port()), tostring(port) }
  local fields = { url = "http://127.0.0.1:" .. port, id = "testkey", secret = "testsecret" }
  if tls then
    local certificate, tls_port = M.certificate(folder), M.port()
    mk.fs.write(folder .. "/both.pem", mk.fs.read(certificate.cert) .. mk.fs.read(certificate.key))
    argv[#argv + 1], argv[#argv + 2] = tostring(tls_port), folder .. "/both.pem"
    fields.tls_url, fields.ca = "https://localhost:" .. tls_port, certificate.ca
  end
  mk.process.run { argv = argv }
  function fields.admin(...)
    return mk.process.run { argv = { "radosgw-admin", "-c", folder .. "/ceph.conf", ... } }
  end
  function fields.options(more)
    local options = { endpoint = fields.url, access_key = fields.id, secret_key = fields.secret }
    for key, value in pairs(more or {}) do
      options[key] = value
    end
    return options
  end
  function fields.driver(place, more)
    return assert(require("moonkeep.store.s3").new(place, fields.options(more)))
  end
  fields.folder = folder
  return setmetatable(fields, { __close = function()
    mk.process.run { argv = { "bash", "tests/rgw.bash", "down", folder } }
    tempdir:close()
  end })
end

-- Where moto_server is, if it is.
local function moto()
  local ok, path = pcall(mk.process.run, { argv = { "sh", "-c", "command -v moto_server" } })
  return ok and path:match "%S+" or nil
end
M.has_moto = moto

--- moto, which checks no signatures, but has what Ceph's gateway has not: { url, driver(place,
--- options) }.
function M.moto()
  local tempdir, port = mk.fs.tempdir(), M.port()
  local child = mk.process.spawn { argv = { moto(), "-H", "127.0.0.1", "-p", tostring(port) } }
  M.wait(port)
  local url = "http://127.0.0.1:" .. port
  return server({ url = url, driver = function(place, more)
    local options = { endpoint = url, access_key = "any", secret_key = "any" }
    for key, value in pairs(more or {}) do
      options[key] = value
    end
    return assert(require("moonkeep.store.s3").new(place, options))
  end }, child, tempdir)
end

--- A proxy before a server on a port of this machine: { url, set(mode) }; see proxy.py.
function M.proxy(upstream_port)
  local tempdir, port = mk.fs.tempdir(), M.port()
  local mode = tempdir.path .. "/mode"
  mk.fs.write(mode, "pass")
  local child = mk.process.spawn { argv = { "/usr/bin/python3", "tests/proxy.py", tostring(port),
    tostring(upstream_port), mode } }
  M.wait(port)
  return server({ url = "http://127.0.0.1:" .. port, set = function(text)
    mk.fs.write(mode, text)
  end }, child, tempdir)
end

--- What notifiers send to: see sink.py. { url, smtp (a port), ca, folder, requests(), mails(),
--- set(status) }; the lists have what has come, in order. Without `plain`, mail takes STARTTLS and a
--- login.
function M.sink(plain)
  local tempdir, port, smtp = mk.fs.tempdir(), M.port(), M.port()
  local folder = tempdir.path
  local certificate = M.certificate(folder)
  local argv = { "/usr/bin/python3", "tests/sink.py", folder, tostring(port), tostring(smtp) }
  if not plain then
    argv[#argv + 1], argv[#argv + 2] = certificate.cert, certificate.key
  end
  local child = mk.process.spawn { argv = argv }
  M.wait(port)
  local function kept(kind)
    return function()
      local list = {}
      while mk.fs.exists(("%s/%s-%d.json"):format(folder, kind, #list + 1)) do
        list[#list + 1] = mk.json.decode(mk.fs.read(("%s/%s-%d.json"):format(folder, kind, #list + 1)))
      end
      return list
    end
  end
  return server({ url = "http://127.0.0.1:" .. port, smtp = smtp, ca = certificate.ca,
    requests = kept "http", mails = kept "mail", set = function(status)
      mk.fs.write(folder .. "/status", tostring(status))
    end }, child, tempdir)
end

--- A server that does what no real one can be made to do: see http_faults.py. { url, requests() }.
function M.http_faults()
  local tempdir, port = mk.fs.tempdir(), M.port()
  local child = mk.process.spawn { argv = { "/usr/bin/python3", "tests/http_faults.py",
    tostring(port) } }
  M.wait(port)
  return server({ url = "http://127.0.0.1:" .. port }, child, tempdir)
end

return M
