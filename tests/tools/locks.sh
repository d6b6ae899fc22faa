#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# `ferry lock`, `ferry sem`, `ferry barrier`, `ferry event`: who waits, who goes on, and with which status it ends.
#
# What the tests start under a lock runs until a file is there, and never for more than twenty seconds: so it ends by
# itself even where `ferry` was killed and nobody waits for it.
# shellcheck disable=SC2016,SC2031
# shellcheck source=harness
. "$(dirname "$0")/harness"
export FERRY

# until_file FILE [MORE]: a command that makes the file `running`, waits for FILE, and then does MORE
until_file() {
    command=(timeout 20 sh -c "touch running; until [ -e $1 ]; do sleep 0.02; done; ${2:-:}")
}

# held_by_a_command LOCK-ARGUMENT...: a command holds them in the background until `go` is there; its `ferry` is $holder
held_by_a_command() {
    until_file go
    "$FERRY" lock "$@" -- "${command[@]}" &
    holder=$!
    until_true test -e running
}

# nodes N: whether as many nodes are in the space
nodes() {
    "$FERRY" ls --no-rate --json | grep -o '"pid":' | wc -l | grep -qx "$1"
}

# waits N: whether as many threads wait, for what they want or for the command that they run
waits() {
    "$FERRY" why --json | grep -o '"wait":[0-9]*,"node"' | wc -l | grep -qx "$1"
}

# waiting_nodes N: waits until as many nodes are there, and all of them wait
waiting_nodes() {
    until_true nodes "$1"
    until_true waits "$1"
}

# --- the command ---------------------------------------------------------------------------------------------------

the_commands_status_is_passed_through() {
    local kind
    for kind in 'lock x' 'sem --count 1 x'; do
        # shellcheck disable=SC2206
        local run=("${ferry[@]}" $kind --)
        "${run[@]}" true
        status_of 1 "${run[@]}" false
        status_of 37 "${run[@]}" sh -c 'exit 37'
        status_of 143 "${run[@]}" sh -c 'kill -TERM $$'
        status_of 137 "${run[@]}" sh -c 'kill -KILL $$'
        status_of 127 "${run[@]}" no-such-command 2>said
        has "cannot run 'no-such-command': No such file or directory" said
        status_of 126 "${run[@]}" "$FERRY_DIR" 2>said
        has 'Permission denied' said
    done
    nothing_left
}

the_command_gets_its_arguments_and_its_input() {
    echo input | "${ferry[@]}" lock --shared x y -- sh -c 'cat; printf "%s\n" "$@"' sh -q -- 'a b' --help >out
    printf '%s\n' input -q -- 'a b' --help >expected
    same expected out
}

the_command_finds_signals_and_descriptors_as_they_were() {
    local show='grep -E "^Sig(Blk|Ign|Cgt)" /proc/self/status; ls /proc/self/fd'
    (trap '' HUP PIPE; exec timeout 60 bash -c "$show" <&- >expected)
    (trap '' HUP PIPE; exec timeout 60 "$FERRY" sem --count 1 x -- bash -c "$show" <&- >out)
    same expected out
    "${ferry[@]}" lock x y -- ls -l /proc/self/fd </dev/null >out 2>said
    [ "$(grep -c "/g-[xy]$" out)" = 2 ] || fail "not two guards: $(cat out)"
    if grep -E 'socket|memfd|eventpoll|pidfd|/n-' out; then fail 'a descriptor of Ferry was inherited'; fi
}

# The command is no timeout(1): that ends by a signal, and leaves its child, which runs already, where it has not yet noted that
# it has one. And whoever runs the tests may ignore hangups.
term_and_hangup_are_passed_on() {
    local signal
    for signal in TERM HUP; do
        rm -f running
        env --default-signal=HUP "$FERRY" lock x -- \
            sh -c "trap 'exit 5' $signal; touch running; for i in \$(seq 1000); do sleep 0.02; done" &
        until_true test -e running
        kill "-$signal" $!
        ended 5 $!
    done
    nothing_left
}

