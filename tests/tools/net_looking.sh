#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# `ferry ls`, `ferry why` and `ferry doctor` in a space that spans machines. What is stuck is made by stuck.c.
# shellcheck disable=SC2031
# shellcheck source=harness
. "$(dirname "$0")/harness"
# shellcheck source=engine-lib.sh
. "$here/engine-lib.sh"
: "${STUCK:?set STUCK to the program made of stuck.c}"
STUCK=$(realpath "$STUCK")
export FERRY
PATH=$PATH:/usr/sbin
unset FERRY_USER FERRY_PASSWORD FERRY_TOKEN FERRY_CREDENTIALS

# One server for all, each with a space of its own.
engine_start "$work/engine" || exit 125
disown "$ENGINE_PID" # no test's job
engine=$ENGINE_PID
trap 'kill -TERM "$engine"; remove_work' EXIT

# begin [alone]: this test's space there, or at a server of its own
begin() {
    [ -z "${1:-}" ] || engine_start "$PWD/engine"
    name=$FERRY_SPACE
    export FERRY_SPACE=$ENGINE_URL/$name
    mkdir -p -m 0700 "$PWD/there"
    there=(env "FERRY_DIR=$PWD/there") # the far machine: a directory of its own
}

# says EXPRESSION: whether it holds about `s`, the space as `ferry ls --json` shows it from here
says() {
    "${ferry[@]}" ls --no-rate --json >json
    about json "$1"
}

# about FILE EXPRESSION: n: nodes by name, h: by id; l: links by the names of both sides
about() {
    python3 -c '
import json, sys
s = json.load(open(sys.argv[1]))["spaces"][0]
n = {x["name"]: x for x in s["nodes"]}
h = {x["id"]: x for x in s["nodes"]}
l = {(h[x["node"]]["name"], x["name"]): x for x in s["links"]}
sys.exit(0 if eval("(" + sys.argv[2] + ")") else json.dumps(s, indent=1))' "$@"
}

# waits EXPRESSION: the same about w, waits as `ferry why --json` shows them, by the names of their threads, and the node of
# a holder, of(HOLDER)
waits() {
    "${ferry[@]}" why --json >why
    python3 -c '
import json, sys
d = json.load(open("why"))
h = {x["id"]: x for x in d["nodes"]}
w = {x["thread"]: x for x in d["waits"]}
def of(holder): return h[holder["node"]]
sys.exit(0 if eval("(" + sys.argv[1] + ")") else json.dumps(d, indent=1))' "$1"
}

ls_shows_all_machines_and_their_links() {
    begin
    "${there[@]}" "$FERRY" recv --idle 60s x >got &
    until_true says 'any(e["role"] == "receiver" for e in s["ends"])'
    (echo one && sleep 60) | "$FERRY" send --linger 0s x &
    until_true says 'l["ferry-send", "ferry-recv"]["messages_sent"] == 1 and
        l["ferry-recv", "ferry-send"]["messages_received"] == 1 and l["ferry-send", "ferry-recv"]["unreleased"] == 0 and
        all(x["round_trip_ns"] > 0 for x in l.values()) and
        [(e["role"], e["messages"], e["type"]) for e in sorted(s["ends"], key=lambda e: e["role"])] ==
        [("receiver", 1, ""), ("sender", 1, "")]'
    about json '"host" in n["ferry-recv"] and "host" not in n["ferry-send"] and n["ferry-recv"]["round_trip_ns"] > 0'
    about json 'all(x["resent"] == 0 and x["silent_ns"] == 0 for x in l.values())'
    about json 'l["ferry-send", "ferry-recv"]["bytes_sent"] == l["ferry-recv", "ferry-send"]["bytes_received"] > 3'
    about json 'len(s["connections"]) == len(s["nodes"]) + 1 and all(c["connected"] and not c["exposed"] for c in s["connections"])'
    about json "all(c['url'] == '$ENGINE_URL' and c['lost'] == 0 for c in s['connections'])"
    "${ferry[@]}" ls >out
    grep -Eq '^  ferry-recv +[0-9]+@[^ ]+ +- +' out
    grep -Eq '^  x +queue +receiver +- +[0-9]+@[^ ]+ +1 ' out
    grep -Eq '^  ferry-send +ferry-recv@[^ ]+ +[0-9.]+ .?s +' out
    grep -Eq "^  ferry-recv@[^ ]+ +$ENGINE_URL +local +connected" out
    "${ferry[@]}" ls --json >json
    about json '"bytes_sent_per_s" in l["ferry-send", "ferry-recv"]'
}

