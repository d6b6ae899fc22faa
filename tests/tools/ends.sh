#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# When `ferry send` and `ferry recv` end, with which status, and what becomes of records that were not written.
# shellcheck source=harness
. "$(dirname "$0")/harness"

recv_waits_for_the_first_sender() {
    "${ferry[@]}" recv x >out &
    open_ends receiver x 1
    sleep 0.3
    kill -0 $!
    "${ferry[@]}" send x hello
    ended 0 $!
    [ "$(cat out)" = hello ]
}

recv_waits_for_as_many_senders_as_asked() {
    "${ferry[@]}" recv --senders 2 x >out &
    local receiver=$!
    open_ends receiver x 1
    "${ferry[@]}" send x one
    sleep 0.3
    kill -0 "$receiver"
    "${ferry[@]}" send x two
    ended 0 "$receiver"
    [ "$(paste -sd' ' out)" = 'one two' ]
}

follow_goes_on_after_all_senders_have_ended() {
    "${signalled[@]}" recv --follow x >out &
    local receiver=$! i
    for i in 1 2 3; do "${ferry[@]}" send x "$i"; done
    until_true grep -qx 3 out
    kill -0 "$receiver"
    kill -TERM "$receiver"
    ended 143 "$receiver"
    [ "$(paste -sd' ' out)" = '1 2 3' ]
}

# sleeps PID: uses less than three hundredths of a second in one
sleeps() {
    local before after
    before=$(awk '{ print $14 + $15 }' "/proc/$1/stat")
    sleep 1
    after=$(awk '{ print $14 + $15 }' "/proc/$1/stat")
    [ $((after - before)) -le 2 ]
}

# On a slow machine it is still busy with the sender that has just left.
a_following_receiver_sleeps_between_senders() {
    "$FERRY" recv --follow x >out &
    local receiver=$!
    "${ferry[@]}" send x 1
    until_true grep -qx 1 out
    until_true sleeps "$receiver"
    kill -TERM "$receiver"
    ended 143 "$receiver"
}

idle_ends_after_a_quiet_time() {
    mkfifo pipe
    "${ferry[@]}" send x <pipe &
    local sender=$!
    exec 7>pipe
    echo a >&7
    open_ends sender x 1 # a sender that comes late would come too late
    "${ferry[@]}" recv --idle 3s x >out
    exec 7>&-
    ended 0 "$sender"
    [ "$(cat out)" = a ]
}

idle_ends_without_any_sender() {
    "${ferry[@]}" recv --idle 100ms x
}

timeout_ends_with_124() {
    status_of 124 "${ferry[@]}" recv --timeout 200ms x 2>said
    has 'timed out after 200.0 ms' said
}

timeout_ends_even_while_records_come() {
    yes | "${signalled[@]}" send --linger 0s x 2>/dev/null &
    status_of 124 "${ferry[@]}" recv --timeout 500ms x >/dev/null 2>said
    kill -TERM $! 2>/dev/null || true
    wait || true
}

count_takes_no_more_than_asked() {
    seq 1 1000 >in
    "${ferry[@]}" send x <in &
    local sender=$!
    "${ferry[@]}" recv --count 10 x >out1
    "${ferry[@]}" recv -n 990 x >out2
    ended 0 "$sender"
    cat out1 out2 >out
    [ "$(wc -l <out1)" = 10 ]
    same in out
}

recv_ends_at_once_when_its_output_is_closed_though_nothing_comes() {
    mkfifo pipe
    "${ferry[@]}" send x <pipe &
    local sender=$!
    exec 7>pipe
    echo first >&7
    local begin=$SECONDS
    "${ferry[@]}" recv x | head -n 1 >out
    [ "${PIPESTATUS[0]}" = 0 ]
    [ $((SECONDS - begin)) -lt 10 ]
    [ "$(cat out)" = first ]
    exec 7>&-
    ended 0 "$sender"
}

recv_ends_at_once_when_its_output_was_never_read() {
    mkfifo pipe
    "${ferry[@]}" recv x >pipe &
    local receiver=$!
    exec 7<pipe
    open_ends receiver x 1
    exec 7<&-
    ended 0 "$receiver"
}

what_was_not_written_goes_to_the_next_receiver() {
    seq 1 200000 >in
    "${ferry[@]}" send x <in &
    local sender=$!
    { "${ferry[@]}" recv x; echo $? >status; } | { head -n 1 >first; }
    [ "$(cat status)" = 0 ]
    "${ferry[@]}" recv x >rest
    ended 0 "$sender"
    # The pipe took some of the records before it was closed, and they count as received. The rest must follow on them
    # without a gap, and be far more than what a pipe holds.
    [ "$(cat first)" = 1 ]
    seq "$(head -n 1 rest)" 200000 >expected
    same expected rest
    [ "$(wc -l <rest)" -gt 100000 ]
}

