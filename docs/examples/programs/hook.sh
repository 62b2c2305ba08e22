#!/bin/sh
# A hook: p2psync runs it for each event, with the event as one JSON object on standard input and
# the most important of it in the environment. Never build commands out of these values: names of
# files come from other machines. The event of `p2psync hook test` has no number and no file.
set -eu
printf '%s %s %s\n' "${P2PSYNC_EVENT_ID:--}" "$P2PSYNC_EVENT_TYPE" "${P2PSYNC_FILE:-}" >>"$1"
cat >/dev/null
