#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# `ferry pub` and `ferry sub`.
# shellcheck source=harness
. "$(dirname "$0")/harness"

every_subscriber_gets_everything() {
    local i subscribers=()
    seq 1 50000 >in
    for i in 1 2 3; do
        "${ferry[@]}" sub x >"out$i" &
        subscribers+=($!)
    done
    "${ferry[@]}" pub --wait-for 3 x <in
    for i in 1 2 3; do
        ended 0 "${subscribers[i - 1]}"
        same in "out$i"
    done
}

a_last_line_without_newline_is_kept() {
    printf 'one\ntwo' >in
    "${ferry[@]}" sub x >out &
    "${ferry[@]}" pub --wait-for 1 x <in
    ended 0 $!
    same in out
}

waiting_for_subscribers_can_time_out() {
    status_of 124 "${ferry[@]}" pub --wait-for 1 --timeout 200ms x hello 2>said
    has 'timed out' said
}

publishing_to_nobody_is_said_and_counted() {
    "${ferry[@]}" pub x a b c 2>said
    has "nobody listens to 'x'" said
    has 'published while nobody listened: 3 of 3 records' said
}

publishing_to_nobody_is_quiet_when_asked() {
    "${ferry[@]}" pub -q x a 2>said
    [ ! -s said ]
}

a_late_subscriber_gets_what_is_retained() {
    seq 1 10 | "${signalled[@]}" pub --retain 3 --stay 20s x 2>said &
    local publisher=$!
    until_true shows messages 10 x
    "${ferry[@]}" sub --count 3 x >out
    [ "$(paste -sd' ' out)" = '8 9 10' ]
    "${ferry[@]}" sub --no-history --idle 200ms x >none
    [ ! -s none ]
    kill -INT "$publisher"
    ended 130 "$publisher"
}

a_subscriber_may_want_the_newest_only() {
    seq 1 10 | "${signalled[@]}" pub --retain 8 --stay 20s x 2>said &
    local publisher=$!
    until_true shows messages 10 x
    "${ferry[@]}" sub --newest --count 1 x >newest 2>lost
    [ "$(cat newest)" = 10 ]
    has 'lost' lost
    "${ferry[@]}" sub --newest-per-tag --count 1 x >newest 2>lost
    [ "$(cat newest)" = 10 ]
    "${ferry[@]}" sub --depth 2 --count 2 x >newest 2>lost
    [ "$(paste -sd' ' newest)" = '9 10' ]
    status_of 2 "${ferry[@]}" sub --depth 2 --newest x 2>said
    has 'give one of them' said
    kill -INT "$publisher"
    ended 130 "$publisher"
}

staying_ends_in_time() {
    "${ferry[@]}" pub --retain 1 --stay 300ms x hello
}

# all_published PID: the publisher has ended, or only lingers
all_published() {
    ! kill -0 "$1" || shows messages 200000 x
}

a_slow_subscriber_loses_and_is_told_where_holding_is_not_allowed() {
    mkfifo pipe
    exec 7<>pipe
    seq -w 1 200000 >in
    "${ferry[@]}" sub x >pipe 2>said &
    local subscriber=$!
    # Nothing is read until everything is published: the publisher must not wait for that.
    "${ferry[@]}" pub --hold never --quota 1MiB --wait-for 1 x <in 2>pub.said &
    local publisher=$!
    until_true all_published "$publisher"
    cat <&7 >out &
    local reader=$!
    ended 0 "$publisher"
    ended 0 "$subscriber"
    until_true grep -q 200000 out
    kill "$reader"
    exec 7<&-
    has 'records were lost, because this subscriber was too slow' said
    sort -uc out || fail "a record came twice, or out of order"
    local lost
    lost=$(sed -n 's/.*too slow: //p' said | tr -d ,)
    [ $((lost + $(wc -l <out))) = 200000 ] || fail "$lost lost and $(wc -l <out) received"
}

a_slow_subscriber_holds_back_where_that_is_allowed() {
    seq -w 1 100000 >in
    "${ferry[@]}" sub x 2>said | { sleep 1; cat; } >out &
    "${ferry[@]}" pub --hold back --quota 1MiB --wait-for 1 x <in
    ended 0 $!
    same in out
}

a_following_subscriber_sees_one_publisher_after_another_once() {
    "${signalled[@]}" sub --follow x >out &
    local subscriber=$! i
    for i in 1 2 3; do "${ferry[@]}" pub --wait-for 1 x "$i"; done
    until_true grep -qx 3 out
    kill -INT "$subscriber"
    ended 130 "$subscriber"
    [ "$(paste -sd' ' out)" = '1 2 3' ]
}

a_subscriber_ends_when_its_output_is_closed() {
    mkfifo pipe
    "${ferry[@]}" pub --wait-for 1 x <pipe &
    local publisher=$!
    exec 7>pipe
    echo first >&7
    "${ferry[@]}" sub x | head -n 1 >out
    [ "$(cat out)" = first ]
    exec 7>&-
    ended 0 "$publisher"
}

a_queue_and_a_topic_cannot_share_a_name() {
    "${signalled[@]}" sub x >out &
    open_ends receiver x 1
    status_of 125 "${ferry[@]}" send x hello 2>said
    [ -s said ]
    kill -TERM $!
    ended 143 $!
}

types_must_agree() {
    "${ferry[@]}" recv --type frame x >out &
    open_ends receiver x 1
    status_of 125 "${ferry[@]}" send --type line x hello 2>said
    has frame said
    has line said
    "${ferry[@]}" send --type frame x hello
    ended 0 $!
    [ "$(cat out)" = hello ]
}

test_that "every subscriber gets everything" every_subscriber_gets_everything
test_that "a last line without newline is kept" a_last_line_without_newline_is_kept
test_that "waiting for subscribers can time out" waiting_for_subscribers_can_time_out
test_that "publishing to nobody is said and counted" publishing_to_nobody_is_said_and_counted
test_that "publishing to nobody is quiet when asked" publishing_to_nobody_is_quiet_when_asked
test_that "a late subscriber gets what is retained" a_late_subscriber_gets_what_is_retained
test_that "a subscriber may want the newest only" a_subscriber_may_want_the_newest_only
test_that "staying ends in time" staying_ends_in_time
test_that "a slow subscriber loses and is told, where holding is not allowed" \
    a_slow_subscriber_loses_and_is_told_where_holding_is_not_allowed
test_that "a slow subscriber holds back, where that is allowed" a_slow_subscriber_holds_back_where_that_is_allowed
test_that "a following subscriber sees one publisher after another, once" \
    a_following_subscriber_sees_one_publisher_after_another_once
test_that "a subscriber ends when its output is closed" a_subscriber_ends_when_its_output_is_closed
test_that "a queue and a topic cannot share a name" a_queue_and_a_topic_cannot_share_a_name
test_that "types must agree" types_must_agree
all_done
