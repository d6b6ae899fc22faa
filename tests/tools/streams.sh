#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# What goes in comes out: streams of bytes through `ferry send` and `ferry recv`, compared with the input itself and
# with what coreutils make of it.
# shellcheck source=harness
. "$(dirname "$0")/harness"

# through [SEND-OPTIONS...] -- [RECV-OPTIONS...]: sends `in`, receives `out`
through() {
    local send=()
    while [ "$1" != -- ]; do
        send+=("$1")
        shift
    done
    shift
    "${ferry[@]}" recv "$@" x >out &
    "${ferry[@]}" send "${send[@]}" x <in
    ended 0 $!
}

lines_arrive_as_they_were() {
    seq 1 200000 >in
    through --
    same in out
}

a_last_line_without_newline_is_kept() {
    printf 'one\ntwo\nthree' >in
    through --
    same in out
}

empty_lines_and_blanks_are_kept() {
    printf '\n\n  a \t\r\n\n' >in
    through --
    same in out
}

an_empty_input_gives_an_empty_output() {
    "${ferry[@]}" recv x >out &
    open_ends receiver x 1 # nothing makes an empty sender wait for one
    "${ferry[@]}" send x </dev/null
    ended 0 $!
    [ ! -s out ]
}

bytes_of_any_value_are_kept() {
    head -c 3000000 /dev/urandom >in
    through --
    same in out
}

a_line_longer_than_any_buffer_is_one_record() {
    { head -c 5000000 /dev/zero | tr '\0' x; echo; echo end; } >in
    through -- --count 2
    same in out
}

nul_records_arrive_as_they_were() {
    printf 'a\nb\0c\0\0last' >in
    through -0 -- -0
    same in out
}

lines_can_be_written_as_nul_records() {
    printf 'a\nb\nc' >in
    through -- -0
    tr '\n' '\0' <in >expected
    same expected out
}

framed_records_arrive_as_they_were() {
    { printf '\5\0\0\0hello'; printf '\0\0\0\0'; printf '\3\0\0\0a\nb'; printf '\0\0\2\0'; head -c 131072 /dev/urandom; } >in
    through --framed -- --framed
    same in out
}

lines_can_be_written_framed() {
    printf 'ab\n\nc' >in
    through -- --framed
    printf '\2\0\0\0ab\0\0\0\0\1\0\0\0c' >expected
    same expected out
}

framed_input_that_ends_too_early_is_an_error_and_the_rest_arrives() {
    printf '\2\0\0\0ab\9\0\0\0cde' >in
    "${ferry[@]}" recv x >out &
    status_of 125 "${ferry[@]}" send --framed x <in 2>said
    ended 0 $!
    has 'ends within record 2' said
    [ "$(cat out)" = ab ]
}

a_whole_file_is_one_record() {
    head -c 200000 /dev/urandom >a
    printf 'b\nb' >b
    : >c
    "${ferry[@]}" recv --count 3 x >out &
    "${ferry[@]}" send --whole x -f a b c
    ended 0 $!
    cat a b c >expected
    same expected out
}

standard_input_as_a_whole_is_one_record() {
    seq 1 100000 >in
    "${ferry[@]}" recv --framed x >out &
    "${ferry[@]}" send --whole x < <(cat in)
    ended 0 $!
    [ "$(head -c 4 out | od -An -tu4 | tr -d ' ')" = "$(wc -c <in)" ]
    tail -c +5 out >rest
    same in rest
}

arguments_are_records() {
    "${ferry[@]}" recv x >out &
    "${ferry[@]}" send x hello 'two words' '' -- --dashes
    ended 0 $!
    printf 'hello\ntwo words\n\n--dashes\n' >expected
    same expected out
}

files_are_read_in_their_order() {
    seq 1 10 >a
    seq 11 20 >b
    seq 21 30 >c
    "${ferry[@]}" recv x >out &
    "${ferry[@]}" send x --file=a -f - b <c
    ended 0 $!
    cat a c b >expected
    same expected out
}

records_wait_for_a_receiver_that_comes_later() {
    seq 1 1000 >in
    "${ferry[@]}" send x <in &
    open_ends sender x 1
    "${ferry[@]}" recv x >out
    ended 0 $!
    same in out
}

more_than_the_quota_goes_through() {
    seq 1 300000 >in
    through --quota 1MiB --
    same in out
}

a_capacity_of_one_is_enough() {
    seq 1 500 >in
    through --capacity 1 --
    same in out
}

several_receivers_share_the_lines() {
    seq 1 100000 >in
    for i in 1 2 3; do "${ferry[@]}" recv x >"out$i" & done
    open_ends receiver x 3
    "${ferry[@]}" send x <in
    wait
    sort -n out1 out2 out3 >out
    same in out
}

