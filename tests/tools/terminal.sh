#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# How the tool behaves towards a person at a terminal. script(1) gives it one; what the terminal showed is in `shown`.
# shellcheck disable=SC2016
# shellcheck source=harness
. "$(dirname "$0")/harness"

# on_terminal COMMAND: runs the shell command with a terminal, whose keyboard is our standard input, and shows it in "shown"
on_terminal() {
    export FERRY
    SHELL=/bin/bash timeout -k 2 60 script -qefc "$1" shown >/dev/null
}

a_waiting_receiver_says_so() {
    (until_true has 'waiting for a sender...' shown; "${ferry[@]}" send x hello) &
    on_terminal '"$FERRY" recv x' </dev/null
    has hello shown
    ended 0 $!
}

a_waiting_sender_says_so() {
    (until_true has 'waiting for a receiver...' shown; "${ferry[@]}" recv x >out) &
    on_terminal '"$FERRY" send x hello' </dev/null
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
    mkfifo pipe
    (for i in $(seq 1 40); do echo "$i"; sleep 0.05; done) >pipe &
    local begin=$SECONDS draws most
    on_terminal '"$FERRY" recv x >out & cat pipe | "$FERRY" send --progress x 2>drawn; wait' </dev/null
    # 40 lines in about two seconds: ten draws, and more where the machine makes it longer.
    most=$((5 * (SECONDS - begin + 1)))
    draws=$(tr '\r' '\n' <drawn | grep -c '^sent')
    if [ "$draws" -lt 2 ] || [ "$draws" -gt "$most" ]; then fail "$draws draws"; fi
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

# with_keys: opens descriptor 8, what is written to it is typed on the next terminal
with_keys() {
    mkfifo keys
    exec 8<>keys
}

ctrl_c_ends_a_pipeline() {
    with_keys
    on_terminal 'trap : INT; yes | "$FERRY" send --capacity 10 x; echo "${PIPESTATUS[*]}" >status' <keys &
    until_true shows depth 10 x
    printf '\003' >&8
    ended 0 $!
    has '130 130' status
    has 'interrupted: 10 records sent, 10 undelivered' shown
}

ctrl_c_ends_a_receiver() {
    with_keys
    on_terminal 'trap : INT; "$FERRY" recv --follow x; echo $? >status' <keys &
    open_ends receiver x 1
    printf '\003' >&8
    ended 0 $!
    [ "$(cat status)" = 130 ]
}

press_ctrl_c_twice() {
    # A receiver that is stopped holds what it took, so the sender gives it a second after the first Ctrl-C.
    "$FERRY" recv x >out &
    local receiver=$!
    open_ends receiver x 1
    on_terminal 'trap : INT; "$FERRY" send x >out2; echo $? >status' <keys &
    local terminal=$!
    open_ends sender x 1
    stop "$receiver"
    printf 'hello\n' >&8
    until_true shows messages 1 x
    printf '\003' >&8
    sleep 0.3
    printf '\003' >&8
    ended 0 "$terminal"
    kill -CONT "$receiver"
    ended 0 "$receiver"
    [ "$(cat status)" = 130 ]
}

# A machine that stands still in between makes one of the two, or lets that second pass.
a_second_ctrl_c_ends_at_once() {
    local try
    with_keys
    for try in 1 2 3 4 5; do
        press_ctrl_c_twice
        grep -aq interrupted shown || return 0
    done
    fail "$try times it waited"
}

ctrl_c_goes_to_the_command_under_a_lock() {
    with_keys
    export UNTIL_INTERRUPTED='trap "sleep 0.3; touch caught; exit 3" INT; touch running
        for i in $(seq 400); do sleep 0.05; done'
    on_terminal 'trap : INT; "$FERRY" lock x -- sh -c "$UNTIL_INTERRUPTED"; echo $? >status' <keys &
    until_true test -e running
    printf '\003' >&8
    ended 0 $!
    [ -e caught ]
    [ "$(cat status)" = 3 ] || fail "status $(cat status)"
}

ctrl_c_ends_a_loop_of_commands_under_a_lock() {
    with_keys
    on_terminal 'while "$FERRY" lock x -- sh -c "touch running; exec sleep 20"; do touch again; done' <keys &
    until_true test -e running
    printf '\003' >&8
    ended 130 $!
    [ ! -e again ]
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
test_that "Ctrl-C ends a pipeline" ctrl_c_ends_a_pipeline
test_that "Ctrl-C ends a receiver" ctrl_c_ends_a_receiver
test_that "a second Ctrl-C ends at once" a_second_ctrl_c_ends_at_once
test_that "Ctrl-C goes to the command under a lock" ctrl_c_goes_to_the_command_under_a_lock
test_that "Ctrl-C ends a loop of commands under a lock" ctrl_c_ends_a_loop_of_commands_under_a_lock
test_that "typed lines are sent one by one" typed_lines_are_sent_one_by_one
all_done
