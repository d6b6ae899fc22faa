#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# run.sh [DIRECTORY] - one server and two programs of customers, in a space of their own. DIRECTORY has bank-server and
# bank-client (default: build/examples). Exit status 0: both say that the books balance, and the server ended well.
set -eu

root=$(cd "$(dirname "$0")/../.." && pwd)
programs=${1:-$root/build/examples}
for program in bank-server bank-client; do
    if [ ! -x "$programs/$program" ]; then
        echo "run.sh: $programs/$program is not there; \`make build\` makes it" >&2
        exit 2
    fi
done

FERRY_DIR=$(mktemp -d "${TMPDIR:-/tmp}/ferry-example.XXXXXX")
export FERRY_DIR
server=
clean_up() {
    trap '' INT TERM
    [ -z "$server" ] || kill -TERM "$server" 2>/dev/null || true
    wait
    rm -rf "$FERRY_DIR"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# It does not matter who comes first: the customers wait until somebody serves.
"$programs/bank-client" 8 500 &
first=$!
"$programs/bank-client" 3 1000 &
second=$!
"$programs/bank-server" 2 &
server=$!

status=0
wait "$first" || status=1
wait "$second" || status=1
kill -TERM "$server"
wait "$server" || status=1
server=
exit "$status"