# pipe_holds N: at least so many bytes can be read from descriptor 7
pipe_holds() {
    python3 -c 'import fcntl, struct, sys, termios
sys.exit(struct.unpack("i", fcntl.ioctl(7, termios.FIONREAD, bytes(4)))[0] < int(sys.argv[1]))' "$1"
}

a_killed_receivers_records_go_to_the_next_one() {
    seq 1 50000 >in
    "${ferry[@]}" send x <in &
    local sender=$!
    mkfifo pipe
    "$FERRY" recv x >pipe &
    local receiver=$!
    exec 7<pipe
    until_true pipe_holds 6000 # soon it is full, and the receiver waits in the middle of a write
    kill -KILL "$receiver"
    wait "$receiver" || true
    cat <&7 >written
    exec 7<&-
    "${ferry[@]}" recv x >rest
    ended 0 "$sender"
    # What the pipe took may come again, since the receiver died before it could acknowledge; nothing may be missing.
    local first
    first=$(head -n 1 rest)
    [ "$(wc -l <written)" -gt 1000 ]
    [ "$first" -le $(($(wc -l <written) + 1)) ] || fail "a gap before $first"
    seq "$first" 50000 >expected
    same expected rest
}

a_closed_output_is_an_error_and_gives_the_record_back() {
    "${ferry[@]}" send x hello &
    status_of 125 "${ferry[@]}" recv x >&- 2>said
    has 'cannot write to standard output: Bad file descriptor' said
    [ "$("${ferry[@]}" recv x)" = hello ]
    ended 0 $!
}

a_full_disk_is_an_error_and_gives_the_record_back() {
    "${ferry[@]}" send x hello &
    status_of 125 "${ferry[@]}" recv x >/dev/full 2>said
    has 'No space left on device' said
    [ "$("${ferry[@]}" recv x)" = hello ]
    ended 0 $!
}

linger_gives_up_and_tells_how_many() {
    status_of 1 "${ferry[@]}" send --linger 100ms x a b c 2>said
    has 'not delivered: 3 of 3 records' said
}

by_rendezvous_nothing_is_sent_ahead() {
    status_of 124 "${ferry[@]}" send --rendezvous --timeout 300ms x a 2>said
    has 'timed out' said
    "${signalled[@]}" send --rendezvous x b c 2>said &
    local sender=$!
    [ "$("${ferry[@]}" recv --count 1 x)" = b ]
    until_true shows messages 1 x
    kill -INT "$sender"
    ended 130 "$sender"
    has '1 record sent' said
    "${ferry[@]}" recv --count 3 x >out &
    local receiver=$!
    "${ferry[@]}" send --rendezvous x 1 2 3
    ended 0 "$receiver"
    [ "$(paste -sd' ' out)" = '1 2 3' ]
}

send_times_out_with_124_when_there_is_no_room() {
    status_of 124 "${ferry[@]}" send --timeout 300ms --capacity 2 x a b c 2>said
    has 'timed out after 300.0 ms' said
    has 'not delivered: 2 of 2 records' said
}

send_times_out_with_124_while_its_input_is_silent() {
    mkfifo pipe
    exec 7<>pipe
    status_of 124 "${ferry[@]}" send --timeout 300ms x <pipe
    exec 7>&-
}

a_missing_file_is_an_error_and_what_was_read_is_delivered() {
    echo a >a
    "${ferry[@]}" recv x >out &
    status_of 125 "${ferry[@]}" send x -f a missing 2>said
    ended 0 $!
    has "cannot open 'missing': No such file" said
    same a out
}

a_directory_is_an_error() {
    status_of 125 "${ferry[@]}" send x -f . 2>said
    has 'cannot read .: Is a directory' said
}

a_record_beyond_the_quota_is_an_error_that_names_the_option() {
    head -c 3000000 /dev/zero | tr '\0' x >in
    status_of 125 "${ferry[@]}" send --quota 1MiB x <in 2>said
    has '--quota' said
    status_of 125 "${ferry[@]}" send --quota 1MiB --whole x -f in 2>said
    has '--quota' said
}

