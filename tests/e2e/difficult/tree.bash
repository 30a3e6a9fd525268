#!/bin/bash
# tree.bash BIN TREE FOLDER: a PostgreSQL with the programs of BIN in TREE, which sees the system's
# extensions and the one in FOLDER; nothing outside of TREE is touched. PostgreSQL finds share/ and lib/
# relative to its own program, links resolved: so the programs are copies, and the rest are links.
# Prints where the programs are.
set -euo pipefail
bin=$(realpath "$1") tree=$2 folder=$3
major=$(basename "$(dirname "$bin")")
root=$(realpath "$bin/../../../..")
lib=$tree/lib/postgresql/$major share=$tree/share/postgresql/$major
mkdir -p "$lib" "$share/extension"
cp -aL "$bin" "$lib/bin"
ln -s "$root/lib/postgresql/$major/lib" "$lib/lib"
for file in "$root/share/postgresql/$major"/*; do
  [ "${file##*/}" = extension ] || ln -s "$file" "$share/"
done
ln -s "$root/share/postgresql/$major/extension"/* "$share/extension/"
cp "$folder"/keepext* "$share/extension/"
echo "$lib/bin"