an_interrupt_is_left_to_the_command() {
    until_file go 'exit 6'
    "${signalled[@]}" lock x -- "${command[@]}" &
    until_true test -e running
    kill -INT $!
    kill -QUIT $!
    sleep 0.2
    status_of 75 "${ferry[@]}" lock --timeout 0s x -- true
    touch go
    ended 6 $!
}

# --- locks ---------------------------------------------------------------------------------------------------------

exclusive_sections_never_overlap() {
    local i jobs=()
    echo 0 >counter
    for i in 1 2 3 4 5 6 7 8; do
        (for _ in 1 2 3 4 5; do
            "${ferry[@]}" lock counter -- sh -c \
                'mkdir inside || exit 1; n=$(cat counter); sleep 0.01; echo $((n + 1)) >counter; rmdir inside'
        done) &
        jobs+=($!)
    done
    for i in "${jobs[@]}"; do ended 0 "$i"; done
    [ "$(cat counter)" = 40 ] || fail "the counter says $(cat counter)"
    nothing_left
}

# meet ARGUMENT...: two commands that run so end only if both run at the same time
meet() {
    "${ferry[@]}" "$@" -- timeout 20 sh -c 'touch a; until [ -e b ]; do sleep 0.02; done' &
    "${ferry[@]}" "$@" -- timeout 20 sh -c 'touch b; until [ -e a ]; do sleep 0.02; done'
    ended 0 $!
}

shared_holders_overlap() {
    meet lock --shared x
    held_by_a_command --shared x
    "${ferry[@]}" lock --shared --timeout 0s x -- true
    status_of 75 "${ferry[@]}" lock --timeout 0s x -- true 2>said
    touch go
    ended 0 "$holder"
    nothing_left
}

a_writer_keeps_readers_out() {
    held_by_a_command x
    status_of 75 "${ferry[@]}" lock --shared --timeout 0s x -- true
    status_of 124 "${ferry[@]}" lock --shared --timeout 300ms x -- true
    touch go
    ended 0 "$holder"
}

several_names_in_opposite_order_never_block_each_other() {
    local order jobs=()
    for order in 'a b c' 'c b a' 'b a b' 'c a'; do
        # shellcheck disable=SC2086
        (for _ in 1 2 3 4 5; do "${ferry[@]}" lock $order -- true; done) &
        jobs+=($!)
    done
    for order in "${jobs[@]}"; do ended 0 "$order"; done
    nothing_left
}

a_lock_that_is_held_is_refused_or_waited_for() {
    held_by_a_command x
    status_of 75 "${ferry[@]}" lock --timeout 0s x -- touch ran 2>said
    has '"x" is held by others' said
    local begin=$EPOCHREALTIME
    status_of 124 "${ferry[@]}" lock --timeout 1s y x -- touch ran 2>said
    has 'timed out after 1.0 s: "x" is held by others' said
    [ $((${EPOCHREALTIME/./} - ${begin/./})) -ge 1000000 ] || fail 'it did not wait'
    [ ! -e ran ]
    "${ferry[@]}" lock x -- touch ran 2>said &
    sleep 0.3
    [ ! -e ran ]
    touch go
    ended 0 $!
    ended 0 "$holder"
    [ ! -s said ]
    nothing_left
}

a_stopped_holder_is_waited_for() {
    held_by_a_command x
    stop "$holder"
    "${ferry[@]}" lock x -- touch ran 2>said &
    until_true has 'still waiting' said
    kill -CONT "$holder"
    touch go
    ended 0 "$holder"
    ended 0 $!
    [ -e ran ]
}

stats_tell_how_long_it_took() {
    "${ferry[@]}" lock --stats y x -- sleep 0.2 2>said
    [ "$(grep -cE '"[xy]": waited [0-9.]+ .?s, held ([2-9][0-9]{2}\.[0-9] ms|[0-9.]+ s), token [1-9]' said)" = 2 ] || fail "$(cat said)"
    "${ferry[@]}" lock --stats --shared x -- true 2>said
    grep -qE '"x": waited .*, held .*, shared' said
}

