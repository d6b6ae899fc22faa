#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# `ferry call` and `ferry serve`: what comes back, how calls end when something goes wrong, and what others see of them.
# STUCK is the program made of stuck.c.
# What the tests let a server run leaves its process id in a file, and never lives for more than twenty seconds.
# shellcheck disable=SC2016,SC2031
# shellcheck source=harness
. "$(dirname "$0")/harness"
: "${STUCK:?set STUCK to the program made of stuck.c}"
STUCK=$(realpath "$STUCK")
export FERRY

# serve SERVICE METHOD OPTION... -- COMMAND...: in the background, as $server; returns when it serves
serve() {
    "${signalled[@]}" serve "$@" 2>>serving &
    server=$!
    until_true serves "$1" "$server"
}

# serves SERVICE PID: whether a thread of that process serves it
serves() {
    "$FERRY" ls --no-rate --json "$1" >seen && json seen \
        "any(n['pid'] == $2 and s['node'] == n['id'] and s['role'] == 'server' for p in d['spaces'] for n in p['nodes'] for s in p['services'])"
}
# figure FIELD VALUE SERVICE: whether any of its servers or clients has it
figure() {
    "$FERRY" ls --no-rate --json "$3" | grep -q "\"$1\":$2,"
}

# A command that notes that it runs, by its process id in the file `running`, and then runs until `go` is there.
announce='echo $$ >running.$$; mv running.$$ running;'
wait_to_go='n=0; until [ -e go ] || [ $((n += 1)) -gt 400 ]; do sleep 0.05; done;'
until_go="$announce $wait_to_go"

# started: waits until such a command runs; its process id is $command
started() {
    until_true test -s running
    command=$(cat running)
}

# gone PID: whether there is no such process
gone() {
    ! kill -0 "$1" 2>/dev/null
}

# --- what can be called --------------------------------------------------------------------------------------------

methods_are_listed() {
    serve text Upper --idempotent --comment 'all in capitals' -- tr a-z A-Z
    "${ferry[@]}" call text >out
    grep -Eqx 'METHOD +INPUT +OUTPUT +IDEMPOTENT +COMMENT' out
    grep -Eqx 'Upper +bytes +bytes +yes +all in capitals' out
    "${ferry[@]}" call --json text >json
    json json 'd["service"] == "text" and d["methods"] == [{"name": "Upper", "idempotent": True, "streams": False, "comment": "all in capitals"}]'
    serve log Follow --stream -- cat
    "${ferry[@]}" call log >out
    grep -Eqx 'Follow +bytes +stream of bytes +no' out
}

one_that_only_another_server_has_is_told() {
    serve text Upper -- tr a-z A-Z
    serve text Lower -- tr A-Z a-z
    for ((i = 0; i < 200; i++)); do
        "${ferry[@]}" call text Lower x >out 2>said || ! grep -q another said || break
    done
    has 'one server of "text" has no method "Lower", though another one has it' said
}

a_wrong_method_is_told() {
    serve text Upper -- tr a-z A-Z
    status_of 125 "${ferry[@]}" call text Uper x >out 2>said
    [ ! -s out ]
    has 'the service "text" has no method "Uper"; did you mean "Upper"?' said
    status_of 125 "${ferry[@]}" call --raw text fly x 2>said
    has 'has no method "fly"; `ferry call text` lists those it has' said
}

a_server_that_is_stopped_is_told_of() {
    "$FERRY" serve -q text Upper -- cat &
    local server=$!
    until_true "${ferry[@]}" call text Upper x
    stop "$server"
    status_of 75 "${ferry[@]}" call text Upper x 2>said
    has 'nobody serves "text"' said
    has "process $server does not answer (stopped?), and may serve it" said
    killed "$server"
    until_true swept
}

nobody_there_is_told_and_can_be_waited_for() {
    status_of 75 "${ferry[@]}" call text Upper x 2>said
    has 'nobody serves "text"' said
    has '--wait' said
    status_of 75 "${ferry[@]}" call text 2>said
    has 'nobody serves "text"' said
    status_of 75 "${ferry[@]}" call --wait 300ms text Upper x 2>said
    has 'nobody serves "text" in space' said
    has 'also after 300.0 ms' said
    "${ferry[@]}" call --wait 20s text Upper hello >out &
    local caller=$!
    until_true figure role '"client"' text
    serve text Upper -- tr a-z A-Z
    ended 0 "$caller"
    [ "$(cat out)" = HELLO ]
}

