#!/bin/sh
# Wait before a start, the longer the more often the agent has crashed of late: not after the first crash, then 2, 4, 8 …
# seconds, at most two minutes. Half an hour later a crash is forgotten. Run by gateway-agent.service alone:
#   after-crashes.sh note    after an end ($SERVICE_RESULT, set by systemd): remember a bad one, a good one ends the list
#   after-crashes.sh wait    before a start; whoever ends the waiting (systemctl restart) begins anew, without one
set -eu

FORGOTTEN_AFTER_S=1800
LONGEST_S=120

fail() { echo "after-crashes.sh: $1" >&2; exit 64; }

now_s() {
  read -r up rest <"${UPTIME:-/proc/uptime}"
  echo "${up%%.*}"
}

# The times of crashes, in seconds since boot: the folder is gone with the boot.
recent() {
  [ -e "$record" ] || return 0
  since=$(($(now_s) - FORGOTTEN_AFTER_S))
  while read -r at; do
    [ "$at" -le "$since" ] || echo "$at"
  done <"$record"
}

note() {
  # Stopped by somebody, who may have mended it: what was before is over.
  [ "${SERVICE_RESULT:-success}" != success ] || { rm -f "$record"; return; }
  { recent; now_s; } | tail -n 20 >"$record.new"
  mv "$record.new" "$record"
}

wait_s() {
  crashes=$(recent | wc -l)
  seconds=0
  [ "$crashes" -lt 2 ] || seconds=2
  while [ "$crashes" -gt 2 ] && [ "$seconds" -lt "$LONGEST_S" ]; do
    seconds=$((seconds * 2)) crashes=$((crashes - 1))
  done
  [ "$seconds" -le "$LONGEST_S" ] || seconds=$LONGEST_S
  echo "$seconds"
}

wait_a_while() {
  seconds=$(wait_s)
  [ "$seconds" -gt 0 ] || return 0
  echo "crashed $(recent | wc -l) times in half an hour: starting in $seconds s"
  trap 'rm -f "$record"; exit 0' TERM
  "${SLEEP:-sleep}" "$seconds" &
  wait $!
}

main() {
  [ $# -eq 1 ] || fail "wanted: note or wait"
  record=${RUNTIME_DIRECTORY:?set by systemd}/crashes
  case $1 in
    note) note ;;
    wait) wait_a_while ;;
    *) fail "$1: wanted note or wait" ;;
  esac
}

main "$@"
