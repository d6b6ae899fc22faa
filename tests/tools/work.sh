#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# `ferry work`: every record is worked on until it is done or has failed for good, never by more commands at once than
# asked for, and none is lost, however it ends.
# shellcheck disable=SC2016,SC2031
# shellcheck source=harness
. "$(dirname "$0")/harness"
: "${STUCK:?set STUCK to the program made of stuck.c}"
STUCK=$(realpath "$STUCK")

each_record_is_the_input_of_one_command() {
    seq 1 200 | "${ferry[@]}" send jobs &
    "${ferry[@]}" work -j 3 jobs -- sh -c 'x=$(cat); echo "$x" >"did.$x.$FERRY_ATTEMPT"' >out
    ended 0 $!
    [ "$(find . -name 'did.*.1' | wc -l)" = 200 ]
    [ "$(find . -name 'did.*' | wc -l)" = 200 ]
    [ ! -s out ]
    nothing_left
}

a_record_of_any_size_arrives_as_it_was() {
    head -c 3000000 /dev/urandom >large
    head -c 70000 /dev/urandom >middle
    : >empty
    "${ferry[@]}" send --whole jobs -f large -f middle -f empty &
    "${ferry[@]}" work -j 1 jobs --output all -- cat
    ended 0 $!
    cat large middle empty >wanted
    same wanted all
}

never_more_run_at_once_than_asked_for() {
    seq 1 40 | "${ferry[@]}" send jobs &
    "${ferry[@]}" work -j 3 jobs -- sh -c 'touch "run.$$"; ls run.* | wc -l >>counts; sleep 0.02; rm "run.$$"'
    ended 0 $!
    [ "$(wc -l <counts)" = 40 ]
    [ "$(sort -n counts | tail -n 1)" -le 3 ] || fail "$(sort -n counts | tail -n 1) ran at once"
    [ "$(sort -n counts | tail -n 1)" -ge 2 ] || fail "they ran one after the other"
}

what_fails_is_tried_again_and_then_goes_to_the_dead_queue() {
    seq 1 9 | "${ferry[@]}" send jobs &
    "${ferry[@]}" recv jobs.dead >dead 2>&1 &
    local status=0
    "${ferry[@]}" work -j 2 --retries 2 --delay 10ms jobs -- sh -c 'x=$(cat)
        echo "$x $FERRY_ATTEMPT" >>tries
        [ "$x" != 5 ] && { [ "$x" != 7 ] || [ "$FERRY_ATTEMPT" = 2 ]; }' 2>said || status=$?
    [ "$status" = 1 ] || fail "status $status"
    wait
    [ "$(cat dead)" = 5 ]
    { seq 1 9 | sed 's/$/ 1/'; echo 5 2; echo 7 2; echo 5 3; } | sort >wanted
    sort tries >sorted
    same wanted sorted
    has 'failed 3 times, for the last time with exit status 1: it goes to the queue "jobs.dead"' said
}

what_failed_for_good_goes_back_to_its_sender_when_nobody_has_received_it() {
    seq 1 2 | "${ferry[@]}" send jobs &
    local sender=$!
    status_of 1 "${ferry[@]}" work --retries 0 --count 2 jobs -- false 2>said
    has '2 records failed for good; 2 had not been received from "jobs.dead" when this ended: that is with the senders' said
    "${ferry[@]}" recv --count 2 jobs >again
    [ "$(sort again | tr '\n' ' ')" = '1 2 ' ]
    ended 0 "$sender"
}

what_failed_for_good_waits_for_a_reader_when_its_sender_has_ended() {
    worker --retries 0 jobs -- false
    seq 1 2 >two
    status_of 1 "${ferry[@]}" send --linger 1s jobs -f two 2>said
    until_true grep -q '2 records that failed for good wait here until somebody receives the queue "jobs.dead"' working
    "${ferry[@]}" recv --count 2 jobs.dead >dead
    [ "$(sort dead | tr '\n' ' ')" = '1 2 ' ]
    ended 1 "$worker"
    has '2 records failed for good and went to the queue "jobs.dead"' working
}