# --- arguments and results -----------------------------------------------------------------------------------------

any_bytes_go_in_and_come_out() {
    serve echo Echo -- cat
    printf 'a\0b\n\377' >in
    "${ferry[@]}" call echo Echo - <in >out
    same in out
    [ "$("${ferry[@]}" call echo Echo 'some words')" = 'some words' ]
    "${ferry[@]}" call echo Echo word >out
    printf word >expected
    same expected out
    "${ferry[@]}" call echo Echo >out </dev/zero
    [ ! -s out ]
    [ "$("${ferry[@]}" call echo Echo -- --raw)" = --raw ]
    "${ferry[@]}" call -0 echo Echo word >out
    printf 'word\0' >expected
    same expected out
}

sixty_four_mebibytes_go_in_and_come_out() {
    serve echo Echo -j 1 -- cat
    head -c $((64 << 20)) /dev/urandom >in
    "${ferry[@]}" call echo Echo - <in >out
    same in out
    serve length Of -j 1 -- wc -c
    [ "$("${ferry[@]}" call length Of - < <(cat in))" = $((64 << 20)) ]
    serve true Ignores -j 1 -- true
    "${ferry[@]}" call true Ignores - <in >out
    [ ! -s out ]
}

a_terminal_gets_a_newline() {
    serve echo Echo -- cat
    SHELL=/bin/bash timeout -k 2 60 script -qec '"$FERRY" call echo Echo word; echo next' shown >/dev/null </dev/null
    tr -d '\r' <shown | grep -qx word
    tr -d '\r' <shown | grep -qx next
}

a_command_knows_of_the_call() {
    serve env Show -- sh -c 'echo "$FERRY_METHOD $FERRY_CLIENT $FERRY_DEADLINE_NS"'
    FERRY_METHOD=outer "${ferry[@]}" call --timeout 40s env Show >out
    grep -Eqx 'Show [0-9a-f]{16}\.[0-9]+ 3[0-9]{10}' out || fail "$(cat out)"
    "${ferry[@]}" call --timeout forever env Show >out
    grep -Eqx 'Show [0-9a-f]{16}\.[0-9]+ ' out || fail "$(cat out)"
}

a_command_has_nothing_of_the_server() {
    serve fds Show -- sh -c 'ls -l /proc/self/fd; grep SigBlk /proc/self/status; grep SigIgn /proc/self/status'
    "${ferry[@]}" call fds Show >out
    [ "$(grep -c ' [012] -> pipe:' out)" = 3 ] || fail "$(cat out)"
    if grep -E 'socket:|memfd:|anon_inode:|spaces' out; then fail 'a descriptor was inherited'; fi
    grep -Eqx 'SigBlk:\s+0+' out || fail "$(cat out)"
    # SIGPIPE is the 13th: a command must not be the one that ignores it
    [ $((0x$(sed -n 's/SigIgn:[^0-9a-f]*//p' out) & 0x1000)) = 0 ] || fail "$(cat out)"
}

# --- errors --------------------------------------------------------------------------------------------------------

a_command_that_fails_is_an_error_of_the_procedure() {
    serve fail Fail -- sh -c 'cat >/dev/null; echo lost; for i in 1 2 3 4 5 6 7; do echo "line $i" >&2; done; exit 37'
    status_of 1 "${ferry[@]}" call fail Fail >out 2>said
    [ ! -s out ]
    printf 'ferry call: "Fail" answered with error 37: line 3\nline 4\nline 5\nline 6\nline 7\n' >expected
    same expected said
    has 'line 1' serving
    serve quiet Fail -- false
    status_of 1 "${ferry[@]}" call quiet Fail 2>said
    has 'answered with error 1: the command ended with exit status 1' said
    serve killed Fail -- sh -c 'kill -KILL $$'
    status_of 1 "${ferry[@]}" call killed Fail 2>said
    has 'answered with error 137: the command was ended by signal 9' said
    serve missing Fail -- no-such-command
    status_of 1 "${ferry[@]}" call missing Fail 2>said
    has "answered with error 127: cannot run 'no-such-command': No such file or directory" said
    serve folder Fail -- "$FERRY_DIR"
    status_of 1 "${ferry[@]}" call folder Fail 2>said
    has 'answered with error 126' said
    "${ferry[@]}" ls --no-rate quiet >out
    grep -Eq '^  quiet +server +ferry-serve +[0-9]+ +[1-9] +0 +1 +0 ' out || fail "$(cat out)"
}

