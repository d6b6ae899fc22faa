#!/bin/sh
# SPDX-License-Identifier: MIT
#
# check.sh JOB_WORKERS - every job is answered or given up, whatever happens to workers. TAP.
set -u
dir=$(mktemp -d "${TMPDIR:-/tmp}/jobs-check.XXXXXX") || exit 1
trap 'rm -rf "$dir"' EXIT
timeout 60 "$1" >"$dir/out" 2>"$dir/err"
status=$?

number=0
failures=0
verdict() { # STATUS SENTENCE
    number=$((number + 1))
    if [ "$1" = 0 ]; then
        echo "ok $number - $2"
    else
        echo "not ok $number - $2"
        sed 's/^/# /' "$dir/out" "$dir/err"
        failures=$((failures + 1))
    fi
}

echo 1..3
[ $status = 0 ] && [ ! -s "$dir/err" ]
verdict $? "it ends well"
grep -Eq '^60 jobs: 57 answered \([0-9]+ after more than one attempt, [0-9]+ twice\), 3 given up; [0-9]+ workers were killed$' "$dir/out"
verdict $? "every job is answered, or given up if nobody can do it"
[ "$(grep -Ec '^job (13|33|53) of "jobs" was tried [3-9] times, in vain$' "$dir/out")" -ge 3 ]
verdict $? "what is given up says where it comes from"
[ "$failures" -eq 0 ]