ls_shows_objects_of_all_machines_and_what_the_server_keeps() {
    begin
    "${ferry[@]}" cell put --count 2 limit 100
    "${there[@]}" "$STUCK" far 0 t:lock=ledger &
    "$STUCK" near 0 t:unit=pool &
    until_true says '{(o["name"], o["kind"], h[o["node"]]["name"] if int(o["node"], 16) else "", o["count"], o["holding"])
        for o in s["objects"]} == {("limit", "cell", "", 2, 0), ("ledger", "mutex", "far", 0, 1),
        ("pool", "semaphore", "near", 2, 1)}'
    "${ferry[@]}" ls >out
    grep -Eq '^  limit +cell +- +server +2 ' out
}

ls_counts_lost_connections() {
    begin alone
    "${there[@]}" "$STUCK" far 0 t:hold=q &
    "$STUCK" near 0 t:hold=r &
    until_true says '"far" in n and "near" in n'
    engine_kill_server
    engine_restart
    until_true says 'sorted(c["lost"] for c in s["connections"]) == [0, 1, 1] and all(c["connected"] for c in s["connections"])'
}

why_shows_who_holds_a_lock_elsewhere() {
    begin
    "${there[@]}" "$STUCK" far 2 holder:lock=ledger,meet &
    "$STUCK" near 2 waiter:meet,lock=ledger &
    until_true waits 'len(w) == 1 and w["waiter"]["for"] == "mutex" and w["waiter"]["age_ns"] > 0 and
        [(of(x)["name"], x["token"] > 0, x["held_ns"] > 0, x["wait"]) for x in w["waiter"]["holders"]] ==
        [("far", True, True, -1)]'
    "${ferry[@]}" why >out
    grep -Eq "^└─ held by far@[^ ]+\[[0-9]+/[0-9]+\] by token [0-9]+ for [0-9.]+ m?s, which runs\$" out
    "${there[@]}" "${ferry[@]}" why >out
    grep -Eq '^near@[^ ]+\[[0-9]+/[0-9]+ waiter\] waits for mutex "ledger", ' out
}

why_marks_a_circle_between_machines() {
    begin
    "${there[@]}" "$STUCK" far 2 one:lock=a,meet,write=b &
    "$STUCK" near 2 two:write=b,meet,lock=a &
    until_true waits 'sorted(w) == ["one", "two"] and w["one"]["circle"] == w["two"]["circle"] == 1'
    status_of 1 "${ferry[@]}" why --check >out
    grep -Eq '^circle 1: ' out
    has 'these wait for each other for good' out
}

why_shows_who_makes_no_room_and_who_does_not_answer_elsewhere() {
    begin
    "${there[@]}" "$STUCK" far 0 reader:hold=full server:serve=bank/shop &
    "${there[@]}" "$STUCK" other 0 last:serve=shop &
    until_true says 'len(s["services"]) == 2'
    "$STUCK" near 0 filler:fill=full caller:call=bank &
    "${ferry[@]}" cell put news old
    "${ferry[@]}" cell wait --after 1 --timeout 60s news >/dev/null &
    until_true waits 'sorted(w) == ["caller", "ferry", "filler", "last", "server"] and w["ferry"]["for"] == "cell" and
        all(len(w[x]["holders"]) == 1 for x in ["caller", "filler", "server"]) and
        of(w["filler"]["holders"][0])["name"] == of(w["caller"]["holders"][0])["name"] == "far" and
        w["caller"]["holders"][0]["wait"] == w["server"]["wait"] and w["last"]["for"] == "event"'
    "${ferry[@]}" why >out
    grep -Eq '^└─ full at far@' out
    grep -Eq '^└─ served by far@.* server\], which waits for the answer to call "shop\.\*", ' out
    says 'l["near", "far"]["unreleased"] > 0'
}

