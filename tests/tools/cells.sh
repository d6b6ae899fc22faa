#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# `ferry cell`: what is put is what is got, who keeps it, and who hears of it.
# shellcheck disable=SC2016,SC2031
# shellcheck source=harness
. "$(dirname "$0")/harness"

# a cell that a keeper holds: kept NAME [VALUE] [OPTION...]
kept() {
    "${ferry[@]}" cell put --detach "$@"
}

# is_there NAME: whether somebody has the cell open
is_there() {
    "$FERRY" cell ls --json "$1" >/dev/null
}

# holders N: whether so many have cells open
holders() {
    "$FERRY" cell ls --json | grep -q "\"holders\":$1,"
}

# --- who keeps it --------------------------------------------------------------------------------------------------

a_value_that_nobody_would_keep_is_refused() {
    status_of 1 "${ferry[@]}" cell put x 1 >out 2>said
    [ ! -s out ]
    has 'nobody has the cell "x" open, so the value would be gone at once' said
    has --hold said
    has --detach said
    nothing_left
}

a_keeper_keeps_it_until_rm_ends_it() {
    kept x hello >out 2>said
    [ ! -s out ]
    [ ! -s said ]
    [ "$("${ferry[@]}" cell get x)" = hello ]
    "${ferry[@]}" cell put x 'good bye'
    [ "$("${ferry[@]}" cell get x)" = 'good bye' ]
    "${ferry[@]}" ls --no-rate >out
    grep -Eq '^  keeper of cell x +[0-9]+ ' out || fail "$(cat out)"
    grep -Eq '^  x +cell +- +[0-9]+ +1 +4.0 KiB +1 +0$' out || fail "$(cat out)"
    "${ferry[@]}" cell rm x >out 2>said
    [ ! -s out ]
    [ ! -s said ]
    nothing_left
    status_of 1 "${ferry[@]}" cell get x 2>said
    has 'nobody has the cell "x" open' said
    status_of 1 "${ferry[@]}" cell rm x 2>said
    has 'nobody has the cell "x" open' said
}

one_keeper_is_enough() {
    kept x 1
    kept x 2
    "${ferry[@]}" cell ls --json >json
    json json '[(c["name"], c["holders"], c["keepers"]) for c in d["cells"]] == [("x", 1, 1)]'
    [ "$("${ferry[@]}" cell get x)" = 2 ]
}

hold_keeps_it_until_interrupted() {
    "${signalled[@]}" cell put --hold x hello 2>said &
    until_true has 'the cell "x" is kept until this is interrupted' said
    [ "$("${ferry[@]}" cell get x)" = hello ]
    "${ferry[@]}" cell ls --json >json
    json json '[(c["holders"], c["keepers"]) for c in d["cells"]] == [(1, 0)]'
    status_of 1 "${ferry[@]}" cell rm x 2>said
    has 'the cell "x" is still held, not by a keeper of yours: ferry-cell (process ' said
    kill -INT $!
    ended 130 $!
    nothing_left
}

sigterm_ends_a_keeper_in_good_order() {
    kept x 1
    kill -TERM "$(keepers)"
    until_true nothing_left
}

a_killed_keeper_leaves_nothing_for_long() {
    kept x 1
    kill -KILL "$(keepers)"
    until_true swept
    kept x 2
    [ "$("${ferry[@]}" cell get --version-only x)" = 1 ] || fail 'the value of a dead one came back'
}

a_keeper_has_nothing_of_its_parents() {
    local version pid
    exec 7>mine
    version=$("${ferry[@]}" lock l -- "$FERRY" cell put --detach -v x 1)
    exec 7>&-
    [ "$version" = 1 ]
    "${ferry[@]}" lock --timeout 0s l -- true
    pid=$(keepers)
    ls -l "/proc/$pid/fd" >fds
    if grep -E "/mine|/g-l|pipe:.*/[0-2]\$" fds; then fail 'a descriptor was inherited'; fi
    [ "$(grep -c ' [012] -> /dev/null' fds)" = 3 ] || fail "$(cat fds)"
    [ "$(readlink "/proc/$pid/cwd")" = / ]
    [ "$(ps -o sid= -p "$pid" | tr -d ' ')" = "$pid" ]
}

