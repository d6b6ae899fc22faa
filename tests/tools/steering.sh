#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# Looking at what flows, and steering it.
# shellcheck source=harness
. "$(dirname "$0")/harness"

# --- ferry tap ------------------------------------------------------------------------------------------------------

a_tap_writes_what_goes_through_a_queue_and_takes_nothing() {
    seq 1 500 >in
    "${ferry[@]}" tap x >seen 2>said &
    local tap=$!
    open_ends tap x 1
    "${ferry[@]}" recv x >out &
    local receiver=$!
    "${ferry[@]}" send x <in
    ended 0 "$receiver"
    ended 0 "$tap"
    same in out
    same in seen
    [ ! -s said ]
}

a_tap_sees_what_waits_for_a_receiver_when_it_is_sent() {
    "${ferry[@]}" tap --count 2 --json x >seen &
    local tap=$!
    open_ends tap x 1
    "${signalled[@]}" send x one $'two\xff' 2>said &
    local sender=$!
    ended 0 "$tap"
    python3 - seen <<'END'
import json, sys
one, two = [json.loads(line) for line in open(sys.argv[1])]
assert one["value"] == "one" and one["sequence"] == 1 and one["bytes"] == 3 and one["channel"] == "x", one
assert two["base64"] == "dHdv/w==" and two["lost_before"] == 0, two
END
    [ "$("${ferry[@]}" recv --count 2 x | wc -l)" = 2 ]
    ended 0 "$sender"
}

a_tap_of_a_topic_is_no_subscriber() {
    "${ferry[@]}" tap -0 x >seen &
    local tap=$!
    open_ends tap x 1
    status_of 124 "${ferry[@]}" pub --wait-for 1 --timeout 200ms x a 2>said
    ended 0 "$tap"
    [ ! -s seen ]
    "${ferry[@]}" tap -0 x >seen &
    tap=$!
    open_ends tap x 1
    "${ferry[@]}" pub x a b 2>said
    has 'nobody listens' said
    ended 0 "$tap"
    [ "$(tr '\0' , <seen)" = a,b, ]
}

rate_and_bandwidth_are_shown() {
    "${ferry[@]}" recv x >/dev/null &
    local receiver=$!
    "${ferry[@]}" tap --hz --bw x >seen 2>said &
    local tap=$!
    "${ferry[@]}" tap --hz --bw --json x >seen.json 2>said.json &
    local other=$!
    open_ends tap x 2
    (for i in 1 2 3 4 5 6 7 8; do seq 1 100; sleep 0.2; done) | "${ferry[@]}" send x
    ended 0 "$receiver"
    ended 0 "$tap"
    ended 0 "$other"
    grep -Eq '^[0-9,]+ records/s  [0-9.,]+ (B|KiB)/s$' seen
    python3 - seen.json <<'END'
import json, sys
lines = [json.loads(line) for line in open(sys.argv[1])]
assert lines and all(l["records_per_s"] >= 0 and l["bytes_per_s"] >= 0 and l["lost"] == 0 for l in lines), lines
assert any(l["records_per_s"] > 0 for l in lines), lines
END
}

a_tap_whose_output_nobody_reads_holds_nobody_back() {
    mkfifo pipe
    exec 7<>pipe
    "${ferry[@]}" tap x >pipe 2>said &
    local tap=$!
    open_ends tap x 1
    seq -w 1 100000 >in
    "${ferry[@]}" recv x >out &
    local receiver=$!
    "${ferry[@]}" send --quota 1MiB x <in
    ended 0 "$receiver"
    same in out
    cat <&7 >seen &
    local reader=$!
    ended 0 "$tap"
    exec 7>&-
    kill "$reader"
    has 'faster than they could be looked at' said
}

a_stopped_tap_keeps_no_sender_from_its_end() {
    mkfifo pipe
    exec 7<>pipe
    "$FERRY" tap x >seen 7>&- &
    local tap=$!
    open_ends tap x 1
    "${ferry[@]}" recv x >out 7>&- &
    local receiver=$!
    "${ferry[@]}" send x <pipe 7>&- &
    local sender=$!
    echo first >&7
    until_true test -s seen
    stop "$tap"
    seq 1 100 >&7
    exec 7>&-
    ended 0 "$sender"
    ended 0 "$receiver"
    kill -CONT "$tap"
    ended 0 "$tap"
    same out seen
}

