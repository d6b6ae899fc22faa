#!/bin/sh
# SPDX-License-Identifier: MIT
#
# check.sh HELLO - `hello send` and `hello recv` as two processes, whichever comes first. TAP.
set -u
out=$(mktemp "${TMPDIR:-/tmp}/hello-check.XXXXXX") || exit 1
trap 'trap "" INT TERM; rm -f "$out"' EXIT
trap 'exit 130' INT TERM
status=0

echo 1..2
"$1" recv >"$out" &
receiver=$!
"$1" send "Good morning" && wait $receiver && [ "$(cat "$out")" = "Good morning" ] || status=1
[ $status = 0 ] && echo "ok 1 - a process receives what another one sends" || echo "not ok 1 - a process receives what another one sends"

"$1" send "Good night" &
sender=$!
"$1" recv >"$out" && wait $sender && [ "$(cat "$out")" = "Good night" ] || status=2
[ $status != 2 ] && echo "ok 2 - a message waits for its receiver" || echo "not ok 2 - a message waits for its receiver"
exit $status