nobody_is_named_where_the_server_has_no_room() {
    begin
    "${ferry[@]}" send --durable --capacity 1 jobs a b c d 2>/dev/null &
    until_true waits 'w["ferry"]["for"] == "room" and w["ferry"]["name"] == "jobs" and w["ferry"]["holders"] == []'
}

what_a_liar_tells_does_no_harm() {
    begin
    "$STUCK" near 0 one:lock=a two:lock=a three:hold=q four:fill=q &
    "${there[@]}" "$STUCK" far 0 five:hold=q six:lock=a &
    until_true waits 'len(w) >= 3'
    "$PYTHON" "$here/liar.py" "${ENGINE_URL##*:}" "$name" 1 >liar &
    until_true has ready liar
    says 'n["near"]["answered"] and n["far"]["answered"] and len(n) == 3'
    "${ferry[@]}" why --json >why
    python3 -m json.tool why >/dev/null
    "${ferry[@]}" ls >out
    "${ferry[@]}" why >>out
    ! grep -q $'\033' out || fail "somebody else's control characters"
}

doctor_looks_at_the_server() {
    begin alone
    "${ferry[@]}" doctor >out
    grep -Eq '^ok +server +nats-server [0-9.]+ answers' out
    grep -Eq '^ok +connection .* to the server and back, messages of up to 8.0 MiB, 0 other nodes' out
    grep -Eq '^ok +locks, cells +a lock was taken' out
    engine_kill_server
    status_of 1 "${ferry[@]}" doctor -q >out
    grep -Eq '^fail +server +no NATS server answers at 127' out
    has 'ferry engine' out
}