an_output_that_is_too_long_is_an_error() {
    serve much Much --max 1MiB -- cat /dev/zero
    status_of 1 "${ferry[@]}" call much Much >out 2>said
    [ ! -s out ]
    has 'error 125: the output of the command is longer than 1.0 MiB' said
    serve line Line --stream --max 100000 -- sh -c 'echo short; cat /dev/zero'
    status_of 1 "${ferry[@]}" call line Line >out 2>said
    [ "$(cat out)" = short ]
    has 'a line of the output of the command is longer' said
}

a_call_has_a_deadline() {
    serve slow Slow -- sh -c "$until_go"
    status_of 124 "${ferry[@]}" call --timeout 5s slow Slow 2>said
    has 'timed out after 5.0 s: "Slow" may have run' said
    started
    until_true gone "$command"
    "${ferry[@]}" ls --no-rate slow >out
    serves slow "$server"
}

a_command_that_ignores_sigterm_is_killed() {
    serve slow Slow -- sh -c "trap '' TERM; $until_go"
    status_of 124 "${ferry[@]}" call --timeout 5s slow Slow
    started
    until_true gone "$command"
}

what_a_command_has_started_goes_with_it() {
    serve slow Slow -- sh -c 'sleep 20 & echo $! >running; wait'
    status_of 124 "${ferry[@]}" call --timeout 5s slow Slow
    started
    until_true gone "$command"
}

an_interrupted_call_is_cancelled() {
    serve slow Slow -- sh -c "$until_go"
    "${signalled[@]}" call slow Slow 2>said &
    local caller=$!
    started
    kill -INT "$caller"
    ended 130 "$caller"
    until_true gone "$command"
}

a_killed_caller_frees_the_server() {
    serve slow Slow -j 1 -- sh -c "$until_go"
    "$FERRY" call slow Slow &
    local caller=$!
    started
    killed "$caller"
    until_true gone "$command"
    touch go
    "${ferry[@]}" call slow Slow
}

a_killed_server_may_have_run_it() {
    serve slow Slow -- sh -c "$until_go"
    "${ferry[@]}" call slow Slow >out 2>said &
    local caller=$!
    started
    killed "$server"
    ended 125 "$caller"
    [ ! -s out ]
    has 'may have run' said
    until_true gone "$command"
}

what_a_command_has_started_goes_with_a_killed_server() {
    serve slow Slow -- sh -c 'sleep 20 & echo $! >running; wait'
    "${ferry[@]}" call slow Slow 2>said &
    local caller=$!
    started
    killed "$server"
    ended 125 "$caller"
    until_true gone "$command"
}

what_is_idempotent_goes_to_another_server() {
    serve slow Slow --idempotent -j 1 -- sh -c "$until_go echo one"
    local first=$server
    "${ferry[@]}" call slow Slow >out 2>said &
    local caller=$!
    started
    serve slow Slow --idempotent -j 1 -- echo two
    until_true figure links 2 slow
    killed "$first"
    ended 0 "$caller"
    [ "$(cat out)" = two ]
}

what_is_not_idempotent_does_not() {
    serve slow Slow -j 1 -- sh -c "$until_go echo one"
    local first=$server
    "${ferry[@]}" call slow Slow >out 2>said &
    local caller=$!
    started
    serve slow Slow -j 1 -- echo two
    until_true figure links 2 slow
    killed "$first"
    ended 125 "$caller"
    has 'may have run' said
    [ ! -s out ]
}

# --- several results -----------------------------------------------------------------------------------------------