a_keeper_finds_a_directory_that_was_named_relatively() {
    mkdir -m 0700 base
    "${ferry[@]}" --directory base cell put --detach x hello
    [ "$("${ferry[@]}" --directory "$PWD/base" cell get x)" = hello ]
    "${ferry[@]}" --directory base cell rm x
    [ -z "$(ls base)" ] || fail "left: $(ls -R base)"
}

a_keeper_that_is_not_ready_dies_with_its_command() {
    "$FERRY" cell wait x >out &
    local waiter=$! keeper
    until_true is_there x
    stop "$waiter"
    "$FERRY" cell put --detach x 1 2>said &
    until_true pgrep -P $!
    keeper=$(pgrep -P $!)
    until_true has 'still waiting' said
    killed $!
    until_true eval ! kill -0 "$keeper"
    kill -CONT "$waiter"
    "${ferry[@]}" cell put x 2
    ended 0 "$waiter"
    [ "$(cat out)" = 2 ]
    nothing_left
}

a_stopped_holder_is_told_of() {
    kept x 1
    stopped=$(keepers)
    stop "$stopped"
    status_of 1 "${ferry[@]}" cell rm x 2>said
    has "cannot be told: process $stopped does not answer (stopped?)" said
    kill -CONT "$stopped"
    stopped=
    "${ferry[@]}" cell rm x
    nothing_left
}

# --- values --------------------------------------------------------------------------------------------------------

any_bytes_come_out_as_they_went_in() {
    head -c 1048576 /dev/urandom >big
    kept x - <big
    "${ferry[@]}" cell get x >out
    same big out
    printf 'a\0b\n\377' | "${ferry[@]}" cell put x
    "${ferry[@]}" cell get x | cmp - <(printf 'a\0b\n\377')
    "${ferry[@]}" cell put x ''
    "${ferry[@]}" cell get x >out
    [ ! -s out ]
    "${ferry[@]}" cell put x -- --hold
    [ "$("${ferry[@]}" cell get x)" = --hold ]
    "${ferry[@]}" cell put x </dev/null
    [ "$("${ferry[@]}" cell get --version-only x)" = 5 ]
}

a_value_has_its_limits() {
    kept --size 8 x 12345678
    status_of 1 "${ferry[@]}" cell put x 123456789 2>said
    has '8 bytes' said
    [ "$("${ferry[@]}" cell get x)" = 12345678 ]
    status_of 125 "${ferry[@]}" cell put --size 9 x 1 2>said
    has '"x"' said
    head -c $((64 * 1024 * 1024 + 1)) /dev/zero >huge
    status_of 1 "${ferry[@]}" cell put --detach y <huge 2>said
    has 'standard input is longer than 64.0 MiB' said
    status_of 1 "${ferry[@]}" cell put --detach y < <(cat huge) 2>said
    has 'standard input is longer than 64.0 MiB' said
}

versions_are_told() {
    [ "$(kept -v x 1)" = 1 ]
    [ "$("${ferry[@]}" cell put --verbose x 1)" = 2 ]
    "${ferry[@]}" cell put --json x 1 >json
    json json 'd == {"name": "x", "index": 0, "version": 3}'
    [ "$("${ferry[@]}" cell get --version-only x)" = 3 ]
    "${ferry[@]}" cell get --version-only --json x >json
    json json 'd == {"name": "x", "index": 0, "version": 3}'
}