ctrl_c_ends_the_wait_and_gives_back_what_is_held() {
    held_by_a_command x
    "${signalled[@]}" lock a x -- touch ran &
    local waiter=$!
    until_true test -e "$FERRY_DIR/$FERRY_SPACE/g-a"
    status_of 75 "${ferry[@]}" lock --timeout 0s a -- true
    kill -INT "$waiter"
    ended 130 "$waiter"
    "${ferry[@]}" lock --timeout 0s a -- true 2>said
    [ ! -s said ] || fail "$(cat said)"
    touch go
    ended 0 "$holder"
    [ ! -e ran ]
    nothing_left
}

# --- a killed ferry ------------------------------------------------------------------------------------------------

a_lock_outlives_a_killed_ferry() {
    until_file go 'sleep 0.2; touch end'
    "$FERRY" lock x -- "${command[@]}" &
    local first=$!
    until_true test -e running
    killed "$first"
    "${ferry[@]}" lock x -- test -e end 2>said &
    until_true has 'the command of a killed holder still runs' said
    status_of 75 "${ferry[@]}" lock --shared --timeout 0s x -- true
    touch go
    ended 0 $!
    nothing_left
}

who_waits_is_told_that_the_holder_was_killed() {
    until_file go 'touch end'
    "$FERRY" lock x -- "${command[@]}" &
    local first=$!
    until_true test -e running
    "${ferry[@]}" lock x -- test -e end 2>said &
    local second=$!
    waiting_nodes 2
    killed "$first"
    until_true has 'a holder of "x" was killed while it held it' said
    has 'the command of a killed holder still runs' said
    touch go
    ended 0 "$second"
    "${ferry[@]}" lock x -- true 2>said
    [ ! -s said ] || fail "it was settled, but: $(cat said)"
    nothing_left
}

who_gives_up_leaves_the_news_to_the_next() {
    held_by_a_command x
    "${ferry[@]}" lock --timeout 2s x -- true 2>said &
    local second=$!
    waiting_nodes 2
    "${ferry[@]}" lock x -- true 2>said3 &
    local third=$!
    waiting_nodes 3
    killed "$holder"
    ended 124 "$second"
    until_true has 'a holder of "x" was killed while it held it' said3
    touch go
    ended 0 "$third"
    nothing_left
}

readers_go_on_after_a_killed_writer() {
    held_by_a_command x
    until_file gone
    "${ferry[@]}" lock --shared x -- "${command[@]}" 2>said1 &
    local first=$!
    waiting_nodes 2
    killed "$holder"
    rm running
    touch go
    until_true test -e running
    "${ferry[@]}" lock --shared x -- true 2>said2
    has 'a holder of "x" was killed while it held it, and nobody has held it alone since' said1
    has 'a holder of "x" was killed while it held it, and nobody has held it alone since' said2
    "${ferry[@]}" lock x -- true 2>said3 &
    local writer=$!
    waiting_nodes 2
    touch gone
    ended 0 "$first"
    ended 0 "$writer"
    has 'a holder of "x" was killed' said3
    nothing_left
}

what_is_left_in_the_background_keeps_the_lock() {
    "${ferry[@]}" lock x -- sh -c '(timeout 20 sh -c "until [ -e go ]; do sleep 0.02; done; touch end" &)'
    status_of 75 "${ferry[@]}" lock --timeout 0s x -- true 2>said
    has 'is kept by a command' said
    "${ferry[@]}" lock x -- test -e end &
    touch go
    ended 0 $!
    nothing_left
}

nobody_waits_for_itself() {
    "${ferry[@]}" lock x -- sh -c '(until [ -e go ]; do sleep 0.02; done
        timeout 20 "$FERRY" lock x -- true 2>said; echo $? >status) &'
    touch go
    until_true test -s status
    [ "$(cat status)" = 75 ]
    has 'it would wait for itself' said
}

