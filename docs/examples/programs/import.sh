#!/bin/sh
# What an accounting program runs to take what waits: import.sh MANDATE FOLDER
#
# Posts all that is pending into a new file of FOLDER and prints its name. Nothing is printed when
# nothing waits. The exit codes are those of p2psync: 3 refused by a rule (another device has the
# accounting seat), 4 no node runs.
set -eu
mandate=$1 folder=$2

out=$folder/$(date +%Y%m%d-%H%M%S)-$$.txt
p2psync --json post "$mandate" -o "$out" >/dev/null
if [ -e "$out" ]; then
    echo "$out"
fi
if [ -e "$out.deleted" ]; then
    echo "$out.deleted"
fi
