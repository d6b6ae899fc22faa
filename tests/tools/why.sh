#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# `ferry why`. What is stuck is made by stuck.c, which says how its arguments are read.
# shellcheck disable=SC2031
# shellcheck source=harness
. "$(dirname "$0")/harness"
: "${STUCK:?set STUCK to the program made of stuck.c}"
STUCK=$(realpath "$STUCK")

# json FILE EXPRESSION: the expression about `d` must hold. `w` are its waits, by the names of their threads.
json() {
    python3 -c '
import json, sys
d = json.load(open(sys.argv[1]))
w = {x["thread"]: x for x in d["waits"]}
sys.exit(0 if eval(sys.argv[2]) else repr(d))' "$@"
}

# wait_for THREAD...: until just these threads wait, and none of them for the others to come
wait_for() {
    until_true only_wait "$@"
}

only_wait() {
    "${ferry[@]}" why --json >waits 2>/dev/null
    json waits "sorted(w) == sorted('$*'.split()) and all(x['name'] != 'everybody-is-here' for x in w.values())"
}

# lacks TEXT FILE
lacks() {
    ! grep -F -- "$1" "$2" || fail "'$1' is in $2"
}

# drawn ONE TWO: what `ferry why` draws must be the standard input, where processes ONE and TWO are called so, and what is
# not the same each time is called thread, time and place
drawn() {
    "${ferry[@]}" why >out
    sed -E -e "s/\[$1\>/[ONE/g" -e "s/\[${2:-none}\>/[TWO/g" -e 's/(\[[A-Z]+)\/[0-9]+/\1\/thread/g' \
        -e 's/, [0-9.]+ m?s\>/, time/g' -e 's/ \(stuck\+0x[0-9a-f]+\)/ (place)/g' out >drawn
    diff - drawn
}

it_says_when_nothing_is_open() {
    "${ferry[@]}" why >out 2>said
    [ ! -s out ]
    has "nothing is open in space '$FERRY_SPACE'" said
    "${ferry[@]}" why --check
    "${ferry[@]}" why -q 2>said
    [ ! -s said ]
    status_of 1 "${ferry[@]}" why ledger 2>said
    has 'nothing is open' said
    "${ferry[@]}" why --json >out 2>/dev/null
    json out 'd["nodes"] == d["waits"] == d["circles"] == []'
}

it_says_when_nobody_waits() {
    "$STUCK" bank 1 teller:lock=ledger &
    until_true node_is_there bank
    "${ferry[@]}" why >out 2>said
    [ ! -s out ]
    # shellcheck disable=SC2016
    has 'nobody has waited for longer than its `deadlock_after`' said
    "${ferry[@]}" why -q >out 2>said
    [ ! -s out ]
    [ ! -s said ]
    "${ferry[@]}" why --check 2>/dev/null
    "${ferry[@]}" why --json >out
    json out 'len(d["nodes"]) == 1 and d["waits"] == d["circles"] == []'
}

node_is_there() {
    "$FERRY" ls --no-rate --json | grep -q "\"name\":\"$1\""
}

a_chain_is_drawn_down_to_the_one_that_runs() {
    "$STUCK" bank 3 first:lock=a,meet second:write=b,meet,lock=a third:meet,read=b &
    wait_for second third
    drawn $! <<END
bank[ONE/thread third] waits for rwlock "b" to read, time (place)
└─ held by bank[ONE/thread second], which waits for mutex "a", time (place)
   └─ held by bank[ONE/thread], which runs
END
    "${ferry[@]}" why --check >/dev/null
}

# circle_of_three: over two processes, bank and audit, whose ids are then `one` and `two`
circle_of_three() {
    "$STUCK" bank 3 worker:lock=a,meet,lock=b writer:write=c,meet,lock=a &
    one=$!
    "$STUCK" audit 3 reader:lock=b,meet,read=c &
    two=$!
    wait_for worker reader writer
}

