#!/bin/sh
# Makes and shares a mandate for each client: create_all.sh CLIENTS FOLDER
#
# CLIENTS has one name a line; the settings of a client's accounting are in FOLDER/NAME/*.crp. Who
# has a mandate already is left out, so that it can be run again after a name was added.
set -eu
clients=$1 folder=$2

while IFS= read -r client; do
    if p2psync mandate show "$client" </dev/null >/dev/null 2>&1; then
        continue
    fi
    for settings in "$folder/$client"/*.crp; do
        p2psync mandate create "$client" --accounting "$settings" </dev/null >/dev/null
    done
    p2psync mandate share "$client" </dev/null >/dev/null
    echo "$client: created and shared"
done <"$clients"