a_record_that_the_dead_queue_does_not_take_is_told_and_stays() {
    "$STUCK" reader 1 r:small=jobs.dead &
    open_ends receiver jobs.dead 1
    echo 'too long for it' | "${ferry[@]}" send jobs &
    local sender=$!
    "${ferry[@]}" work --retries 0 jobs -- false 2>said &
    local worker=$!
    until_true has "'jobs.dead' carries messages of at most 4 bytes, this one has 15" said
    has "a message of 'jobs' that was tried 1 time cannot go to its dead-letter queue" said
    kill -INT "$worker"
    [ "$("${ferry[@]}" recv jobs)" = 'too long for it' ]
    ended 0 "$sender"
    kill %1
}

a_queue_whose_dead_queue_would_have_too_long_a_name_is_refused() {
    local queue
    queue=$(printf 'q%.0s' {1..100})
    status_of 2 "${ferry[@]}" work "$queue" -- true 2>said
    has "$queue.dead" said
    has 'too long' said
    has '--dead' said
}

what_fails_for_good_can_be_reported_instead() {
    "${ferry[@]}" send jobs good bad &
    status_of 1 "${ferry[@]}" work --report --retries 0 jobs -- grep -q good 2>said
    ended 0 $!
    has 'failed once, with exit status 1: it is given up' said
}

# worker OPTION... -- COMMAND...: in the background, as $worker; returns when it waits for records
worker() {
    "${signalled[@]}" work "$@" 2>>working &
    worker=$!
    open_ends receiver jobs 1
}

a_killed_worker_loses_nothing_and_leaves_no_command_behind() {
    worker -j 1 jobs -- sh -c 'echo $$ >pid; sleep 20 & echo $! >child; wait'
    "${ferry[@]}" send jobs one two &
    local sender=$!
    until_true test -s child
    killed "$worker"
    until_true gone "$(cat pid)"
    until_true gone "$(cat child)"
    "${ferry[@]}" work jobs -- sh -c 'echo "$(cat) $FERRY_ATTEMPT" >>out'
    ended 0 "$sender"
    [ "$(sort out | tr '\n' ,)" = 'one 2,two 1,' ] || fail "$(cat out)"
}

gone() {
    [ ! -e "/proc/$1" ] || grep -q '^State:.Z' "/proc/$1/status"
}

an_interrupted_worker_lets_its_commands_end() {
    worker -j 1 jobs -- sh -c 'touch begun; until [ -e go ]; do sleep 0.05; done; cat >>out; echo >>out'
    "${ferry[@]}" send jobs one two &
    local sender=$!
    until_true test -e begun
    kill -INT "$worker"
    sleep 0.2
    touch go
    ended 130 "$worker"
    [ "$(cat out)" = one ]
    "${ferry[@]}" work jobs -- sh -c 'cat >>out; echo >>out; echo "$FERRY_ATTEMPT" >attempt'
    ended 0 "$sender"
    [ "$(tr '\n' , <out)" = one,two, ]
    [ "$(cat attempt)" = 1 ]
}

a_second_interrupt_ends_the_commands() {
    worker -j 1 jobs -- sh -c 'echo $$ >pid; sleep 20 & wait'
    "${ferry[@]}" send jobs one &
    local sender=$!
    until_true test -s pid
    kill -INT "$worker"
    sleep 0.3
    kill -INT "$worker"
    ended 130 "$worker"
    gone "$(cat pid)"
    "${ferry[@]}" work jobs -- sh -c 'cat >out'
    ended 0 "$sender"
    [ "$(cat out)" = one ]
}

a_command_that_takes_too_long_has_failed() {
    "${ferry[@]}" send jobs one &
    status_of 1 "${ferry[@]}" work --timeout 100ms --retries 0 --report jobs -- sleep 20 2>said
    ended 0 $!
    has 'with signal 15' said
}