# --- ferry purge ----------------------------------------------------------------------------------------------------

what_waits_is_dropped_and_both_sides_are_told() {
    "${signalled[@]}" send x one two three 2>said &
    local sender=$!
    until_true shows messages 3 x
    "${ferry[@]}" purge x >out
    [ "$(cat out)" = "3 messages of ferry-send (process $sender)" ]
    ended 1 "$sender"
    has 'purged by somebody: 3 of 3 records' said
    if grep -q 'not delivered' said; then fail "purged ones were counted twice"; fi
}

only_the_named_sender_is_purged() {
    "${signalled[@]}" send x one 2>said.one &
    local one=$!
    "${signalled[@]}" send x two 2>said.two &
    local two=$!
    open_ends sender x 2
    until_true shows depth 1 x
    until_true eval '[ "$("$FERRY" ls --json --no-rate x | grep -o "\"depth\":1" | wc -l)" = 2 ]'
    "${ferry[@]}" purge --sender "$one" --json x >out
    json out 'd["messages"] == 1 and len(d["senders"]) == 1 and d["senders"][0]["pid"] == '"$one"
    ended 1 "$one"
    [ "$("${ferry[@]}" recv --count 1 x)" = two ]
    ended 0 "$two"
}

purging_what_is_not_there_is_answered() {
    status_of 1 "${ferry[@]}" purge x 2>said
    has "no sender has 'x' open" said
    "${ferry[@]}" recv --follow x >none &
    open_ends receiver x 1
    status_of 1 "${ferry[@]}" purge x 2>said
    has "no sender has 'x' open" said
    status_of 1 "${ferry[@]}" purge --sender 1 x 2>said
    has 'no node 1 is in the space' said
    status_of 1 "${ferry[@]}" purge --sender me x 2>said
    has 'no node me is in the space' said
}

# --- ferry send --detach --------------------------------------------------------------------------------------------

no_keeper() {
    [ -z "$(keepers)" ]
}

a_keeper_has_the_records_when_their_sender_has_left() {
    seq 1 1000 >in
    "${ferry[@]}" send --detach x <in 2>said
    has '1,000 records are kept by process' said
    keepers >pids
    [ "$(wc -l <pids)" = 1 ]
    "${ferry[@]}" ls >ls
    has 'keeper of queue x' ls
    "${ferry[@]}" recv x >out
    same in out
    until_true no_keeper
    nothing_left
}

a_keeper_leaves_the_terminal_and_keeps_nothing_of_it_open() {
    "${ferry[@]}" send -q --detach x hello >out 2>said
    [ ! -s out ] && [ ! -s said ]
    local keeper
    keeper=$(keepers)
    [ "$(readlink "/proc/$keeper/fd/0" "/proc/$keeper/fd/1" "/proc/$keeper/fd/2" | sort -u)" = /dev/null ]
    [ "$(cut -d' ' -f6 "/proc/$keeper/stat")" = "$keeper" ]
    [ "$(readlink "/proc/$keeper/cwd")" = / ]
    # Who waits for the end of our output need not wait for the keeper.
    [ "$("${ferry[@]}" recv --count 1 x | cat)" = hello ]
    until_true no_keeper
}

a_keeper_ends_in_time_and_logs_what_is_lost() {
    "${ferry[@]}" send -q --detach --detach-for 300ms --detach-log log x a b c
    until_true no_keeper
    has "kept 3 records for 'x'" log
    has 'not delivered: 3 of 3 records' log
    nothing_left
}

a_keeper_is_ended_and_purged_like_a_sender() {
    "${ferry[@]}" send -q --detach --detach-log log x a b
    kill "$(keepers)"
    until_true no_keeper
    has 'interrupted: 2 records sent, 2 undelivered' log
    "${ferry[@]}" send -q --detach --detach-log log x a b c
    "${ferry[@]}" purge x >out
    has '3 messages of keeper of queue x' out
    until_true no_keeper
    has 'purged by somebody: 3 of 3 records' log
}