what_a_command_under_a_lock_does_is_not_known() {
    "${ferry[@]}" lock x -- sh -c 'until [ -e go ]; do sleep 0.02; done' &
    until_true child_is_waited_for
    has 'in it is something that runs' out
    touch go
    ended 0 $!
}

child_is_waited_for() {
    "${ferry[@]}" why >out 2>/dev/null
    grep -q 'waits for its child process' out
}

a_circle_is_marked_and_ends_the_drawing() {
    circle_of_three
    "${ferry[@]}" why >out 2>said
    [ ! -s said ]
    grep -Eq "^circle 1: (.+) → .+ → .+ → " out
    [ "$(grep -c '^circle' out)" = 1 ]
    [ "$(grep -c '◀ circle 1: these wait for each other for good$' out)" = 1 ]
    [ "$(grep -c '^[^ ]*\[.* waits for ' out)" = 1 ] || fail 'not one tree'
    [ "$(wc -l <out)" = 6 ] # the circle, an empty line, three threads, and the first one again
    sed -E "s/ →.*//; s/circle 1: //; q" out >first
    [ "$(sed -n '1s/.* → //p' out)" = "$(cat first)" ]
    grep -qF "held by $(cat first)   ◀" out
    grep -Eq "bank\[$one/[0-9]+ worker\],? (which )?waits for mutex \"b\", [0-9.]+ m?s \(stuck\+0x[0-9a-f]+\)$" out
    grep -Eq "audit\[$two/[0-9]+ reader\],? (which )?waits for rwlock \"c\" to read, " out
}

a_circle_through_two_spaces_is_drawn() {
    "$STUCK" bank 2 one:lock=a,in=other,meet,lock=b &
    bank=$!
    "$STUCK" audit 2 two:in=other,lock=b,meet,in="$FERRY_SPACE",lock=a &
    audit=$!
    wait_for one two
    "${ferry[@]}" why >out
    grep -Eq "^circle 1: .*bank\[$bank/[0-9]+ one\]" out
    grep -Eq "bank\[$bank/[0-9]+ one\],? (which )?waits for mutex \"b\" in space 'other', " out
    grep -Eq "audit\[$audit/[0-9]+ two\],? (which )?waits for mutex \"a\", " out
    status_of 1 "${ferry[@]}" why --check --space other >out
    grep -Eq "waits for mutex \"a\" in space '$FERRY_SPACE', " out
    "${ferry[@]}" why --json >json
    json json 'w["one"]["circle"] == w["two"]["circle"] == 1 and {o["id"]: o for o in d["others"]}[w["one"]["node"]]["name"] == "bank"'
    json json 'w["one"]["holders"][0]["node"] not in [n["id"] for n in d["nodes"]]'
    "${ferry[@]}" why --dot >out
    has "mutex \\\"b\\\" in space 'other'" out
}

check_tells_of_a_circle_by_its_status() {
    circle_of_three
    "${ferry[@]}" why >/dev/null
    status_of 1 "${ferry[@]}" why --check >out
    has 'circle 1' out
    status_of 1 "${ferry[@]}" why --check --json a >/dev/null
    "${ferry[@]}" why --check nothing 2>/dev/null
}

what_hangs_on_a_circle_is_drawn_above_it() {
    circle_of_three
    "$STUCK" late 1 late:lock=a &
    wait_for worker reader writer late
    "${ferry[@]}" why >out
    grep -Eq '^late\[.* late\] waits for mutex "a"' out
    [ "$(grep -c '^[^ ]*\[.* waits for ' out)" = 1 ] || fail 'not one tree'
    head -n 1 out >first
    lacks late first
    "${ferry[@]}" why --json >json
    json json 'len(d["circles"]) == 1 and len(d["circles"][0]["waits"]) == 3 and w["late"]["circle"] == 0'
}