a_command_that_cannot_be_run_is_told_and_the_record_waits() {
    "${ferry[@]}" send jobs one &
    status_of 127 "${ferry[@]}" work jobs -- no-such-command 2>said
    has "cannot run 'no-such-command'" said
    status_of 126 "${ferry[@]}" work jobs -- "$FERRY_DIR" 2>said
    "${ferry[@]}" work jobs -- sh -c 'cat >out'
    ended 0 $!
    [ "$(cat out)" = one ]
}

it_ends_after_so_many_records() {
    seq 1 10 | "${ferry[@]}" send jobs &
    "${ferry[@]}" work -j 2 --count 4 jobs -- sh -c 'echo "$(cat)" >>first'
    [ "$(wc -l <first)" = 4 ]
    "${ferry[@]}" work -j 2 jobs -- sh -c 'echo "$(cat)" >>rest'
    ended 0 $!
    [ "$(cat first rest | sort -n | tr '\n' ' ')" = '1 2 3 4 5 6 7 8 9 10 ' ]
}

# in_step OWN OTHER: notes a record in OWN; the first four times it then waits until as many are in OTHER. However slow one of
# the two is, the other one's hands are full meanwhile.
in_step='echo "$(cat)" >>"$1"; n=$(wc -l <"$1"); until [ "$n" -gt 4 ] || [ "$(wc -l <"$2")" -ge "$n" ]; do sleep 0.02; done'

two_workers_share_the_records() {
    : >out
    : >others
    worker -j 1 jobs -- sh -c "$in_step" sh out others
    "${ferry[@]}" work -j 1 jobs -- sh -c "$in_step" sh others out &
    local other=$!
    open_ends receiver jobs 2
    seq 1 20 | "${ferry[@]}" send jobs
    ended 0 "$worker"
    ended 0 "$other"
    [ "$(cat out others | sort -n | uniq | wc -l)" = 20 ]
    [ "$(wc -l <out)" -ge 4 ] && [ "$(wc -l <others)" -ge 4 ]
}

progress_tells_what_runs_and_what_failed() {
    seq 1 5 | "${ferry[@]}" send jobs &
    status_of 1 "${ferry[@]}" work --progress --report --retries 0 jobs -- sh -c '[ "$(cat)" != 3 ]' 2>said
    ended 0 $!
    grep -Eq 'done with 5 records, 4 B in' said || fail "$(cat said)"
}

test_that "each record is the input of one command" each_record_is_the_input_of_one_command
test_that "a record of any size arrives as it was" a_record_of_any_size_arrives_as_it_was
test_that "never more run at once than asked for" never_more_run_at_once_than_asked_for
test_that "what fails is tried again, and then goes to the dead queue" what_fails_is_tried_again_and_then_goes_to_the_dead_queue
test_that "what failed for good goes back to its sender when nobody has received it" \
    what_failed_for_good_goes_back_to_its_sender_when_nobody_has_received_it
test_that "what failed for good waits for a reader when its sender has ended" \
    what_failed_for_good_waits_for_a_reader_when_its_sender_has_ended
test_that "a record that the dead queue does not take is told, and stays" \
    a_record_that_the_dead_queue_does_not_take_is_told_and_stays
test_that "a queue whose dead queue would have too long a name is refused" \
    a_queue_whose_dead_queue_would_have_too_long_a_name_is_refused
test_that "what fails for good can be reported instead" what_fails_for_good_can_be_reported_instead
test_that "a killed worker loses nothing, and leaves no command behind" \
    a_killed_worker_loses_nothing_and_leaves_no_command_behind
test_that "an interrupted worker lets its commands end" an_interrupted_worker_lets_its_commands_end
test_that "a second interrupt ends the commands" a_second_interrupt_ends_the_commands
test_that "a command that takes too long has failed" a_command_that_takes_too_long_has_failed
test_that "a command that cannot be run is told, and the record waits" a_command_that_cannot_be_run_is_told_and_the_record_waits
test_that "it ends after so many records" it_ends_after_so_many_records
test_that "two workers share the records" two_workers_share_the_records
test_that "progress tells what runs and what failed" progress_tells_what_runs_and_what_failed
all_done