ctrl_c_ends_send_and_tells_what_was_sent() {
    mkfifo pipe
    "${signalled[@]}" send x <pipe 2>said &
    local sender=$!
    exec 7>pipe
    printf 'a\nb\n' >&7
    until_true shows messages 2 x
    kill -INT "$sender"
    ended 130 "$sender"
    exec 7>&-
    has 'interrupted: 2 records sent, 2 undelivered' said
}

ctrl_c_ends_send_while_it_waits_for_room() {
    yes | "${signalled[@]}" send --capacity 10 x 2>said &
    open_ends sender x 1
    until_true shows depth 10 x
    kill -INT $!
    ended 130 $!
    has 'interrupted: 10 records sent, 10 undelivered' said
}

ctrl_c_ends_send_while_it_lingers() {
    "${signalled[@]}" send x hello 2>said &
    until_true shows depth 1 x
    sleep 0.2
    kill -INT $!
    ended 130 $!
    has 'interrupted: 1 record sent, 1 undelivered' said
}

ctrl_c_ends_recv_and_gives_back_what_it_holds() {
    "${signalled[@]}" recv x >out &
    open_ends receiver x 1
    kill -INT $!
    ended 130 $!
}

a_signal_ends_recv_while_its_output_is_full() {
    seq 1 100000 >in
    "${ferry[@]}" send x <in &
    local sender=$!
    mkfifo pipe
    exec 7<>pipe
    "$FERRY" recv x >pipe &
    local receiver=$!
    sleep 0.5
    kill -TERM "$receiver"
    ended 143 "$receiver"
    exec 7<&-
    "${ferry[@]}" recv x >rest
    ended 0 "$sender"
    tail -n 1 rest >last
    [ "$(cat last)" = 100000 ]
}

what_was_ignored_stays_ignored() {
    (trap '' HUP; exec "$FERRY" recv --timeout 20s x) & # without timeout(1), which would catch it
    open_ends receiver x 1
    kill -HUP $!
    sleep 0.2
    "${ferry[@]}" send x hello
    ended 0 $!
}

test_that "recv waits for the first sender" recv_waits_for_the_first_sender
test_that "recv waits for as many senders as asked" recv_waits_for_as_many_senders_as_asked
test_that "--follow goes on after all senders have ended" follow_goes_on_after_all_senders_have_ended
test_that "a following receiver sleeps between senders" a_following_receiver_sleeps_between_senders
test_that "--idle ends after a quiet time" idle_ends_after_a_quiet_time
test_that "--idle ends without any sender" idle_ends_without_any_sender
test_that "--timeout ends with 124" timeout_ends_with_124
test_that "--timeout ends even while records come" timeout_ends_even_while_records_come
test_that "--count takes no more than asked" count_takes_no_more_than_asked
test_that "recv ends at once when its output is closed, though nothing comes" \
    recv_ends_at_once_when_its_output_is_closed_though_nothing_comes
test_that "recv ends at once when its output was never read" recv_ends_at_once_when_its_output_was_never_read
test_that "what was not written goes to the next receiver" what_was_not_written_goes_to_the_next_receiver
test_that "a killed receiver's records go to the next one" a_killed_receivers_records_go_to_the_next_one
test_that "a closed output is an error and gives the record back" a_closed_output_is_an_error_and_gives_the_record_back
test_that "a full disk is an error and gives the record back" a_full_disk_is_an_error_and_gives_the_record_back
test_that "--linger gives up and tells how many" linger_gives_up_and_tells_how_many
test_that "send times out with 124 when there is no room" send_times_out_with_124_when_there_is_no_room
test_that "send times out with 124 while its input is silent" send_times_out_with_124_while_its_input_is_silent
test_that "a missing file is an error, and what was read is delivered" \
    a_missing_file_is_an_error_and_what_was_read_is_delivered
test_that "a directory is an error" a_directory_is_an_error
test_that "a record beyond the quota is an error that names the option" \
    a_record_beyond_the_quota_is_an_error_that_names_the_option
test_that "by rendezvous nothing is sent ahead" by_rendezvous_nothing_is_sent_ahead
test_that "Ctrl-C ends send and tells what was sent" ctrl_c_ends_send_and_tells_what_was_sent
test_that "Ctrl-C ends send while it waits for room" ctrl_c_ends_send_while_it_waits_for_room
test_that "Ctrl-C ends send while it lingers" ctrl_c_ends_send_while_it_lingers
test_that "Ctrl-C ends recv" ctrl_c_ends_recv_and_gives_back_what_it_holds
test_that "a signal ends recv while its output is full" a_signal_ends_recv_while_its_output_is_full
test_that "what was ignored at the start stays ignored" what_was_ignored_stays_ignored
all_done
