#!/bin/sh
# Put away what nobody has come for: run once a week by gateway-agent-housekeeping.service, as the agent's user.
#   housekeeping.sh FOLDER    the service's lasting folder
# Outbox, pictures and journal keep their own bounds. This is for what they leave aside: stores that were found damaged.
# They are kept for a person to look at, and a box on a pole that has had three of them may have a disk full of them.
set -eu

KEEP=2         # the newest; each may be as large as the outbox
KEEP_DAYS=90   # and none longer than that: nobody will come, and it holds what the cameras saw

fail() { echo "housekeeping.sh: $1" >&2; exit 64; }

# Their names hold the date they were set aside, so the newest come last. Beside each may lie its -wal and -shm.
damaged() { find "$folder" -maxdepth 1 -type f -name 'outbox.db.damaged-*' ! -name '*-wal' ! -name '*-shm' "$@" | sort; }

put_away() {
  while read -r store; do
    rm -f "$store-wal" "$store-shm" "$store"
    echo "put away: $store, which was damaged"
  done
}

main() {
  [ $# -eq 1 ] && [ -d "$1" ] || fail "wanted: housekeeping.sh FOLDER"
  folder=$1
  damaged | head -n "-$KEEP" | put_away
  damaged -mtime "+$KEEP_DAYS" | put_away
}

main "$@"
