#!/bin/sh
# Makes a ticket for each client: invite_all.sh CLIENTS FOLDER
#
# The tickets go to FOLDER, to be sent by mail. The words that open them are printed, to be told by
# telephone: they are kept nowhere.
set -eu
clients=$1 folder=$2

mkdir -p "$folder"
while IFS= read -r client; do
    said=$(p2psync --json invite "$client" -o "$folder/$client.crsync" --force </dev/null)
    words=${said#*\"passphrase\": \"}
    echo "$client: ${words%%\"*}"
done <"$clients"