a_guard_is_open_to_its_group_only() {
    umask 077
    "${ferry[@]}" lock x -- sh -c 'stat -c %a "$FERRY_DIR/$FERRY_SPACE/g-x"' >out
    [ "$(cat out)" = 600 ]
    "${ferry[@]}" --group "$(id -g)" lock --space group x -- sh -c 'umask; stat -c "%a %g" "$FERRY_DIR/group/g-x"' >out
    [ "$(paste -sd' ' out)" = "0077 660 $(id -g)" ] || fail "$(cat out)"
}

a_link_in_place_of_a_guard_is_not_followed() {
    held_by_a_command x
    touch elsewhere
    ln -s "$PWD/elsewhere" "$FERRY_DIR/$FERRY_SPACE/g-y"
    status_of 125 "${ferry[@]}" lock y -- true 2>said
    has "g-y': Too many levels of symbolic links" said
    rm "$FERRY_DIR/$FERRY_SPACE/g-y"
    touch go
    ended 0 "$holder"
}

# --- deadlocks -----------------------------------------------------------------------------------------------------

# nested MINE OTHERS: under the one lock, when both are held, a script asks for the other one
nested() {
    "${ferry[@]}" lock "$1" -- sh -c 'touch "$1".held; until [ -e "$2".held ]; do sleep 0.02; done
        "$FERRY" lock "$2" -- touch "$1".got; status=$?; exit $status' sh "$1" "$2" 2>"$1".said
}

opposite_order_in_scripts_is_found_and_explained() {
    local first=0 second=0 loser winner
    nested one two &
    nested two one || second=$?
    wait $! || first=$?
    [ $((first + second)) = 75 ] || fail "statuses $first and $second"
    if [ "$first" = 75 ]; then loser=one winner=two; else loser=two winner=one; fi
    [ -e $winner.got ]
    [ ! -e $loser.got ]
    has one $loser.said
    has two $loser.said
    [ ! -s $winner.said ] || fail "the one that went on said: $(cat $winner.said)"
    nothing_left
}

# read_from MINE OTHERS: the same where the shell reads what the command under the other one prints, through a pipeline
read_from() {
    "${ferry[@]}" lock "$1" -- sh -c 'touch "$1".held; until [ -e "$2".held ]; do sleep 0.02; done
        got=$("$FERRY" lock "$2" -- echo got 2>"$1".said | cat); [ "$got" = got ]' sh "$1" "$2"
}

a_circle_through_pipes_is_found() {
    local first=0 second=0 loser
    read_from one two &
    read_from two one || second=$?
    wait $! || first=$?
    [ $((first + second)) = 1 ] || fail "statuses $first and $second"
    loser=$([ "$first" = 1 ] && echo one || echo two)
    has "which waits for its child process" $loser.said
    nothing_left
}

# Its main thread waits for its child, as a shell does, but another one may end that wait.
a_program_with_another_thread_might_go_on() {
    cat >program <<'PYTHON'
import os, subprocess, threading, time
def until(name):
    while not os.path.exists(name): time.sleep(0.02)
def end(child):
    until("end")
    child.terminate()
open("one.held", "w")
until("two.held")
child = subprocess.Popen([os.environ["FERRY"], "lock", "two", "--", "true"])
threading.Thread(target=end, args=[child]).start()
os.waitpid(child.pid, 0)
PYTHON
    "${ferry[@]}" lock one -- python3 program &
    "${ferry[@]}" lock two -- sh -c 'touch two.held; until [ -e one.held ]; do sleep 0.02; done
        "$FERRY" lock one -- touch got; exit $?' 2>said &
    until_true waits 4
    sleep 0.3
    touch end
    ended 0 $!
    [ -e got ]
    [ ! -s said ] || fail "$(cat said)"
    wait
    nothing_left
}

a_script_that_asks_for_its_own_lock_is_told() {
    status_of 75 "${ferry[@]}" lock x -- sh -c '"$FERRY" lock x -- true; exit $?' 2>said
    has x said
    nothing_left
}

# --- semaphores ----------------------------------------------------------------------------------------------------

