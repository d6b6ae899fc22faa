#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# `ferry ls` and `ferry doctor`.
# shellcheck source=harness
. "$(dirname "$0")/harness"


ls_says_when_nothing_is_open() {
    status_of 1 "${ferry[@]}" ls >out 2>said
    [ ! -s out ]
    has 'nothing is open' said
    status_of 1 "${ferry[@]}" ls --json >out
    json out 'd["spaces"] == []'
}

ls_tells_a_directory_that_no_space_may_be_in_from_an_empty_one() {
    unset FERRY_SPACE # all spaces are asked for
    mkdir open real
    chmod 0777 open
    ln -s real link
    status_of 125 "$FERRY" --directory "$PWD/open" ls 2>said
    has 'others can replace what is in' said
    status_of 125 "$FERRY" --directory "$PWD/link" ls 2>said
    has 'is a symbolic link' said
    status_of 125 "$FERRY" --directory "$FERRY" ls 2>said
    has 'is not a directory' said
    status_of 1 "$FERRY" --directory "$PWD/real" ls 2>said
    has 'nothing is open' said
}

ls_shows_ends_nodes_and_figures() {
    "${ferry[@]}" send --type word x a b c &
    until_true shows depth 3 x
    "${ferry[@]}" ls >out
    # shellcheck disable=SC2031
    has "Space $FERRY_SPACE" out
    grep -Eq '^  ferry-send +[0-9]+ +[^ ]+ +[0-9]+$' out
    grep -Eq '^  x +queue +sender +word +[0-9]+ +3 +0/s +3 ' out
    "${ferry[@]}" ls --json >json
    json json 'len(d["spaces"]) == 1'
    json json 'd["spaces"][0]["nodes"][0]["name"] == "ferry-send" and d["spaces"][0]["nodes"][0]["answered"]'
    json json '[(e["channel"], e["kind"], e["role"], e["messages"], e["bytes"], e["depth"], e["messages_per_s"])
               for e in d["spaces"][0]["ends"]] == [("x", "queue", "sender", 3, 3, 3, 0)]'
    "${ferry[@]}" ls --no-rate --json >json
    json json '"messages_per_s" not in d["spaces"][0]["ends"][0]'
    "${ferry[@]}" recv x >out
    ended 0 $!
}

both_have_rates() {
    "${ferry[@]}" ls --json x >json
    json json 'sum(e["messages_per_s"] > 1000 for e in d["spaces"][0]["ends"]) == 2'
}

ls_shows_rates() {
    yes | "${signalled[@]}" send --linger 0s x 2>/dev/null &
    "$FERRY" recv x >/dev/null &
    open_ends receiver x 1
    open_ends sender x 1
    until_true both_have_rates
    kill -TERM %2
    kill -TERM %1 2>/dev/null || true
    wait || true
}

ls_shows_only_what_was_asked_for() {
    "${signalled[@]}" recv --idle 120s cam1 &
    "${signalled[@]}" recv --idle 120s cam2 &
    "${signalled[@]}" recv --idle 120s mic &
    open_ends receiver '*' 3
    "${ferry[@]}" ls --no-rate --json 'cam*' >json
    json json 'sorted(e["channel"] for e in d["spaces"][0]["ends"]) == ["cam1", "cam2"] and len(d["spaces"][0]["nodes"]) == 2'
    "${ferry[@]}" ls --no-rate --json mic >json
    json json 'len(d["spaces"][0]["ends"]) == 1'
    status_of 1 "${ferry[@]}" ls nothing 2>said
    has "nothing called 'nothing' is open" said
    kill -TERM %1 %2 %3
    wait || true
}

ls_shows_all_spaces_or_the_one_named() {
    "${signalled[@]}" --space here-$$ recv --idle 120s x &
    "${signalled[@]}" --space there-$$ recv --idle 120s x &
    until_true env FERRY_SPACE= "$FERRY" ls --no-rate --space "here-$$"
    until_true env FERRY_SPACE= "$FERRY" ls --no-rate --space "there-$$"
    env -u FERRY_SPACE "$FERRY" ls --no-rate --json >json
    json json "[s['name'] for s in d['spaces']] == ['here-$$', 'there-$$']"
    "${ferry[@]}" ls --all --no-rate --json >json
    json json 'len(d["spaces"]) == 2'
    "${ferry[@]}" --space "there-$$" ls --no-rate --json >json
    json json "[s['name'] for s in d['spaces']] == ['there-$$']"
    kill -TERM %1 %2
    wait || true
}