json_has_text_or_base64() {
    kept x 'a"b\ä€𝄞'
    "${ferry[@]}" cell get --json x >json
    json json 'd == {"name": "x", "index": 0, "version": 1, "length": 13, "value": "a\"b\\ä€𝄞"}'
    printf '\0\001\n\177' | "${ferry[@]}" cell put x
    "${ferry[@]}" cell get --json x >json
    json json 'd["value"] == "\0\x01\n\x7f" and "base64" not in d'
    local bad
    for bad in '\377' 'a\300\200' '\355\240\200' '\360\217\277\277' '\364\220\200\200' '\342\202' '\200'; do
        # shellcheck disable=SC2059
        printf "$bad" >in
        "${ferry[@]}" cell put x <in
        "${ferry[@]}" cell get --json x >json
        json json '"value" not in d and __import__("base64").b64decode(d["base64"]) == open("in", "rb").read()'
    done
    "${ferry[@]}" cell put x ''
    "${ferry[@]}" cell get --json x >json
    json json 'd["value"] == "" and d["length"] == 0'
}

a_cell_without_a_value_says_so() {
    "${signalled[@]}" cell wait x &
    until_true is_there x
    status_of 1 "${ferry[@]}" cell get x >out 2>said
    [ ! -s out ]
    has 'no value was put into the cell "x" yet' said
    status_of 1 "${ferry[@]}" cell get --version-only x >out
    [ "$(cat out)" = 0 ]
    kill -TERM $!
    ended 143 $!
}

cells_of_one_name_are_told_apart() {
    kept --count 5000 --size 16 --at 4999 x last
    "${ferry[@]}" cell put --at 17 x middle
    [ "$("${ferry[@]}" cell get x --at 4999)" = last ]
    [ "$("${ferry[@]}" cell get x --at 17)" = middle ]
    status_of 1 "${ferry[@]}" cell get x 2>said
    has 'no value was put into the cell "x" at 0 yet' said
    status_of 1 "${ferry[@]}" cell put x --at 5000 beyond 2>said
    has 'there is no cell "x" at 5000: the last one is at 4999' said
    [ "$(find "$FERRY_DIR/$FERRY_SPACE" -name 'o-*' | wc -l)" = 1 ]
    "${ferry[@]}" cell ls >out
    grep -Eqx 'x +5,000 +16 B +- +1 +1' out || fail "$(cat out)"
    "${ferry[@]}" cell ls --json >json
    json json 'd == {"cells": [{"name": "x", "count": 5000, "max_bytes": 16, "type": "", "holders": 1, "keepers": 1}]}'
}

ls_lists_what_is_asked_for() {
    status_of 1 "${ferry[@]}" cell ls >out 2>said
    has 'no cell is open' said
    kept price 1
    kept limit 1
    kept prize 1
    [ "$("${ferry[@]}" cell ls 'pri*' | tail -n +2 | cut -d' ' -f1 | paste -sd' ')" = 'price prize' ]
    status_of 1 "${ferry[@]}" cell ls nothing 2>said
    has 'no cell nothing is open' said
}

# --- compare and swap ----------------------------------------------------------------------------------------------

cas_puts_only_if_the_version_is_that_one() {
    status_of 1 "${ferry[@]}" cell cas x 0 a 2>said
    has 'nobody has the cell "x" open' said
    kept x first
    [ "$("${ferry[@]}" cell cas x 1 second)" = 2 ]
    status_of 1 "${ferry[@]}" cell cas x 1 third >out 2>said
    [ ! -s out ]
    has '"x" has version 2 now' said
    status_of 1 "${ferry[@]}" cell cas x 0 third 2>said
    has '"x" has version 2 now' said
    [ "$("${ferry[@]}" cell get x)" = second ]
    echo third | "${ferry[@]}" cell cas --json x 2 - >json
    json json 'd == {"name": "x", "index": 0, "version": 3}'
    [ "$("${ferry[@]}" cell get x)" = third ]
}

cas_can_be_the_first() {
    kept --count 2 --at 1 x here
    [ "$("${ferry[@]}" cell cas x 0 mine)" = 1 ]
    status_of 1 "${ferry[@]}" cell cas x 0 mine 2>said
    has '"x" has version 1 now' said
}