at_most_so_many_run_at_once() {
    local i jobs=()
    for i in 1 2 3 4 5 6; do
        "${ferry[@]}" sem --count 2 x -- sh -c 'touch in.$$; ls in.* | wc -l >>seen; sleep 0.1; rm in.$$' &
        jobs+=($!)
    done
    for i in "${jobs[@]}"; do ended 0 "$i"; done
    [ "$(wc -l <seen)" = 6 ]
    [ "$(sort -n seen | tail -n 1)" -le 2 ] || fail "as many at once: $(paste -sd' ' seen)"
    meet sem --count 2 x
    nothing_left
}

a_semaphore_without_units_is_refused_or_waited_for() {
    until_file go
    "${ferry[@]}" sem --count 1 x -- "${command[@]}" &
    until_true test -e running
    status_of 75 "${ferry[@]}" sem --count 1 --timeout 0s x -- true 2>said
    has '"x" has no unit free' said
    status_of 124 "${ferry[@]}" sem --count 1 --timeout 300ms x -- true
    status_of 125 "${ferry[@]}" sem --count 3 x -- true 2>said
    has '"x" was opened with 1 by the others, here 3' said
    touch go
    ended 0 $!
}

# runs PID: whether it does, and is not just waiting to be asked for its status
runs() {
    readlink "/proc/$1/exe"
}

a_killed_ferry_sem_takes_its_command_with_it() {
    "$FERRY" sem --count 1 x -- sh -c 'echo $$ >pid.new; mv pid.new pid; while :; do sleep 0.05; done' &
    local sem=$!
    until_true test -e pid
    killed "$sem"
    until_true eval ! runs "$(cat pid)"
    "${ferry[@]}" sem --count 1 --timeout 10s x -- true
}

# --- barriers ------------------------------------------------------------------------------------------------------

a_barrier_lets_all_go_together() {
    local i jobs=()
    for i in 1 2; do
        "${ferry[@]}" barrier --parties 3 --print-last x >out$i &
        jobs+=($!)
    done
    waiting_nodes 2
    for i in "${jobs[@]}"; do kill -0 "$i"; done
    "${ferry[@]}" barrier --parties 3 --print-last x >out3
    for i in "${jobs[@]}"; do ended 0 "$i"; done
    [ "$(cat out1 out2 out3)" = last ] || fail "they said: $(cat out1 out2 out3)"
    [ "$("${ferry[@]}" barrier --parties 1 x)" = '' ]
}

a_barrier_with_a_killed_participant_ends_with_1() {
    local i jobs=()
    for i in 1 2 3; do
        "$FERRY" barrier --parties 4 --timeout 20s x 2>said$i &
        jobs+=($!)
    done
    waiting_nodes 3
    killed "${jobs[0]}"
    for i in 1 2; do ended 1 "${jobs[i]}"; done
    [ -s said2 ]
    [ -s said3 ]
}

a_barrier_gives_up_after_its_timeout() {
    status_of 124 "${ferry[@]}" barrier --parties 2 --timeout 300ms x 2>said
    has 'timed out after 300.0 ms: "x" was not reached by all' said
    status_of 124 "${ferry[@]}" barrier --parties 2 --timeout 0s x
}

# --- events --------------------------------------------------------------------------------------------------------

set_and_gone() {
    "$FERRY" event x set
    ! kill -0 "$1" 2>/dev/null
}

set_lets_those_who_wait_go() {
    "${ferry[@]}" event x wait &
    local first=$!
    "${ferry[@]}" event x wait &
    waiting_nodes 2
    until_true set_and_gone $!
    ended 0 "$first"
    ended 0 $!
}

set_that_nobody_waits_for_is_lost_unless_it_holds() {
    "${ferry[@]}" event x set
    status_of 124 "${ferry[@]}" event --timeout 200ms x wait 2>said
    has 'timed out after 200.0 ms: "x" is not set' said
    status_of 124 "${ferry[@]}" event --timeout 0s x wait
    "$FERRY" event x set --hold &
    until_true "$FERRY" event x get
    "${ferry[@]}" event x wait
    [ "$("${ferry[@]}" event x get)" = set ]
    "${ferry[@]}" event x reset
    status_of 1 "${ferry[@]}" event x get >out
    [ "$(cat out)" = unset ]
    kill -TERM $!
    ended 143 $!
    "${ferry[@]}" event x set --hold --timeout 100ms
    nothing_left
}