without_a_keeper_there_is_no_success() {
    status_of 1 "${ferry[@]}" send --detach x -f missing 2>said || status_of 125 "${ferry[@]}" send --detach x -f missing 2>said
    no_keeper
    status_of 125 "${ferry[@]}" send --detach --detach-log none/there x a 2>said
    has "cannot write to 'none/there'" said
    status_of 2 "${ferry[@]}" send --detach --detach-for forever x a 2>said
    has '--detach-for needs an end' said
    status_of 2 "${ferry[@]}" send --detach-for 1s x a 2>said
    has 'is for what --detach leaves' said
    status_of 2 "${ferry[@]}" send --detach --linger 1s x a 2>said
    has '--detach-for says how long' said
    no_keeper
}

# --- ferry kick -----------------------------------------------------------------------------------------------------

what_a_stopped_receiver_holds_goes_to_another_one_when_it_is_expelled() {
    "$FERRY" recv --max-held 1 x >first 2>said &
    local stuck=$!
    open_ends receiver x 1
    stop "$stuck"
    "${signalled[@]}" send x one two three &
    local sender=$!
    until_true shows messages 3 x
    "${ferry[@]}" kick "$stuck" >out 2>told
    grep -Eq "^expelled node [0-9a-f]{16} \(process $stuck\): " out
    has 'it learns it when it goes on' told
    [ "$("${ferry[@]}" recv x | paste -sd' ')" = 'one two three' ]
    ended 0 "$sender"
    [ ! -s first ]
    kill -CONT "$stuck"
    ended 125 "$stuck"
    has 'was expelled from its space' said
}

expelling_nonsense_is_refused() {
    "$FERRY" recv --follow x >none 2>said.recv &
    local receiver=$!
    open_ends receiver x 1
    status_of 1 "${ferry[@]}" kick 1 2>said
    has 'no node 1 is in the space' said
    status_of 1 "${ferry[@]}" kick me 2>said
    has 'no node me is in the space' said
    status_of 2 "${ferry[@]}" kick 2>said
    has 'whom to expel is missing' said
    "${ferry[@]}" kick --json "$receiver" >out
    json out 'd["expelled"][0]["told"] and d["expelled"][0]["pid"] == '"$receiver"
    ended 125 "$receiver"
    has 'was expelled from its space' said.recv
    nothing_left
}

a_node_is_expelled_by_its_name_where_no_other_process_has_it() {
    "$FERRY" recv --follow x >none 2>said.one &
    local one=$!
    "$FERRY" recv --follow x >none 2>said.two &
    local two=$!
    "$FERRY" sub --follow y >none 2>said.sub &
    local sub=$!
    open_ends receiver x 2
    open_ends receiver y 1
    status_of 1 "${ferry[@]}" kick ferry-recv 2>said
    has '2 nodes are called ferry-recv: ' said
    has "process $one" said
    has "process $two" said
    "${ferry[@]}" kick ferry-sub >out
    has "(process $sub)" out
    ended 125 "$sub"
    "${ferry[@]}" kick "$one"
    ended 125 "$one"
    "${ferry[@]}" kick -q ferry-recv
    ended 125 "$two"
    nothing_left
}

what_one_of_a_name_has_sent_is_dropped() {
    "${signalled[@]}" send x a b 2>said &
    local sender=$!
    until_true shows messages 2 x
    status_of 1 "${ferry[@]}" purge --sender ferry-recv x 2>told
    has 'no node ferry-recv is in the space' told
    "${ferry[@]}" purge --sender ferry-send x >out
    ended 1 "$sender"
    has 'purged by somebody' said
}

# --- ferry ls --follow ----------------------------------------------------------------------------------------------

