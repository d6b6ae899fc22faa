#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# Does the harness notice what it is there to notice? Runs the program of broken tests: each must fail but the good one.
# check_harness.sh PROGRAM
set -uo pipefail

faults=(fails_a_check misses_a_word_of_the_sentence crashes hangs leaves_a_descriptor leaves_a_mapping leaves_a_thread
    leaves_a_child leaves_a_file fails_in_a_thread fails_in_a_member_between_threads fails_in_a_member_between_processes)
said=$(CMOCKA_MESSAGE_OUTPUT=TAP FERRY_TEST_LIMIT_MS=5000 "$1" 2>&1)
status=$?

report() { # NUMBER SENTENCE STATUS
    if [ "$3" = 0 ]; then
        echo "ok $1 - $2"
    else
        echo "not ok $1 - $2"
        sed 's/^/# /' <<<"$said"
    fi
}

echo "1..$((${#faults[@]} + 2))"
number=1
for fault in "${faults[@]}"; do
    grep -qE "^not ok.* $fault\$" <<<"$said"
    report "$number" "the harness notices a test that ${fault//_/ }" $?
    number=$((number + 1))
done
grep -qE "^ok.* good\$" <<<"$said"
report "$number" "the harness finds no fault with a good test" $?
[ "$status" != 0 ]
report "$((number + 1))" "a program with failed tests exits with another status than 0" $?