each_line_is_a_result_as_it_comes() {
    serve log Follow --stream -- sh -c "echo one; $until_go echo two; printf three"
    "${ferry[@]}" call log Follow >out &
    local caller=$!
    until_true lines 1 out
    started
    [ "$(cat out)" = one ]
    touch go
    ended 0 "$caller"
    printf 'one\ntwo\nthree\n' >expected
    same expected out
    "${ferry[@]}" call -0 log Follow >out
    printf 'one\0two\0three\0' >expected
    same expected out
    "${ferry[@]}" call --framed log Follow >out
    printf '\3\0\0\0one\3\0\0\0two\5\0\0\0three' >expected
    same expected out
}

many_results_come_in_order() {
    serve count Up --stream -j 1 -- seq 1 200000
    "${ferry[@]}" call count Up >out
    seq 1 200000 | cmp - out
    serve none None --stream -- true
    "${ferry[@]}" call none None >out
    [ ! -s out ]
}

a_stream_may_end_with_an_error() {
    serve log Fail --stream -- sh -c 'echo one; echo broken >&2; exit 5'
    status_of 1 "${ferry[@]}" call log Fail >out 2>said
    [ "$(cat out)" = one ]
    has 'answered with error 5: broken' said
}

a_stream_ends_when_nobody_reads_it() {
    serve log Follow --stream -- sh -c "$announce echo one; $wait_to_go"
    { "${ferry[@]}" call log Follow 2>said; echo $? >status; } | head -n 1 >out
    [ "$(cat status)" = 0 ] || fail "status $(cat status)"
    [ "$(cat out)" = one ]
    [ ! -s said ]
    started
    until_true gone "$command"
    serve yes Yes --stream -- sh -c 'echo $$ >running; exec yes'
    { "${ferry[@]}" call yes Yes 2>said; echo $? >status; } | head -n 1 >out
    [ "$(cat status)" = 0 ] || fail "status $(cat status)"
    started
    until_true gone "$command"
    status_of 125 "${ferry[@]}" call yes Yes >/dev/full 2>said
    has 'cannot write to standard output' said
}

a_stream_has_a_deadline() {
    serve log Follow --stream -- sh -c "$announce echo one; $wait_to_go"
    status_of 124 "${ferry[@]}" call --timeout 5s log Follow >out 2>said
    [ "$(cat out)" = one ]
    has 'timed out' said
}

# --- the server ----------------------------------------------------------------------------------------------------

ctrl_c_ends_it_when_accepted_calls_are_answered() {
    serve slow Slow -j 1 -- sh -c "$until_go echo done"
    "${ferry[@]}" call slow Slow >out &
    local caller=$!
    started
    kill -INT "$server"
    sleep 0.3
    kill -0 "$server" || fail 'it did not wait'
    touch go
    ended 0 "$caller"
    [ "$(cat out)" = "done" ]
    ended 130 "$server"
    nothing_left
}

# One that follows at once counts as the same one.
interrupt_until_gone() {
    ! kill -INT "$1" || { sleep 0.5; return 1; }
}

a_second_ctrl_c_cancels_them() {
    serve slow Slow -j 1 -- sh -c "$until_go"
    "${ferry[@]}" call slow Slow 2>said &
    local caller=$! got=0
    started
    until_true interrupt_until_gone "$server"
    ended 130 "$server"
    until_true gone "$command"
    wait "$caller" || got=$?
    [ "$got" = 1 ] || [ "$got" = 125 ] || fail "status $got"
    [ -s said ]
    nothing_left
}

it_ends_after_so_many_calls() {
    serve once Once --count 3 -j 1 -- echo hello
    local i
    for i in 1 2 3; do "${ferry[@]}" call once Once; done >out
    lines 3 out
    ended 0 "$server"
    nothing_left
}

commands_run_beside_each_other_up_to_a_number() {
    serve slow Slow -j 2 -- sh -c "echo begun >>times; $until_go echo ended >>times"
    open_ends server slow 2
    local i callers=()
    for i in 1 2 3 4 5; do
        "${ferry[@]}" call --raw slow Slow & callers+=($!)
        [ "$i" -gt 1 ] || until_true lines 1 times # two that come together may choose the same thread
    done
    until_true lines 2 times
    sleep 0.5
    lines 2 times
    touch go
    for i in "${callers[@]}"; do ended 0 "$i"; done
    lines 10 times
    [ "$(head -n 2 times | sort -u)" = begun ]
}