an_auto_reset_event_lets_one_go() {
    local first=0 second=0
    "${ferry[@]}" event --auto-reset --timeout 2s x wait &
    local waiter=$!
    "$FERRY" event --auto-reset x set --hold &
    local holder=$!
    "${ferry[@]}" event --auto-reset --timeout 2s x wait || second=$?
    wait "$waiter" || first=$?
    [ $((first + second)) = 124 ] || fail "statuses $first and $second"
    status_of 125 "${ferry[@]}" event x get 2>said
    has '"x" was opened' said
    kill -TERM "$holder"
    ended 143 "$holder"
}

test_that "the command's status is passed through" the_commands_status_is_passed_through
test_that "the command gets its arguments and its input" the_command_gets_its_arguments_and_its_input
test_that "the command finds signals and descriptors as they were" \
    the_command_finds_signals_and_descriptors_as_they_were
test_that "SIGTERM and SIGHUP are passed on to the command" term_and_hangup_are_passed_on
test_that "SIGINT and SIGQUIT are left to the command" an_interrupt_is_left_to_the_command
test_that "exclusive sections never overlap" exclusive_sections_never_overlap
test_that "shared holders overlap" shared_holders_overlap
test_that "a writer keeps readers out" a_writer_keeps_readers_out
test_that "several names in opposite order never block each other" \
    several_names_in_opposite_order_never_block_each_other
test_that "a lock that is held is refused, or waited for" a_lock_that_is_held_is_refused_or_waited_for
test_that "a stopped holder is waited for" a_stopped_holder_is_waited_for
test_that "--stats tells how long it took" stats_tell_how_long_it_took
test_that "Ctrl-C ends the wait and gives back what is held" ctrl_c_ends_the_wait_and_gives_back_what_is_held
test_that "a lock outlives a killed ferry, until its command has ended" a_lock_outlives_a_killed_ferry
test_that "who waits is told that the holder was killed" who_waits_is_told_that_the_holder_was_killed
test_that "who gives up leaves the news to the next" who_gives_up_leaves_the_news_to_the_next
test_that "readers go on after a killed writer" readers_go_on_after_a_killed_writer
test_that "what is left in the background keeps the lock" what_is_left_in_the_background_keeps_the_lock
test_that "nobody waits for itself" nobody_waits_for_itself
test_that "a guard is open to its group only" a_guard_is_open_to_its_group_only
test_that "a link in place of a guard is not followed" a_link_in_place_of_a_guard_is_not_followed
test_that "opposite order in scripts is found and explained" opposite_order_in_scripts_is_found_and_explained
test_that "a circle through pipes is found" a_circle_through_pipes_is_found
test_that "a program with another thread might go on" a_program_with_another_thread_might_go_on
test_that "a script that asks for its own lock is told" a_script_that_asks_for_its_own_lock_is_told
test_that "at most so many run at once" at_most_so_many_run_at_once
test_that "a semaphore without units is refused, or waited for" a_semaphore_without_units_is_refused_or_waited_for
test_that "a killed ferry sem takes its command with it" a_killed_ferry_sem_takes_its_command_with_it
test_that "a barrier lets all go together" a_barrier_lets_all_go_together
test_that "a barrier with a killed participant ends with 1" a_barrier_with_a_killed_participant_ends_with_1
test_that "a barrier gives up after its timeout" a_barrier_gives_up_after_its_timeout
test_that "set lets those who wait go" set_lets_those_who_wait_go
test_that "a set that nobody waits for is lost, unless it holds" set_that_nobody_waits_for_is_lost_unless_it_holds
test_that "an auto-reset event lets one go" an_auto_reset_event_lets_one_go
all_done