# count N: adds one to the cell so often
count() {
    local version value i
    for ((i = 0; i < $1; i++)); do
        until version=$("$FERRY" cell get --version-only x) && value=$("$FERRY" cell get x) &&
            "$FERRY" cell cas x "$version" $((value + 1)); do :; done
    done
}

nothing_is_lost_between_two_that_race_with_cas() {
    kept x 0
    export FERRY
    export -f count
    timeout 60 bash -c 'count 15' >out1 2>/dev/null &
    timeout 60 bash -c 'count 15' >out2 2>/dev/null
    ended 0 $!
    [ "$("${ferry[@]}" cell get x)" = 30 ]
    [ "$("${ferry[@]}" cell get --version-only x)" = 31 ]
    [ "$(cat out1 out2 | sort -n | paste -sd' ')" = "$(seq 2 31 | paste -sd' ')" ] || fail "$(cat out1 out2)"
}

# --- waiting -------------------------------------------------------------------------------------------------------

# put_and_gone PID: puts a value; whether the process has ended since one of them
put_and_gone() {
    "$FERRY" cell put x new
    ! kill -0 "$1" 2>/dev/null
}

wait_ends_with_the_newer_value() {
    kept x old
    [ "$("${ferry[@]}" cell wait --after 0 --json x)" = '{"name":"x","index":0,"version":1,"length":3,"value":"old"}' ]
    "${ferry[@]}" cell wait x >out &
    until_true holders 2
    sleep 0.3
    [ ! -s out ]
    until_true put_and_gone $!
    ended 0 $!
    [ "$(cat out)" = new ]
    [ "$("${ferry[@]}" cell wait --after 1 x)" = new ]
}

wait_may_come_before_the_first_put() {
    "${ferry[@]}" cell wait --size 1MiB --count 3 --at 2 x >out &
    until_true is_there x
    head -c 100000 /dev/urandom >in
    "${ferry[@]}" cell put --at 2 x <in
    ended 0 $!
    same in out
    nothing_left
}

wait_gives_up_after_its_timeout() {
    kept x 1
    status_of 124 "${ferry[@]}" cell wait --timeout 300ms x 2>said
    has 'timed out after 300.0 ms: "x" got no newer value' said
    status_of 124 "${ferry[@]}" cell wait --timeout 0s x
    status_of 124 "${ferry[@]}" cell wait --timeout 200ms --after 1 x
}

# --- watching ------------------------------------------------------------------------------------------------------

watch_writes_what_is_there_and_what_comes() {
    kept x one
    "${ferry[@]}" cell watch --count-of-changes 3 x >out &
    until_true lines 1 out
    "${ferry[@]}" cell put x two
    until_true lines 2 out
    "${ferry[@]}" cell put x three
    ended 0 $!
    [ "$(paste -sd' ' out)" = 'one two three' ]
}

watch_can_begin_with_what_is_new() {
    kept x one
    "${ferry[@]}" cell watch --new -0 --count-of-changes 1 x >out &
    until_true put_and_gone $!
    ended 0 $!
    printf 'new\0' >expected
    same expected out
}

watch_tells_which_of_several_it_was() {
    "${ferry[@]}" cell watch --count 100 --size 8 --count-of-changes 3 x >out &
    until_true is_there x
    "${ferry[@]}" cell put --at 99 x last
    until_true lines 1 out
    "${ferry[@]}" cell put --at 7 x ''
    until_true lines 2 out
    "${ferry[@]}" cell put x first
    ended 0 $!
    printf '99 last\n7 \n0 first\n' >expected
    same expected out
    nothing_left
}

watch_writes_lines_of_json() {
    kept x one
    "${ferry[@]}" cell watch --json --count-of-changes 2 x >out &
    until_true lines 1 out
    printf '\377' | "${ferry[@]}" cell put x
    ended 0 $!
    printf '%s\n' '{"name":"x","index":0,"version":1,"length":3,"value":"one"}' \
        '{"name":"x","index":0,"version":2,"length":1,"base64":"/w=="}' >expected
    same expected out
}

