#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# How the tool behaves towards a person at a terminal. script(1) gives it one; what the terminal showed is in `shown`.
# shellcheck source=harness
. "$(dirname "$0")/harness"

# on_terminal COMMAND: runs the shell command with a terminal, whose keyboard is our standard input
on_terminal() {
    export FERRY
    timeout -k 2 60 script -qec "$1" shown >/dev/null
}

a_waiting_receiver_says_so() {
    (sleep 1; "${ferry[@]}" send x hello) &
    on_terminal '"$FERRY" recv x' </dev/null
    has 'waiting for a sender...' shown
    has hello shown
    ended 0 $!
}

a_waiting_sender_says_so() {
    (sleep 1; "${ferry[@]}" recv x >out) &
    on_terminal '"$FERRY" send x hello' </dev/null
    has 'waiting for a receiver...' shown
    ended 0 $!
    [ "$(cat out)" = hello ]
}

progress_shows_records_and_rate() {
    { seq 1 1000; sleep 1; seq 1 1000; } | on_terminal '"$FERRY" recv x >out & cat | "$FERRY" send x; wait'
    grep -aEq 'sent [0-9,]+ records, [0-9.]+ (B|KiB) \([0-9,]+/s, [0-9.]+ [KM]?i?B/s\)' shown
    has 'ferry send: sent 2,000 records, 5.7 KiB in ' shown
    has 'ferry recv: received 2,000 records, 5.7 KiB in ' shown
}

progress_is_drawn_at_most_five_times_a_second() {
    (for i in $(seq 1 40); do echo "$i"; sleep 0.05; done) >lines
    mkfifo pipe
    (for i in $(seq 1 40); do echo "$i"; sleep 0.05; done) >pipe &
    on_terminal '"$FERRY" recv x >out & cat pipe | "$FERRY" send --progress x 2>drawn; wait' </dev/null
    # 40 lines in about two seconds: ten draws, and some more if the machine is busy.
    local draws
    draws=$(tr '\r' '\n' <drawn | grep -c '^sent')
    [ "$draws" -ge 2 ] && [ "$draws" -le 25 ] || fail "$draws draws"
}

no_progress_is_shown_when_it_is_not_wanted() {
    seq 1 1000 | on_terminal '"$FERRY" recv --no-progress x >out & cat | "$FERRY" send -q x; wait'
    ! grep -aE 'sent|received' shown
}

no_progress_is_shown_without_a_terminal() {
    "${ferry[@]}" recv x >out 2>said &
    seq 1 1000 | "${ferry[@]}" send x 2>sent
    ended 0 $!
    [ ! -s said ]
    [ ! -s sent ]
}

ctrl_c_ends_the_whole_pipeline() {
    { sleep 1.5; printf '\003'; sleep 20; } | on_terminal 'yes | "$FERRY" send --capacity 10 x; echo "status ${PIPESTATUS[1]}"' &
    local terminal=$!
    open_ends sender x 1
    until_true grep -aq 'interrupted: 10 records sent, 10 of them undelivered' shown
    kill "$terminal" 2>/dev/null || true
}

ctrl_c_ends_a_receiver() {
    { sleep 1.5; printf '\003'; sleep 20; } | on_terminal '"$FERRY" recv --follow x; echo "status $?" >status' &
    until_true has 'status 130' status || until_true [ ! -e "$FERRY_DIR/$FERRY_SPACE" ]
}

typed_lines_are_sent_one_by_one() {
    "${ferry[@]}" recv x >out &
    local receiver=$!
    open_ends receiver x 1
    { sleep 0.5; printf 'one\ntwo\n'; sleep 0.5; printf '\004'; sleep 1; } | on_terminal '"$FERRY" send x'
    ended 0 "$receiver"
    [ "$(paste -sd' ' out)" = 'one two' ]
}

test_that "a waiting receiver says so" a_waiting_receiver_says_so
test_that "a waiting sender says so" a_waiting_sender_says_so
test_that "progress shows records and rate" progress_shows_records_and_rate
test_that "progress is drawn at most five times a second" progress_is_drawn_at_most_five_times_a_second
test_that "no progress is shown when it is not wanted" no_progress_is_shown_when_it_is_not_wanted
test_that "no progress is shown without a terminal" no_progress_is_shown_without_a_terminal
test_that "Ctrl-C ends a pipeline" ctrl_c_ends_the_whole_pipeline
test_that "Ctrl-C ends a receiver" ctrl_c_ends_a_receiver
test_that "typed lines are sent one by one" typed_lines_are_sent_one_by_one
all_done