what_stands_elsewhere_is_pointed_at() {
    "$STUCK" bank 4 first:lock=a,meet second:lock=b,meet,lock=a third:meet,lock=b fourth:meet,lock=b &
    wait_for second third fourth
    "${ferry[@]}" why >out
    [ "$(grep -c 'held by .* second\], which waits for mutex "a"' out)" = 1 ]
    [ "$(grep -c 'held by .* second\], see above$' out)" = 1 ]
}

a_unit_needs_any_of_its_holders() {
    "$STUCK" bank 3 first:unit=slots,meet second:unit=slots,meet third:meet,unit=slots &
    wait_for third
    drawn $! <<END
bank[ONE/thread third] waits for a unit of semaphore "slots", time (place), until any of these lets go:
├─ held by bank[ONE/thread], which runs
└─ held by bank[ONE/thread], which runs
END
    "${ferry[@]}" why --json >json
    json json 'w["third"]["needs"] == "any" and len({h["tid"] for h in w["third"]["holders"]}) == 2'
}

a_thread_with_two_units_is_drawn_once() {
    "$STUCK" bank 2 first:unit=slots,unit=slots,meet second:meet,unit=slots &
    wait_for second
    drawn $! <<END
bank[ONE/thread second] waits for a unit of semaphore "slots", time (place)
└─ held by bank[ONE/thread], which runs
END
    "${ferry[@]}" why --json >json
    json json 'len(w["second"]["holders"]) == 2'
    "${ferry[@]}" why --dot >out
    lacks 'any of' out
}

a_writer_needs_all_readers() {
    "$STUCK" bank 3 one:read=index,meet two:read=index,lock=a,meet,event=never three:meet,write=index &
    wait_for two three
    "${ferry[@]}" why index >out
    grep -Eq '^bank.* three\] waits for rwlock "index" to write, .*, until all of these let go:$' out
    grep -Eq '^[├└]─ held by bank\[[0-9/]+\], which runs$' out
    grep -Eq '^[├└]─ held by bank.* two\], which waits for event "never", ' out
    "${ferry[@]}" why --json >json
    json json 'w["three"]["needs"] == "all" and w["three"]["for"] == "write" and w["two"]["holders"] == []'
}

a_process_that_waits_for_its_child_is_part_of_circles() {
    "$STUCK" parent 1 main:lock=a,child -- child 1 kid:lock=a &
    wait_for main kid
    "${ferry[@]}" why >out
    local child
    child=$(sed -En 's/.*waits for its child process ([0-9]+), .*/\1/p' out)
    grep -Eq "^circle 1: .*child\[$child/[0-9]+ kid\]" out
    grep -Eq "child\[$child/[0-9]+ kid\],? (which )?waits for mutex \"a\"" out
    "${ferry[@]}" why --json "$child" >json
    json json "w['main']['for'] == 'process' and w['main']['child'] == $child and w['main']['circle'] == 1"
}

room_barriers_and_events_are_named() {
    "$STUCK" bank 4 full:meet,fill=jobs idle:hold=jobs,meet early:meet,arrive=start lone:meet,event=done &
    wait_for full early lone
    "${ferry[@]}" why >out
    grep -Eq '^bank.* full\] waits for room in channel "jobs", ' out
    grep -Eq '^└─ full at bank' out
    grep -Eq '^bank.* early\] waits for barrier "start", ' out
    grep -Eq '^bank.* lone\] waits for event "done", ' out
    "${ferry[@]}" why jobs >out
    [ "$(grep -c ' waits for ' out)" = 1 ]
}