lines_of_several_senders_never_run_into_each_other() {
    local i
    "${ferry[@]}" recv --senders 3 x >out &
    local receiver=$!
    open_ends receiver x 1
    local senders=()
    for i in 1 2 3; do
        { seq "$i" 10 40000; printf '%s' "last$i"; } | "${ferry[@]}" send x &
        senders+=($!)
    done
    for i in "${senders[@]}"; do ended 0 "$i"; done
    ended 0 "$receiver"
    { seq 1 10 40000; seq 2 10 40000; seq 3 10 40000; printf 'last1\nlast2\nlast3\n'; } | sort >expected
    sort out >sorted
    same expected sorted
}

the_order_of_each_sender_is_kept() {
    "${ferry[@]}" recv --senders 2 x >out &
    local receiver=$!
    open_ends receiver x 1
    seq -f 'a%.0f' 1 20000 >a
    seq -f 'b%.0f' 1 20000 >b
    "${ferry[@]}" send x <a &
    local first=$!
    "${ferry[@]}" send x <b
    ended 0 "$first"
    ended 0 "$receiver"
    grep ^a out >a.out
    grep ^b out >b.out
    same a a.out
    same b b.out
}

a_record_appears_while_its_sender_still_runs() {
    mkfifo pipe
    "${ferry[@]}" recv x >out &
    local receiver=$!
    "${ferry[@]}" send x <pipe &
    local sender=$!
    exec 7>pipe
    echo early >&7
    until_true grep -q early out
    kill -0 "$sender"
    exec 7>&-
    ended 0 "$sender"
    ended 0 "$receiver"
}

# All connect before it looks; then there are descriptors for the connections, but not for every ring. For how many there
# are depends on what comes first: so it is tried with one more or fewer, until some ring is missing.
a_sender_for_which_descriptors_are_missing_is_served_when_there_are_some() {
    local receiver used senders room
    for room in {11,13,12,10,14}{,,,}; do
        "$FERRY" recv --follow x >out 2>said &
        receiver=$! senders=()
        open_ends receiver x 1
        used=$(find "/proc/$receiver/fd" -mindepth 1 | wc -l)
        stop "$receiver"
        prlimit --pid "$receiver" --nofile=$((used + room)):
        for _ in {1..4}; do
            "$FERRY" send -q x early 2>/dev/null &
            senders+=($!)
        done
        until_true dialled 4
        kill -CONT "$receiver"
        for _ in {1..20}; do
            ! has 'what a sender of ' said || break 2
            sleep 0.05
        done
        kill -KILL "${senders[@]}" "$receiver" 2>/dev/null
        wait
    done
    has 'it keeps its messages and is tried again every second, the others are still served: no descriptors left' said
    until_true arrived 4
    kill -TERM "$receiver"
    wait
}

# arrived N: whether so many have come out
arrived() {
    [ "$(grep -c early out)" = "$1" ]
}

# dialled N: whether as many senders have said that they are there, after which they dial
dialled() {
    [ "$(find "$FERRY_DIR/$FERRY_SPACE" -name 'e-x:sq*' | wc -l)" = "$1" ]
}

test_that "lines arrive as they were" lines_arrive_as_they_were
test_that "a last line without newline is kept" a_last_line_without_newline_is_kept
test_that "empty lines and blanks are kept" empty_lines_and_blanks_are_kept
test_that "an empty input gives an empty output" an_empty_input_gives_an_empty_output
test_that "bytes of any value are kept" bytes_of_any_value_are_kept
test_that "a line longer than any buffer is one record" a_line_longer_than_any_buffer_is_one_record
test_that "NUL records arrive as they were" nul_records_arrive_as_they_were
test_that "lines can be written as NUL records" lines_can_be_written_as_nul_records
test_that "framed records arrive as they were" framed_records_arrive_as_they_were
test_that "lines can be written framed" lines_can_be_written_framed
test_that "framed input that ends too early is an error, and the rest arrives" \
    framed_input_that_ends_too_early_is_an_error_and_the_rest_arrives
test_that "a whole file is one record" a_whole_file_is_one_record
test_that "standard input as a whole is one record" standard_input_as_a_whole_is_one_record
test_that "arguments are records" arguments_are_records
test_that "files are read in their order" files_are_read_in_their_order
test_that "records wait for a receiver that comes later" records_wait_for_a_receiver_that_comes_later
test_that "more than the quota goes through" more_than_the_quota_goes_through
test_that "a capacity of one is enough" a_capacity_of_one_is_enough
test_that "several receivers share the lines" several_receivers_share_the_lines
test_that "lines of several senders never run into each other" lines_of_several_senders_never_run_into_each_other
test_that "the order of each sender is kept" the_order_of_each_sender_is_kept
test_that "a sender for which descriptors are missing is served when there are some" \
    a_sender_for_which_descriptors_are_missing_is_served_when_there_are_some
test_that "a record appears while its sender still runs" a_record_appears_while_its_sender_still_runs
all_done
