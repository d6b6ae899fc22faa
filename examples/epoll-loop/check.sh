#!/bin/sh
# SPDX-License-Identifier: MIT
#
# check.sh EPOLL_LOOP - two of them chat. TAP. Inputs are FIFOs, which this script keeps open until the lines arrived.
set -u
dir=$(mktemp -d "${TMPDIR:-/tmp}/chat-check.XXXXXX") || exit 1
mkfifo "$dir/anna.in" "$dir/bert.in"
"$1" anna <"$dir/anna.in" >"$dir/anna.out" &
anna=$!
"$1" bert <"$dir/bert.in" >"$dir/bert.out" &
bert=$!
trap 'trap "" INT TERM; kill $anna $bert 2>/dev/null; rm -rf "$dir"' EXIT
trap 'exit 130' INT TERM
exec 3>"$dir/anna.in" 4>"$dir/bert.in"

number=0
failures=0
verdict() { # STATUS SENTENCE
    number=$((number + 1))
    if [ "$1" = 0 ]; then
        echo "ok $number - $2"
    else
        echo "not ok $number - $2"
        failures=$((failures + 1))
    fi
}

# Waits up to 10 seconds for a line in a file.
arrives() { # LINE FILE
    tries=0
    until grep -qxF -- "$1" "$2"; do
        tries=$((tries + 1))
        [ "$tries" -le 200 ] || return 1
        sleep 0.05
    done
}

echo 1..4
echo "good morning" >&3
arrives "anna: good morning" "$dir/bert.out"
verdict $? "a line reaches the other one's loop"
echo "good day" >&4
arrives "bert: good day" "$dir/anna.out"
verdict $? "and so does the answer"
exec 3>&- 4>&-
wait $anna && wait $bert
verdict $? "both end at the end of their input"
! grep -q '^anna:' "$dir/anna.out" && ! grep -q '^bert:' "$dir/bert.out"
verdict $? "nobody hears himself"
[ "$failures" -eq 0 ]