who_comes_and_goes_is_shown_as_it_happens() {
    "$FERRY" recv --follow x >none &
    local receiver=$!
    open_ends receiver x 1
    "${signalled[@]}" ls --follow >events &
    local follower=$!
    "${signalled[@]}" ls --follow --json >events.json &
    local other=$!
    until_true grep -q 'is here .*ferry-recv' events
    until_true grep -q 'ferry-recv' events.json
    # It stays until it was seen: who has gone before the watch has looked at him is not told of.
    mkfifo words
    "${ferry[@]}" send x <words &
    local sender=$!
    exec 3>words
    echo one >&3
    until_true grep -q 'joined .*ferry-send' events
    until_true grep -q '"joined".*ferry-send' events.json
    exec 3>&-
    ended 0 "$sender"
    until_true grep -q 'left .*ferry-send' events
    killed "$receiver"
    until_true grep -Eq "died .*ferry-recv \(process $receiver\)" events
    "$FERRY" recv --follow x >none 2>said &
    receiver=$!
    until_true grep -q "\"joined\".*\"pid\":$receiver," events.json # else nobody tells of its end either
    "${ferry[@]}" kick -q "$receiver"
    ended 125 "$receiver"
    until_true grep -q '"expelled"' events.json
    kill -INT "$follower" "$other"
    ended 130 "$follower"
    ended 130 "$other"
    python3 - events.json "$receiver" <<'END'
import json, sys
events = [json.loads(line) for line in open(sys.argv[1])]
assert events[0]["event"] == "joined", events
of = [e["event"] for e in events if e["pid"] == int(sys.argv[2])]
assert of == ["joined", "expelled"], of
assert {e["event"] for e in events} == {"joined", "left", "died", "expelled"}, events
END
}

following_ends_when_nobody_reads() {
    "$FERRY" recv --follow x >none &
    open_ends receiver x 1
    [ "$("${ferry[@]}" ls --follow | head -n 1 | wc -l)" = 1 ]
    status_of 2 "${ferry[@]}" ls --follow x 2>said
    has 'give it no name of a channel' said
}

following_tells_at_once_that_its_output_cannot_be_written() {
    "$FERRY" recv --follow x >none &
    open_ends receiver x 1
    status_of 125 "${ferry[@]}" ls --follow >/dev/full 2>said
    has 'cannot write to standard output: No space left on device' said
}

test_that "a tap writes what goes through a queue, and takes nothing" a_tap_writes_what_goes_through_a_queue_and_takes_nothing
test_that "a tap sees what waits for a receiver when it is sent" a_tap_sees_what_waits_for_a_receiver_when_it_is_sent
test_that "a tap of a topic is no subscriber" a_tap_of_a_topic_is_no_subscriber
test_that "rate and bandwidth are shown" rate_and_bandwidth_are_shown
test_that "a tap whose output nobody reads holds nobody back" a_tap_whose_output_nobody_reads_holds_nobody_back
test_that "a stopped tap does not keep a sender" a_stopped_tap_keeps_no_sender_from_its_end
test_that "what waits is dropped, and both sides are told" what_waits_is_dropped_and_both_sides_are_told
test_that "only the named sender is purged" only_the_named_sender_is_purged
test_that "purging what is not there is answered" purging_what_is_not_there_is_answered
test_that "a keeper has the records when their sender has left" a_keeper_has_the_records_when_their_sender_has_left
test_that "a keeper leaves the terminal, and keeps nothing of it open" a_keeper_leaves_the_terminal_and_keeps_nothing_of_it_open
test_that "a keeper ends in time, and logs what is lost" a_keeper_ends_in_time_and_logs_what_is_lost
test_that "a keeper is ended and purged like a sender" a_keeper_is_ended_and_purged_like_a_sender
test_that "without a keeper there is no success" without_a_keeper_there_is_no_success
test_that "what a stopped receiver holds goes to another one when it is expelled" what_a_stopped_receiver_holds_goes_to_another_one_when_it_is_expelled
test_that "expelling nonsense is refused" expelling_nonsense_is_refused
test_that "a node is expelled by its name where no other process has it" a_node_is_expelled_by_its_name_where_no_other_process_has_it
test_that "what the only one of a name has sent is dropped" what_one_of_a_name_has_sent_is_dropped
test_that "who comes and goes is shown as it happens" who_comes_and_goes_is_shown_as_it_happens
test_that "following ends when nobody reads" following_ends_when_nobody_reads
test_that "following tells at once that its output cannot be written" following_tells_at_once_that_its_output_cannot_be_written
all_done