several_servers_share_the_calls() {
    serve slow Slow -q -j 1 -- sh -c "echo \$PPID >>who; $until_go"
    local first=$server caller
    serve slow Slow -q -j 1 -- sh -c "echo \$PPID >>who; $until_go"
    "${ferry[@]}" call --raw slow Slow &
    caller=$!
    until_true lines 1 who
    sleep 1 # by now the busy one is taken to be the slower one, however long the other was in answering what it was asked first
    "${ferry[@]}" call --raw slow Slow &
    until_true lines 2 who
    printf '%s\n' "$first" "$server" | sort >expected
    sort who >seen
    same expected seen
    touch go
    ended 0 $! && ended 0 "$caller"
}

one_way_calls_are_run() {
    serve note Note -j 1 -- sh -c 'cat >>noted'
    "${ferry[@]}" call --one-way note Note word >out
    [ ! -s out ]
    until_true has word noted
    serve slow Slow -j 1 -- sh -c "$until_go"
    status_of 124 "${ferry[@]}" call --one-way --timeout 500ms slow Slow
}

# --- what others see -----------------------------------------------------------------------------------------------

ls_shows_services() {
    serve slow Slow -j 1 -- sh -c "$until_go"
    "${ferry[@]}" call slow Slow &
    started
    "${ferry[@]}" ls --no-rate >out
    grep -Eq '^  SERVICE +ROLE +NODE +PID +CALLS +RUNNING +ERRORS +REFUSED +P50 +P99 +LINKS +AGE$' out || fail "$(cat out)"
    grep -Eq "^  slow +server +ferry-serve +$server +2 +1 +0 +0 " out || fail "$(cat out)"
    # the client has asked for the methods first; that call counts until its server has released it
    grep -Eq '^  slow +client +ferry-call +[0-9]+ +2 +[12] +- +- +- +- +1 ' out || fail "$(cat out)"
    "${ferry[@]}" ls --no-rate 'slo*' >again
    grep -Eq "^  slow +server" again
    status_of 1 "${ferry[@]}" ls --no-rate other 2>said
    "${ferry[@]}" ls --no-rate --json slow >json
    json json 'sorted((s["role"], s["service"], s["calls"]) for s in d["spaces"][0]["services"]) == [("client", "slow", 2), ("server", "slow", 2)]'
    json json '[(s.get("running"), s.get("under_way", 0) > 0) for s in sorted(d["spaces"][0]["services"], key=lambda s: s["role"])] == [(None, True), (1, False)]'
    json json 'len(d["spaces"][0]["nodes"]) == 2 and d["spaces"][0]["ends"] == []'
    touch go
    ended 0 $!
    "${ferry[@]}" ls --no-rate --json slow >json
    json json '[s["p50_ns"] <= s["p99_ns"] and s["p99_ns"] > 0 and s["busy_ns"] > 0 for s in d["spaces"][0]["services"]] == [True]'
}

# explains WORD...: whether `ferry why` draws them
explains() {
    local word
    "$FERRY" why >out
    for word in "$@"; do grep -qF "$word" out || return 1; done
}

why_shows_a_call_that_takes_long() {
    "$STUCK" bank 1 teller:serve=vault &
    "${ferry[@]}" call --wait 20s --raw vault m &
    until_true explains 'waits for the answer to call "vault.m", ' 'waits for event "never"'
    grep -Eq '^ferry-call\[.*\] waits for the answer to call "vault.m", ' out || fail "$(cat out)"
    grep -Eq '^└─ served by bank\[[0-9]+/[0-9]+ teller\], which waits for event "never"' out || fail "$(cat out)"
    "${ferry[@]}" why vault >out
    has 'served by' out
    "${ferry[@]}" why vault.m >out
    has 'served by' out
    "${ferry[@]}" why --dot >out
    has 'label="call \"vault.m\""' out
    has 'label="served by"' out
    "${ferry[@]}" why --json >json
    json json '("reply", "vault.m") in [(w["for"], w["name"]) for w in d["waits"]] and d["circles"] == []'
    status_of 1 "${ferry[@]}" why vaults 2>said
    has "no channel or service in space" said
}

