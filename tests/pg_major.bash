# PostgreSQL of other majors for the tests, out of the Debian suites that ship them.
#
# pg_major MAJOR FOLDER: full PostgreSQL MAJOR (13, 17 or 18) in FOLDER, programs in FOLDER/bin, from the Debian
# suite that ships it, with that suite's own glibc; runs in place, by any user. Needs apt, dpkg-deb, tar, xz, patchelf.
pg_major() (
  set -o pipefail; umask 022; major=$1 dir=$(realpath -m -- "$2") && new=$dir.new || exit 2
  case $major in 13) suite=bullseye ;; 17) suite=trixie ;; 18) suite=forky ;; *) echo "pg_major: no $major" >&2; exit 2 ;; esac
  complete() { [[ $("$dir/bin/postgres" -V 2>/dev/null) == *") $major."* && $(cat "$dir/.complete") == "$dir" ]]; }
  complete && exit 0
  command -v patchelf >/dev/null || { echo "pg_major: patchelf is missing" >&2; exit 1; }
  mkdir -p "${dir%/*}" && exec 9>"$dir.lock" && flock 9 || exit 1
  complete && exit 0
  [[ -e $dir/.complete || ! -e $dir ]] || rmdir "$dir" || exit 1   # never removes a folder that it did not make
  rm -rf "$new" "$dir"; trap 'rm -rf "$new"' EXIT
  mirror=$(apt-get indextargets --format '$(RELEASE) $(REPO_URI)' | awk '$1 == "bookworm" && !n++ { print $2 }')
  mkdir -p "$new"/apt/{lists,archives}/partial "$new"/usr/{lib,lib64} && : >"$new/apt/status" &&
  ln -s usr/lib "$new/lib" && ln -s usr/lib64 "$new/lib64" && ln -s "usr/lib/postgresql/$major/bin" "$new/bin" &&
  echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] ${mirror:-http://deb.debian.org/debian} $suite main" \
    >"$new/apt/sources.list" &&
  cat >"$new/apt/conf" <<CONF &&
#clear APT::Update; #clear DPkg;
Dir { State "$new/apt"; State::status "$new/apt/status"; Cache "$new/apt"; Log "$new/apt";
  Etc { sourcelist "$new/apt/sources.list"; sourceparts "/dev/null"; preferences "/dev/null"; preferencesparts "/dev/null"; }; };
APT::Sandbox::User "root"; Debug::NoLocking "1"; Acquire::Languages "none"; Acquire::Retries "3"; Acquire::Check-Valid-Until "false";
CONF
  cd "$new/apt" && apt-get -qq -c conf update &&
  debs=$(apt-get -qq -c conf --no-install-recommends --print-uris install "postgresql-$major" |
    awk '{ sub(/_.*/, "", $2); print $2 }' |
    grep -E '^(lib|zlib1g|postgresql-[0-9]|postgresql-client-[0-9])' | grep -vE '^lib(llvm|z3|perl|pam-mod|systemd-sh|.*-perl$|c-l10n)') &&
  apt-get -qq -c conf download $debs &&
  for deb in *.deb; do
    dpkg-deb --fsys-tarfile "$deb" | tar -x -C "$new" --keep-directory-symlink --anchored --no-wildcards-match-slash \
      --exclude=./{etc,var,bin,sbin,usr/bin,usr/sbin} --exclude='./usr/share/[!p]*' \
      --exclude='./usr/lib/postgresql/*/lib/'{bitcode,llvmjit}'*' || exit 1
  done &&
  cd "$new" && libs=$(echo usr/lib/*-linux-gnu) && ld=$(echo "$libs"/ld-linux*.so.*) && for exe in bin/*; do
    [[ -L $exe ]] || ! patchelf --print-interpreter "$exe" >/dev/null 2>&1 ||
      patchelf --set-interpreter "$dir/$ld" --force-rpath --set-rpath "$dir/$libs" "$exe" || exit 1
  done &&
  rm -rf apt && echo "$dir" >.complete && mv -T "$new" "$dir" && complete && "$dir/bin/psql" -V >/dev/null && "$dir/bin/pg_dump" -V >/dev/null ||
    { rm -rf "$dir"; echo "pg_major: PostgreSQL $major could not be installed" >&2; exit 1; }
)