only_trees_are_shown_that_were_asked_for() {
    "$STUCK" bank 4 one:lock=a,meet two:meet,lock=a &
    local bank=$!
    "$STUCK" audit 4 three:lock=b,meet four:meet,lock=b &
    local audit=$!
    "$STUCK" store 1 holder:lock=c &
    local store=$!
    until_true node_is_there store
    wait_for two four
    "${ferry[@]}" why "$bank" >out
    has 'mutex "a"' out
    lacks 'mutex "b"' out
    "${ferry[@]}" why b >out
    has 'mutex "b"' out
    lacks 'mutex "a"' out
    "${ferry[@]}" why '[ab]' >out
    [ "$(grep -c ' waits for ' out)" = 2 ]
    "${ferry[@]}" why --json "$audit" >json
    json json '[x["name"] for x in d["waits"]] == ["b"] and len(d["nodes"]) == 3'
    "${ferry[@]}" why "$store" >out 2>said
    [ ! -s out ]
    has "process $store does not wait, and nobody waits for it" said
}

a_service_has_its_name_where_room_for_calls_is_waited_for() {
    "$STUCK" bank 1 teller:serve=ledger,event=never &
    until_true node_is_there bank
    "$STUCK" crowd 1 caller:crowd=ledger &
    wait_until_waits_for 'calls of ledger'
    "${ferry[@]}" why ledger >out
    has 'waits for room in channel "calls of ledger"' out
    lacks '+ledger' out
    "${ferry[@]}" why 'le*er' >out
    has 'waits for room in channel "calls of ledger"' out
}

# wait_until_waits_for NAME: until somebody waits for that
wait_until_waits_for() {
    until_true somebody_waits_for "$1"
}

somebody_waits_for() {
    "${ferry[@]}" why --json >waits 2>/dev/null
    json waits "'$1' in [x['name'] for x in d['waits']]"
}

who_is_not_known_is_told() {
    "$STUCK" bank 1 teller:lock=a,hold=jobs &
    until_true count_ends receiver jobs 1
    status_of 1 "${ferry[@]}" why $$ >out 2>said
    [ ! -s out ]
    has "process $$ is not in space '$FERRY_SPACE'" said
    status_of 1 "${ferry[@]}" why nothing >out 2>said
    [ ! -s out ]
    has "no channel or service in space '$FERRY_SPACE' is called 'nothing', and nobody waits for an object of that name" said
    "${ferry[@]}" why jobs >out 2>said
    [ ! -s out ]
    has "nobody waits for room in channel 'jobs'" said
}

a_number_is_a_name_where_no_process_has_it() {
    "$STUCK" bank 2 one:lock=999999999,meet two:meet,lock=999999999 &
    wait_for two
    "${ferry[@]}" why 999999999 >out
    has 'waits for mutex "999999999"' out
}

a_stopped_process_is_named() {
    "$STUCK" bank 2 holder:lock=a,meet &
    local bank=$!
    "$STUCK" audit 2 waiter:meet,lock=a &
    wait_for waiter
    stop "$bank"
    "${ferry[@]}" why >out
    "${ferry[@]}" why --json >json
    "${ferry[@]}" why --dot >graph
    "${ferry[@]}" why "$bank" >asked
    kill -CONT "$bank"
    grep -Eq '^audit.* waiter\] waits for mutex "a", ' out
    grep -Eq "^└─ held by .*\[$bank(/[0-9]+)?\], which does not answer \(stopped\?\)$" out
    [ "$(tail -n 1 out)" = "process $bank does not answer (stopped?); what its threads wait for is not known" ]
    has ' waiter] waits for mutex "a"' asked
    json json "[n['answered'] for n in d['nodes'] if n['pid'] == $bank] == [False]"
    has "style=dashed, label=\"process $bank does not answer" graph
}