ls_says_once_that_no_server_answers() {
    status_of 125 env FERRY_SPACE=nats://127.0.0.1:1/x "${ferry[@]}" ls --no-rate 2>said
    lines 1 said
}

ls_shows_a_stopped_node_as_one_that_does_not_answer() {
    "$FERRY" recv --idle 20s x &
    local receiver=$!
    open_ends receiver x 1
    stop "$receiver"
    "${ferry[@]}" ls --no-rate >out
    kill -CONT "$receiver"
    kill -TERM "$receiver"
    wait "$receiver" || true
    has 'does not answer' out
    grep -Eq "^  x +queue +receiver .* $receiver .*\?" out # its name in the directory says so much
}

ls_and_why_show_a_node_that_has_no_descriptors_left() {
    "$FERRY" recv x >received &
    local receiver=$!
    open_ends receiver x 1
    prlimit --pid "$receiver" --nofile=3:
    "${ferry[@]}" ls --no-rate >out
    "${ferry[@]}" ls --no-rate --json >json
    "${ferry[@]}" why >said
    prlimit --pid "$receiver" --nofile=256:
    kill -TERM "$receiver"
    wait "$receiver" || true
    grep -Eq " $receiver .* does not answer: too few descriptors left; see its ulimit -n$" out
    json json 'd["spaces"][0]["nodes"][0]["starved"] and not d["spaces"][0]["nodes"][0]["answered"]'
    has "process $receiver does not answer (too few descriptors left; see its ulimit -n)" said
}

# A node with a sender and a receiver on "lines", and with a client and a server of "text", that says to everybody that it is of another version, and hangs up.
another_version() {
    exec python3 -c '
import os, socket, sys
os.makedirs(sys.argv[1], mode=0o700)
os.chdir(sys.argv[1])
node = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
node.bind("n-0000000000000abc")
node.listen(8)
for name in "lines", "+text":
    for end in "sq:0000000000000abc:2", "rq:0000000000000abc:1":
        open("e-" + name + ":" + end + ":00000000", "w").write("ferry-entry 1\n")
while True:
    who = node.accept()[0]
    if who.recv(4096): # who only looks whether it lives says nothing
        who.send(b"rie2" + bytes(500))
    who.close()
' "$FERRY_DIR/$FERRY_SPACE"
}

# It is there, as process $stranger.
begin_another_version() {
    another_version &
    stranger=$!
    until_true test -e "$FERRY_DIR/$FERRY_SPACE/e-+text:rq:0000000000000abc:1:00000000"
}

end_another_version() {
    killed "$stranger"
    until_true swept
}

ls_why_and_who_waits_name_another_version() {
    local stranger
    begin_another_version
    "${ferry[@]}" ls >out
    grep -Eq " $stranger .* another version of Ferry$" out
    "${ferry[@]}" ls --json >out
    json out '[n["other_version"] for n in d["spaces"][0]["nodes"]] == [True]'
    "${ferry[@]}" why >out
    has "process $stranger does not answer (another version of Ferry)" out
    status_of 124 "${ferry[@]}" send --timeout 100ms lines word 2>said
    has "process $stranger speaks version 2 of the protocol between processes" said
    [ "$(grep -c 'another version' said)" = 1 ]
    status_of 124 "${ferry[@]}" recv --timeout 100ms lines 2>said
    has "process $stranger speaks version 2" said
    end_another_version
}

who_calls_serves_and_works_names_another_version() {
    local stranger word
    begin_another_version
    status_of 75 "${ferry[@]}" call --wait 100ms text Upper word 2>said.call
    timeout -s INT 0.3 "${signalled[@]}" serve text Upper -- cat 2>said.serve || true
    timeout -s INT 0.3 "${signalled[@]}" work lines -- cat 2>said.work || true
    for word in call serve work; do
        has "process $stranger speaks version 2 of the protocol between processes" said.$word
        [ "$(grep -c 'another version' said.$word)" = 1 ]
    done
    end_another_version
}

purge_doctor_and_kick_name_another_version() {
    local stranger
    begin_another_version
    status_of 1 "${ferry[@]}" purge lines 2>said
    has "process $stranger does not answer (another version of Ferry), so nothing that it sends was dropped" said
    "${ferry[@]}" doctor -q >out
    grep -Eq "^warn +versions +process $stranger in the space $FERRY_SPACE: another version of Ferry$" out
    "${ferry[@]}" kick "$stranger" >out 2>said
    has "process $stranger does not answer (another version of Ferry): whether it learns it is not known" said
    end_another_version
}