every_last_value_is_seen_by_who_watches() {
    kept x 0
    "${ferry[@]}" cell watch x >out &
    local i
    for i in 1 2 3 4 5 6 7 8 9 10; do "${ferry[@]}" cell put x "$i"; done
    until_true eval '[ "$(tail -n 1 out)" = 10 ]'
    sort -nC out || fail "$(cat out)"
    [ -z "$(uniq -d out)" ] || fail "$(cat out)"
    kill -TERM $!
    wait $! || true
}

watch_ends_when_nobody_reads_its_output() {
    kept x one
    { "${ferry[@]}" cell watch x 2>said; echo $? >status; } | head -n 1 >out
    [ "$(cat status)" = 0 ] || fail "status $(cat status)"
    [ "$(cat out)" = one ]
    [ ! -s said ]
    head -c 1000000 /dev/zero | "${ferry[@]}" cell put --detach --size 1MiB big
    { "${ferry[@]}" cell get big 2>said; echo $? >status; } | head -c 1 >out
    [ "$(cat status)" = 0 ] || fail "status $(cat status)"
    [ ! -s said ]
    status_of 125 "${ferry[@]}" cell get x >/dev/full 2>said
    has 'cannot write to standard output' said
}

watch_gives_up_after_its_timeout_or_a_signal() {
    kept x one
    status_of 124 "${ferry[@]}" cell watch --timeout 300ms x >out 2>said
    [ "$(cat out)" = one ]
    has 'timed out after 300.0 ms' said
    "${signalled[@]}" cell watch x >out &
    until_true holders 2
    kill -INT $!
    ended 130 $!
}

test_that "a value that nobody would keep is refused" a_value_that_nobody_would_keep_is_refused
test_that "a keeper keeps it until rm ends it" a_keeper_keeps_it_until_rm_ends_it
test_that "one keeper is enough" one_keeper_is_enough
test_that "--hold keeps it until it is interrupted" hold_keeps_it_until_interrupted
test_that "SIGTERM ends a keeper in good order" sigterm_ends_a_keeper_in_good_order
test_that "a killed keeper leaves nothing for long" a_killed_keeper_leaves_nothing_for_long
test_that "a keeper has nothing of its parents" a_keeper_has_nothing_of_its_parents
test_that "a keeper finds a directory that was named relatively" a_keeper_finds_a_directory_that_was_named_relatively
test_that "a keeper that is not ready dies with its command" a_keeper_that_is_not_ready_dies_with_its_command
test_that "a stopped holder is told of" a_stopped_holder_is_told_of
test_that "any bytes come out as they went in" any_bytes_come_out_as_they_went_in
test_that "a value has its limits" a_value_has_its_limits
test_that "versions are told" versions_are_told
test_that "JSON has text, or base64" json_has_text_or_base64
test_that "a cell without a value says so" a_cell_without_a_value_says_so
test_that "cells of one name are told apart" cells_of_one_name_are_told_apart
test_that "ls lists what is asked for" ls_lists_what_is_asked_for
test_that "cas puts only if the version is that one" cas_puts_only_if_the_version_is_that_one
test_that "cas can be the first" cas_can_be_the_first
test_that "nothing is lost between two that race with cas" nothing_is_lost_between_two_that_race_with_cas
test_that "wait ends with the newer value" wait_ends_with_the_newer_value
test_that "wait may come before the first put" wait_may_come_before_the_first_put
test_that "wait gives up after its timeout" wait_gives_up_after_its_timeout
test_that "watch writes what is there and what comes" watch_writes_what_is_there_and_what_comes
test_that "watch can begin with what is new" watch_can_begin_with_what_is_new
test_that "watch tells which of several it was" watch_tells_which_of_several_it_was
test_that "watch writes lines of JSON" watch_writes_lines_of_json
test_that "the last value is always seen by who watches" every_last_value_is_seen_by_who_watches
test_that "watch ends when nobody reads its output" watch_ends_when_nobody_reads_its_output
test_that "watch gives up after its timeout, or by a signal" watch_gives_up_after_its_timeout_or_a_signal
all_done