json_has_nodes_waits_and_circles() {
    circle_of_three
    "${ferry[@]}" why --json >json
    json json "d['directory'] == '$FERRY_DIR' and d['space'] == '$FERRY_SPACE'"
    json json "sorted((n['name'], n['pid']) for n in d['nodes']) == [('audit', $two), ('bank', $one)]"
    json json 'all(x["circle"] == 1 and x["age_ns"] > 0 and x["tid"] > 0 and len(x["holders"]) == 1 for x in d["waits"])'
    json json '[w[t]["for"] + " " + w[t]["name"] for t in ("worker", "writer", "reader")] == ["mutex b", "mutex a", "read c"]'
    json json '"stuck+0x" in w["worker"]["where"]'
    json json 'd["circles"] == [{"circle": 1, "waits": [0, 1, 2]}]'
    # Each holder leads to the wait of the thread that it is.
    json json 'all((h["node"], h["tid"]) == [(y["node"], y["tid"]) for y in d["waits"] if y["wait"] == h["wait"]][0]
                   for x in d["waits"] for h in x["holders"])'
}

dot_draws_threads_objects_and_circles() {
    circle_of_three
    "$STUCK" late 1 late:lock=a &
    wait_for worker reader writer late
    "${ferry[@]}" why --dot >out
    [ "$(head -n 1 out)" = "digraph \"$FERRY_SPACE\" {" ]
    [ "$(tail -n 1 out)" = '}' ]
    [ "$(grep -Ec '^  t[0-9]+ \[shape=box, label="(bank|audit|late)\[[0-9/]+ [a-z]+\]"\];$' out)" = 4 ]
    [ "$(grep -Ec '^  o[0-9]+ \[shape=ellipse, label="(mutex|rwlock) \\"[abc]\\""\];$' out)" = 3 ]
    [ "$(grep -Ec '^  t[0-9]+ -> o[0-9]+ \[label="waits( to read)?, [0-9.]+ m?s", color=red\];$' out)" = 3 ]
    [ "$(grep -Ec '^  o[0-9]+ -> t[0-9]+ \[label="held by", color=red\];$' out)" = 3 ]
    [ "$(grep -c 'color=red' out)" = 6 ]
    [ "$(grep -c -- ' -> ' out)" = 7 ]
}

dot_quotes_names_and_no_name_is_obeyed_by_a_terminal() {
    local escape=$'\033'
    "$STUCK" 'the "big"\bank' 2 one:lock=a,meet "${escape}[31m:meet,lock=a" &
    until_true has_red_name
    "${ferry[@]}" why >out
    lacks "$escape" out
    has 'the "big"\bank[' out
    has ' ?[31m] waits for mutex "a"' out
    "${ferry[@]}" why --dot >out
    has 'label="the \"big\"\\bank[' out
    lacks "$escape" out
}

has_red_name() {
    "${ferry[@]}" why --json | grep -F '\u001b[31m","for":"mutex"'
}

circles_are_red_on_a_terminal_only() {
    local red=$'\033[31m'
    circle_of_three
    export FERRY
    # shellcheck disable=SC2016
    NO_COLOR='' SHELL=/bin/bash timeout -k 2 60 script -qec '"$FERRY" why' shown </dev/null >/dev/null
    has "${red}circle 1" shown
    has "${red}◀ circle 1" shown
    # shellcheck disable=SC2016
    NO_COLOR=1 SHELL=/bin/bash timeout -k 2 60 script -qec '"$FERRY" why' shown </dev/null >/dev/null
    has "circle 1" shown
    lacks "$red" shown
    "${ferry[@]}" why >out
    lacks "$red" out
}

looking_leaves_no_trace() {
    local directory=$FERRY_DIR/$FERRY_SPACE
    circle_of_three
    stat -c %z "$directory" >before
    ls -A "$directory" >>before
    "${ferry[@]}" why >/dev/null
    "${ferry[@]}" why --json >/dev/null
    stat -c %z "$directory" >after
    ls -A "$directory" >>after
    same before after
}

