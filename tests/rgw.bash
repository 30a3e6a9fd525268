#!/usr/bin/env bash
# A Ceph cluster of one monitor, one object store daemon in memory and one S3 gateway, on loopback:
#
#   rgw.bash up FOLDER MON_PORT PORT [TLS_PORT CERT_AND_KEY]     down FOLDER
#
# What it took to find out: the same uuid must be given to `osd new` and to --mkfs; both may fail while
# the monitor settles; and the daemons are stopped gateway first, for one without its monitor hangs.
set -euo pipefail

write_config() {
  local folder=$1 mon_port=$2 port=$3 tls=${4:+ssl_endpoint=127.0.0.1:$4 ssl_certificate=${5:-}}
  cat >"$folder/ceph.conf" <<CONF
[global]
fsid = $(cat /proc/sys/kernel/random/uuid)
mon_initial_members = a
mon_host = [v1:127.0.0.1:$mon_port]
public_addr = 127.0.0.1
cluster_addr = 127.0.0.1
auth_cluster_required = none
auth_service_required = none
auth_client_required = none
osd_pool_default_size = 1
osd_pool_default_min_size = 1
osd_pool_default_pg_num = 1
osd_pool_default_pgp_num = 1
osd_pool_default_pg_autoscale_mode = off
osd_crush_chooseleaf_type = 0
mon_allow_pool_size_one = true
mon_max_pg_per_osd = 5000
mon_data_avail_crit = 1
mon_data_avail_warn = 2
ms_bind_msgr2 = false
ms_bind_ipv6 = false
run_dir = $folder
pid_file = $folder/\$type.\$id.pid
admin_socket = $folder/\$name.asok
log_file = $folder/\$name.log
[mon.a]
mon_data = $folder/mon
[osd.0]
osd_data = $folder/osd
osd_objectstore = memstore
memstore_device_bytes = 2147483648
osd_class_load_list = *
osd_class_default_list = *
[client.rgw.a]
rgw_data = $folder/rgw
rgw_frontends = beast endpoint=127.0.0.1:$port $tls
rgw_dns_name = localhost
rgw_gc_obj_min_wait = 1
rgw_crypt_require_ssl = false
rgw_crypt_s3_kms_backend = testing
rgw_crypt_s3_kms_encryption_keys = testkey-1=YmluCmJvb3N0CmJvb3N0LWJ1aWxkCmNlcGguY29uZgo=
CONF
}

retry() { # retry TIMES PAUSE COMMAND...
  local times=$1 pause=$2
  shift 2
  for _ in $(seq "$times"); do
    if "$@" >/dev/null 2>&1; then
      return
    fi
    sleep "$pause"
  done
  echo "rgw.bash: this never worked: $*" >&2
  return 1
}

osd_is_up() {
  ceph -c "$1/ceph.conf" osd stat 2>/dev/null | grep -q '1 up'
}

answers() {
  curl --silent --max-time 2 --output /dev/null "http://127.0.0.1:$1/"
}

up() {
  local folder=$1 mon_port=$2 port=$3 osd
  mkdir -p "$folder"/{mon,osd,rgw}
  write_config "$@"
  local conf=(-c "$folder/ceph.conf")
  monmaptool --create --addv a "[v1:127.0.0.1:$mon_port]" --fsid \
    "$(sed -n 's/^fsid = //p' "$folder/ceph.conf")" --clobber "$folder/monmap" >/dev/null
  ceph-mon "${conf[@]}" --mkfs -i a --monmap "$folder/monmap"
  ceph-mon "${conf[@]}" -i a
  osd=$(cat /proc/sys/kernel/random/uuid)
  retry 5 .3 timeout 10 ceph "${conf[@]}" osd new "$osd"
  ceph-osd "${conf[@]}" -i 0 --mkfs --osd-uuid "$osd" >/dev/null 2>&1
  retry 5 .5 ceph-osd "${conf[@]}" -i 0
  retry 100 .2 osd_is_up "$folder"
  radosgw "${conf[@]}" -n client.rgw.a --rgw-zone=default >/dev/null 2>&1
  retry 300 .1 answers "$port"
  radosgw-admin "${conf[@]}" user create --uid=t --display-name=t --access-key=testkey \
    --secret-key=testsecret >/dev/null 2>&1
}

down() {
  local folder=$1 daemon pid
  for daemon in client.rgw.a osd.0 mon.a; do
    pid=$(cat "$folder/$daemon.pid" 2>/dev/null) || continue
    kill "$pid" 2>/dev/null || continue
    for _ in $(seq 100); do
      kill -0 "$pid" 2>/dev/null || break
      sleep .1
    done
    kill -KILL "$pid" 2>/dev/null || true
  done
}

"$@"