why_shows_services_that_call_each_other() {
    "$STUCK" bank 1 teller:serve=a/b &
    "$STUCK" audit 1 auditor:serve=b/a &
    "$STUCK" customer 1 ada:call=a &
    until_true explains 'circle 1: ' ada
    grep -Eq '^customer\[.* ada\] waits for the answer to call "a\.' out || fail "$(cat out)"
    grep -Eq 'served by bank\[.* teller\], which waits for the answer to call "b\.' out || fail "$(cat out)"
    grep -Eq 'served by audit\[.* auditor\], which waits for the answer to call "a\.' out || fail "$(cat out)"
    [ "$(grep -c '◀ circle 1: these wait for each other for good$' out)" = 1 ] || fail "$(cat out)"
    status_of 1 "${ferry[@]}" why --check a
}

commands_that_call_each_other_are_told_of_the_circle() {
    serve a m -j 1 -- "$FERRY" call --raw --wait 20s b m
    serve b m -j 1 -- "$FERRY" call --raw a m
    status_of 1 "${ferry[@]}" call --timeout 40s --raw a m 2>said
    has 'answered with error' said
    has 'wait' said
    grep -q 'it may have run' serving said || fail "$(cat serving said)"
}

test_that "methods are listed" methods_are_listed
test_that "one that only another server has is told" one_that_only_another_server_has_is_told
test_that "a wrong method is told" a_wrong_method_is_told
test_that "nobody there is told and can be waited for" nobody_there_is_told_and_can_be_waited_for
test_that "a server that is stopped is told of" a_server_that_is_stopped_is_told_of
test_that "any bytes go in and come out" any_bytes_go_in_and_come_out
test_that "sixty four mebibytes go in and come out" sixty_four_mebibytes_go_in_and_come_out
test_that "a terminal gets a newline" a_terminal_gets_a_newline
test_that "a command knows of the call" a_command_knows_of_the_call
test_that "a command has nothing of the server" a_command_has_nothing_of_the_server
test_that "a command that fails is an error of the procedure" a_command_that_fails_is_an_error_of_the_procedure
test_that "an output that is too long is an error" an_output_that_is_too_long_is_an_error
test_that "a call has a deadline" a_call_has_a_deadline
test_that "a command that ignores SIGTERM is killed" a_command_that_ignores_sigterm_is_killed
test_that "what a command has started goes with it" what_a_command_has_started_goes_with_it
test_that "an interrupted call is cancelled" an_interrupted_call_is_cancelled
test_that "a killed caller frees the server" a_killed_caller_frees_the_server
test_that "a killed server may have run it" a_killed_server_may_have_run_it
test_that "what a command has started goes with a killed server" what_a_command_has_started_goes_with_a_killed_server
test_that "what is idempotent goes to another server" what_is_idempotent_goes_to_another_server
test_that "what is not idempotent does not" what_is_not_idempotent_does_not
test_that "each line is a result as it comes" each_line_is_a_result_as_it_comes
test_that "many results come in order" many_results_come_in_order
test_that "a stream may end with an error" a_stream_may_end_with_an_error
test_that "a stream ends when nobody reads it" a_stream_ends_when_nobody_reads_it
test_that "a stream has a deadline" a_stream_has_a_deadline
test_that "Ctrl-C ends it when accepted calls are answered" ctrl_c_ends_it_when_accepted_calls_are_answered
test_that "a second Ctrl-C cancels them" a_second_ctrl_c_cancels_them
test_that "it ends after so many calls" it_ends_after_so_many_calls
test_that "commands run beside each other up to a number" commands_run_beside_each_other_up_to_a_number
test_that "several servers share the calls" several_servers_share_the_calls
test_that "one way calls are run" one_way_calls_are_run
test_that "ls shows services" ls_shows_services
test_that "why shows a call that takes long" why_shows_a_call_that_takes_long
test_that "why shows services that call each other" why_shows_services_that_call_each_other
test_that "commands that call each other are told of the circle" commands_that_call_each_other_are_told_of_the_circle
all_done