a_process_of_another_pid_namespace_says_who_it_is_there() {
    apart=(unshare --user --map-root-user --pid --fork --kill-child --mount-proc)
    "${apart[@]}" true 2>/dev/null || {
        echo '# no PID namespaces are to be had here: not tried' >&2
        return
    }
    "$STUCK" bank 2 holder:lock=a,meet &
    one=$!
    "${apart[@]}" "$STUCK" audit 2 waiter:meet,lock=a &
    two=$!
    wait_for waiter
    here=$(stat -Lc %i /proc/self/ns/pid)
    "${ferry[@]}" why >out
    grep -E '^audit\[[0-9]+ = 1/[0-9]+ waiter in PID namespace [0-9]+\] waits for mutex "a"' out
    grep -E "held by bank\[$one/[0-9]+\], which runs" out
    lacks "namespace $here" out
    "${apart[@]}" "${ferry[@]}" why >out
    grep -E '^audit\[1/[0-9]+ waiter in PID namespace [0-9]+\] waits for mutex "a"' out || fail "$(cat out)"
    grep -E "held by bank\[$one/[0-9]+ in PID namespace $here\], which runs" out
    "${apart[@]}" "${ferry[@]}" why --json >out
    json out "{(n['name'], n['pid'], n['own_pid']) for n in d['nodes']} == {('bank', 0, $one), ('audit', 0, 1)}"
    json out "[n['pid_namespace'] for n in d['nodes'] if n['name'] == 'bank'] == [$here]"
    "${apart[@]}" "${ferry[@]}" ls >out
    grep -E "^ *bank +$one@$here " out || fail "$(cat out)"
    killed $two # unshare takes no notice of other signals
}

a_wrong_line_is_told() {
    status_of 2 "${ferry[@]}" why a b 2>said
    has "but 'b' was given too" said
    status_of 2 "${ferry[@]}" why --json --dot 2>said
    has 'two forms of output: give one of them' said
}

test_that "it says when nothing is open" it_says_when_nothing_is_open
test_that "it says when nobody waits" it_says_when_nobody_waits
test_that "a chain is drawn down to the one that runs" a_chain_is_drawn_down_to_the_one_that_runs
test_that "what a command under a lock does is not known" what_a_command_under_a_lock_does_is_not_known
test_that "a circle is marked, and ends the drawing" a_circle_is_marked_and_ends_the_drawing
test_that "a circle through two spaces is drawn" a_circle_through_two_spaces_is_drawn
test_that "--check tells of a circle by its status" check_tells_of_a_circle_by_its_status
test_that "what hangs on a circle is drawn above it" what_hangs_on_a_circle_is_drawn_above_it
test_that "what stands elsewhere is pointed at" what_stands_elsewhere_is_pointed_at
test_that "a unit needs any of its holders" a_unit_needs_any_of_its_holders
test_that "a thread with two units is drawn once" a_thread_with_two_units_is_drawn_once
test_that "a writer needs all readers" a_writer_needs_all_readers
test_that "a process that waits for its child is part of circles" a_process_that_waits_for_its_child_is_part_of_circles
test_that "room, barriers and events are named" room_barriers_and_events_are_named
test_that "only trees are shown that were asked for" only_trees_are_shown_that_were_asked_for
test_that "a service has its name where room for calls is waited for" a_service_has_its_name_where_room_for_calls_is_waited_for
test_that "who is not known is told" who_is_not_known_is_told
test_that "a number is a name where no process has it" a_number_is_a_name_where_no_process_has_it
test_that "a stopped process is named" a_stopped_process_is_named
test_that "--json has nodes, waits and circles" json_has_nodes_waits_and_circles
test_that "--dot draws threads, objects and circles" dot_draws_threads_objects_and_circles
test_that "--dot quotes names, and no name is obeyed by a terminal" dot_quotes_names_and_no_name_is_obeyed_by_a_terminal
test_that "circles are red on a terminal only" circles_are_red_on_a_terminal_only
test_that "looking leaves no trace" looking_leaves_no_trace
test_that "a process of another PID namespace says who it is there" a_process_of_another_pid_namespace_says_who_it_is_there
test_that "a wrong line is told" a_wrong_line_is_told
all_done