who_purges_names_a_node_that_has_no_descriptors_left() {
    "$FERRY" send x word &
    local sender=$!
    open_ends sender x 1
    prlimit --pid "$sender" --nofile=3:
    status_of 1 "${ferry[@]}" purge x 2>said
    has "process $sender does not answer (too few descriptors left; see its ulimit -n)" said
    killed "$sender"
}

a_killed_node_is_no_longer_shown() {
    "$FERRY" recv x &
    local receiver=$!
    open_ends receiver x 1
    kill -KILL "$receiver"
    wait "$receiver" || true
    status_of 1 "${ferry[@]}" ls
}

doctor_finds_this_machine_fit() {
    "${ferry[@]}" doctor >out
    has 'a space opened, a message sent and received' out
    ! grep -vE '^(ok  |warn|fail|     +->) ' out || fail "a line of another form"
    "${ferry[@]}" doctor --json >json
    json json 'd["fail"] == 0 and d["ok"] + d["warn"] == len(d["checks"]) and all(c["found"] for c in d["checks"])'
}

doctor_leaves_nothing_behind() {
    "${ferry[@]}" doctor >out
    find "$FERRY_DIR" -mindepth 1 >left
    [ ! -s left ] || { cat left; return 1; }
}

doctor_counts_and_removes_what_the_dead_left() {
    "$FERRY" recv x &
    local receiver=$!
    open_ends receiver x 1
    kill -KILL "$receiver"
    wait "$receiver" || true
    "${ferry[@]}" doctor >out
    grep -Eq 'leftovers +[1-9][0-9]* names? of dead processes, now removed' out
    "${ferry[@]}" doctor >out
    grep -Eq 'leftovers +none in' out
}

doctor_fails_where_others_may_write() {
    mkdir open
    chmod 0777 open
    status_of 1 "${ferry[@]}" --directory "$PWD/open" doctor >out
    grep -Eq '^fail +directory' out
    grep -Eq '^fail +a message' out
    has 'chmod go-w' out
}

doctor_fails_where_the_directory_is_a_link() {
    mkdir real
    ln -s real link
    status_of 1 "${ferry[@]}" --directory "$PWD/link" doctor >out
    has 'is a symbolic link' out
}

doctor_fails_with_too_few_descriptors() {
    # shellcheck disable=SC2016
    status_of 1 bash -c 'ulimit -n 64; exec "$0" doctor' "$FERRY" >out
    grep -Eq '^fail +descriptors' out
    has 'ulimit -n' out
}

quiet_doctor_shows_only_what_is_not_ok() {
    "${ferry[@]}" doctor -q >out
    ! grep '^ok' out
}

test_that "ls says when nothing is open" ls_says_when_nothing_is_open
test_that "ls tells a directory that no space may be in from an empty one" \
    ls_tells_a_directory_that_no_space_may_be_in_from_an_empty_one
test_that "ls shows ends, nodes and figures" ls_shows_ends_nodes_and_figures
test_that "ls shows rates" ls_shows_rates
test_that "ls shows only what was asked for" ls_shows_only_what_was_asked_for
test_that "ls shows all spaces, or the one named" ls_shows_all_spaces_or_the_one_named
test_that "ls and why show a node that has no descriptors left" ls_and_why_show_a_node_that_has_no_descriptors_left
test_that "ls says once that no server answers" ls_says_once_that_no_server_answers
test_that "ls shows a stopped node as one that does not answer" ls_shows_a_stopped_node_as_one_that_does_not_answer
test_that "ls, why and who waits name another version" ls_why_and_who_waits_name_another_version
test_that "who calls, serves and works names another version" who_calls_serves_and_works_names_another_version
test_that "purge, doctor and kick name another version" purge_doctor_and_kick_name_another_version
test_that "who purges names a node that has no descriptors left" who_purges_names_a_node_that_has_no_descriptors_left
test_that "a killed node is no longer shown" a_killed_node_is_no_longer_shown
test_that "doctor finds this machine fit" doctor_finds_this_machine_fit
test_that "doctor leaves nothing behind" doctor_leaves_nothing_behind
test_that "doctor counts and removes what the dead left" doctor_counts_and_removes_what_the_dead_left
test_that "doctor fails where others may write" doctor_fails_where_others_may_write
test_that "doctor fails where the directory is a link" doctor_fails_where_the_directory_is_a_link
test_that "doctor fails with too few descriptors" doctor_fails_with_too_few_descriptors
test_that "a quiet doctor shows only what is not ok" quiet_doctor_shows_only_what_is_not_ok
all_done