# raw CONFIG...: a nats-server as it comes, on a free port of all addresses
raw() {
    mkdir raw
    printf '%s\n' "$@" >raw/config
    nats-server -a 0.0.0.0 -p -1 --ports_file_dir "$PWD/raw" -c raw/config -l raw/log &
    until_true test -s "raw/nats-server_$!.ports"
    port=$(sed -E 's/.*"nats":\["nats:\/\/[^"]*:([0-9]+)".*/\1/' raw/*.ports)
}

doctor_tells_of_what_is_denied_and_missing() {
    raw 'authorization { users = [{user: u, password: secret, permissions: {publish: {deny: "ferry.test.n.>"}}}] }'
    export FERRY_SPACE=nats://127.0.0.1:$port/test
    status_of 1 "${ferry[@]}" doctor -q >out
    grep -Eq '^fail +joining .*refuses these credentials' out
    status_of 1 env FERRY_USER=u FERRY_PASSWORD=secret "${ferry[@]}" doctor -q >out
    grep -Eq '^fail +channels .*Permissions Violation' out
    grep -Eq '^fail +locks, cells .*JetStream' out
    ! grep secret out
}

a_plain_connection_to_another_machine_is_warned_of_once() {
    raw 'jetstream: disabled'
    export FERRY_SPACE=nats://0.0.0.0:$port/test # which is this machine, but not by its name
    "${ferry[@]}" pub x one 2>said
    [ "$(grep -c 'is not encrypted' said)" = 1 ]
    "${ferry[@]}" pub -q x one 2>said
    [ ! -s said ]
    "${ferry[@]}" pub --space "nats://127.0.0.1:$port/test" x one 2>said
    [ "$(grep -c 'is not encrypted' said)" = 0 ]
    "$STUCK" near 0 t:hold=q &
    until_true says 's["connections"][0]["exposed"]'
}

# Who is there for a moment only is not always met.
comes_and_is_seen_to_leave() {
    "${there[@]}" "$FERRY" pub y one 2>said
    sleep 0.2
    grep -Eq 'left .*ferry-pub \(process [0-9]+@.+\)' events
}

who_comes_and_goes_elsewhere_is_shown_as_it_happens() {
    begin
    "${there[@]}" "$FERRY" recv --follow x >none &
    until_true says 'any(e["role"] == "receiver" for e in s["ends"])'
    "${signalled[@]}" ls --follow >events &
    local follower=$!
    "${signalled[@]}" ls --follow --json >events.json &
    local other=$!
    until_true grep -Eq 'is here .*ferry-recv \(process [0-9]+@.+\)' events
    until_true grep -q ferry-recv events.json
    until_true comes_and_is_seen_to_leave
    kill -KILL "$(sed -nE 's/^is here .*ferry-recv \(process ([0-9]+)@.*/\1/p' events)"
    until_true grep -Eq 'died .*ferry-recv' events
    until_true grep -q died events.json
    kill -INT "$follower" "$other"
    ended 130 "$follower"
    ended 130 "$other"
    python3 - events.json <<'END'
import json, sys
events = [json.loads(line) for line in open(sys.argv[1])]
of = [(e["event"], e["was_there"], "host" in e, "uid" in e) for e in events if e["name"] == "ferry-recv"]
assert of == [("joined", True, True, False), ("died", False, True, False)], of
END
}

# sends_and_stays CHANNEL: on the far machine, one record that nobody receives; its process is $!
sends_and_stays() {
    (echo one && sleep 60) | "${there[@]}" "$FERRY" send --linger 0s "$1" 2>none &
}

# The server answers in no time, but the far program gets the processor when it does.
who_is_slow_to_answer_was_there_all_the_same() {
    begin
    "$STUCK" near 0 t:hold=x &
    "${there[@]}" "$FERRY" recv --follow x >none &
    local slow=$!
    until_true says '"near" in n and any(e["role"] == "receiver" and h[e["node"]]["name"] == "ferry-recv" for e in s["ends"])'
    kill -STOP "$slow"
    "${signalled[@]}" ls --follow >events &
    local follower=$!
    until_true grep -Eq 'is here .*near \(process [0-9]+\)' events
    kill -CONT "$slow"
    until_true grep -q 'ferry-recv' events
    grep -Eq '^is here .*ferry-recv \(process [0-9]+@.+\)' events
    "${there[@]}" "$STUCK" newcomer 0 t:hold=x &
    until_true grep -Eq '^joined .*newcomer \(process [0-9]+@.+\)' events
    kill -INT "$follower"
    ended 130 "$follower"
}

# Who is told to stop may go on for a moment, and answer: until all its threads stand still.
stop() { # PID
    kill -STOP "$1"
    while grep -qs '^State:[^(]*[^T[:space:]] (' "/proc/$1/task/"*/status; do sleep 0.01; done
}

# It has not answered who came, and so has no name.
a_space_is_not_empty_whose_only_program_is_stopped() {
    begin
    status_of 1 "${ferry[@]}" ls --no-rate 2>said
    has 'nobody is in the space' said
    "${there[@]}" "$FERRY" recv --follow x >none &
    local stopped=$!
    until_true says 'any(e["role"] == "receiver" for e in s["ends"])'
    stop "$stopped"
    status_of 1 "${ferry[@]}" ls --no-rate 2>said
    has 'somebody listens in the space' said
    "${ferry[@]}" why 2>said
    has 'somebody listens in the space' said
}

who_is_stopped_is_shown_if_others_know_it() {
    begin
    "$STUCK" near 0 t:hold=x &
    "${there[@]}" "$FERRY" recv --follow x >none &
    local stopped=$!
    until_true says '("near", "ferry-recv") in l and n["ferry-recv"]["answered"]'
    stop "$stopped"
    says 'not n["ferry-recv"]["answered"] and n["ferry-recv"]["host"] != "" and n["near"]["answered"]'
    kill -KILL "$stopped"
    says '"ferry-recv" not in n'
}

who_receives_may_come_before_the_first_durable_record() {
    begin
    "${there[@]}" "${ferry[@]}" recv --durable --count 1 x >got &
    local receiver=$!
    "${there[@]}" "${ferry[@]}" work --durable --count 1 --output "$PWD/done" y -- cat &
    local worker=$!
    until_true says '[e["channel"] for e in s["ends"] if e["role"] == "receiver"].count("x") == 1 and
        "y" in [e["channel"] for e in s["ends"]]'
    "${ferry[@]}" send --durable x one
    "${ferry[@]}" send --durable y two
    wait "$receiver"
    wait "$worker"
    echo one | same - got
    [ "$(cat done)" = two ]
}

what_waits_elsewhere_is_purged() {
    begin
    sends_and_stays x
    until_true says 'any(e["role"] == "sender" and e["depth"] == 1 for e in s["ends"])'
    local id
    id=$(python3 -c 'import json; print([x["id"] for x in json.load(open("json"))["spaces"][0]["nodes"]][0])')
    "${ferry[@]}" purge --sender "$id" x >out
    grep -Eq '^1 message of ferry-send \(process [0-9]+@.+\)$' out
    says 's["ends"][0]["depth"] == 0'
    "${ferry[@]}" purge --json x >out
    python3 -c 'import json; d = json.load(open("out")); e, = d["senders"]; assert e["messages"] == 0 and "host" in e and "uid" not in e, d'
    status_of 1 "${ferry[@]}" purge y 2>said
    has 'no sender has' said
}

who_is_elsewhere_is_neither_expelled_nor_tapped_from_here() {
    begin
    sends_and_stays x
    until_true says 'any(e["role"] == "sender" for e in s["ends"])'
    local id
    id=$(python3 -c 'import json; print([x["id"] for x in json.load(open("json"))["spaces"][0]["nodes"]][0])')
    status_of 125 "${ferry[@]}" kick "$id" 2>said
    has "run \`ferry kick $id\` there" said
    status_of 1 "${ferry[@]}" tap x 2>said
    has 'run it there' said
}

test_that "ls shows all machines and their links" ls_shows_all_machines_and_their_links
test_that "ls shows objects of all machines, and what the server keeps" ls_shows_objects_of_all_machines_and_what_the_server_keeps
test_that "ls counts lost connections" ls_counts_lost_connections
test_that "why shows who holds a lock elsewhere" why_shows_who_holds_a_lock_elsewhere
test_that "why marks a circle between machines" why_marks_a_circle_between_machines
test_that "why shows who makes no room, and who does not answer, elsewhere" why_shows_who_makes_no_room_and_who_does_not_answer_elsewhere
test_that "nobody is named where the server has no room" nobody_is_named_where_the_server_has_no_room
test_that "what a liar tells does no harm" what_a_liar_tells_does_no_harm
test_that "doctor looks at the server" doctor_looks_at_the_server
test_that "doctor tells of what is denied and missing" doctor_tells_of_what_is_denied_and_missing
test_that "a plain connection to another machine is warned of, once" a_plain_connection_to_another_machine_is_warned_of_once
test_that "who comes and goes elsewhere is shown as it happens" who_comes_and_goes_elsewhere_is_shown_as_it_happens
test_that "who is slow to answer was there all the same" who_is_slow_to_answer_was_there_all_the_same
test_that "a space is not empty whose only program is stopped" a_space_is_not_empty_whose_only_program_is_stopped
test_that "who is stopped is shown if others know it" who_is_stopped_is_shown_if_others_know_it
test_that "who receives may come before the first durable record" who_receives_may_come_before_the_first_durable_record
test_that "what waits elsewhere is purged" what_waits_elsewhere_is_purged
test_that "who is elsewhere is neither expelled nor tapped from here" who_is_elsewhere_is_neither_expelled_nor_tapped_from_here
all_done
