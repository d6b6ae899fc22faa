#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# Does anybody make a system call when nothing happens, or when messages flow between two running threads? Seen from
# outside, with strace. quiet.sh PROGRAM (built from quiet.c)
set -uo pipefail
: "${1:?name the program built from quiet.c}"
program=$(realpath "$1")
work=$(mktemp -d "${FERRY_TEST_TMP:-${TMPDIR:-/tmp}}/frytest-quiet.XXXXXX") || exit 125
export FERRY_DIR=$work/spaces
mkdir -m 0700 "$FERRY_DIR" && cd "$work" || exit 125
number=0
failures=0
started=()

clean_up() {
    [ ${#started[@]} = 0 ] || kill -KILL "${started[@]}" 2>/dev/null
    cd / && rm -rf "$work"
}
trap clean_up EXIT

verdict() { # STATUS SENTENCE
    number=$((number + 1))
    if [ "$1" = 0 ]; then
        echo "ok $number - $2"
    else
        failures=$((failures + 1))
        echo "not ok $number - $2"
    fi
}

until_true() { # COMMAND...: waits up to twenty seconds
    local end=$((SECONDS + 20))
    until "$@" >/dev/null 2>&1; do
        [ "$SECONDS" -lt "$end" ] || return 1
        sleep 0.05
    done
}

# A call that was under way when strace came shows no result; one that was made, or has returned, does.
calls_in() { # LOG
    grep -cE ' = |resumed>' "$1"
}

ticks_of() { # PID...: processor time so far, in ticks
    local pid total=0 fields
    for pid in "$@"; do
        read -ra fields < <(sed 's/.*) //' "/proc/$pid/stat") || return 1
        total=$((total + fields[11] + fields[12]))
    done
    echo "$total"
}

start_idlers() {
    "$program" idle a >a.out 2>a.err &
    started+=($!)
    "$program" idle b >b.out 2>b.err &
    started+=($!)
    until_true grep -q ready a.out && until_true grep -q ready b.out && return 0
    cat a.err b.err
    return 1
}

all_are_traced() {
    [ "$(cat "/proc/${started[0]}"/task/*/status "/proc/${started[1]}"/task/*/status | grep -c '^TracerPid:.0$')" = 0 ]
}

# trace LOG COMMAND...: traces both programs while the command runs
trace() {
    local log=$1 tracer
    shift
    strace -f -qq -o "$log" -p "${started[0]}" -p "${started[1]}" 2>strace.err &
    tracer=$!
    until_true all_are_traced || { cat strace.err; return 1; }
    "$@"
    kill -TERM "$tracer"
    wait "$tracer" 2>/dev/null
    return 0
}

send_one() {
    kill -USR1 "${started[0]}"
    sleep 0.5
}

idle_ends_are_silent() {
    local threads calls before after
    start_idlers || { verdict 1 "100 ends are opened in two processes"; return; }
    sleep 1 # whoever has just been busy looks again a few times before he sleeps
    before=$(ticks_of "${started[@]}")
    trace idle.log sleep 5 || { verdict 1 "two processes can be traced"; return; }
    after=$(ticks_of "${started[@]}")
    trace busy.log send_one
    threads=$(cat "/proc/${started[0]}"/task/*/status "/proc/${started[1]}"/task/*/status | grep -c '^Pid:')
    calls=$(calls_in idle.log)
    echo "# $threads threads, $calls system calls in five seconds, $(calls_in busy.log) when one message is sent"
    [ "$calls" = 0 ] || grep -E ' = |resumed>' idle.log | sed 's/^/# /' | head -n 20
    [ "$calls" = 0 ]; verdict $? "with 100 open ends idle, no thread makes a system call in five seconds"
    echo "# processor time in these five seconds: $((after - before)) ticks, being traced included"
    [ $((after - before)) -le 2 ]; verdict $? "with 100 open ends idle, no processor time is used"
    [ "$(calls_in busy.log)" -gt 0 ]; verdict $? "the trace shows the system calls of a single message to a sleeping receiver"
    [ "$threads" = 54 ]; verdict $? "there were 50 receiving threads, two programs, and one background thread in each"
    kill -KILL "${started[@]}"
    wait "${started[@]}" 2>/dev/null
    started=()
}

# How many of the windows between two marks were silent: neither thread made a system call in it.
silent_windows() { # LOG
    awk '/ferry-end/ { inside[$1] = 0; ended[window[$1]++]++ }
         inside[$1] && !/access resumed/ { calls[window[$1]]++ }
         /ferry-begin/ { inside[$1] = 1 }
         END { for (w in ended) silent += ended[w] == 2 && !calls[w]; print silent + 0 }' "$1"
}

# Whoever loses his processor for a while makes the other one wait: then the two were not running, and that window is
# not counted. A call that belonged to the flow would be found in every window; so it goes on until enough were silent.
flow_is_silent() { # threads|processes
    local silent=0 try
    for try in $(seq 40); do
        timeout 60 strace -f -qq -o flow.log "$program" flow "$1" || break
        silent=$((silent + $(silent_windows flow.log)))
        [ "$silent" -ge 20 ] && break
    done
    echo "# between $1: $silent of $((50 * try)) times, 50,000 messages made no system call"
    [ "$silent" -ge 20 ]
    verdict $? "a million messages between two running $1 make no system call"
}

flow_ends() { # threads|processes
    timeout 100 "$program" flow "$1"
    verdict $? "on a single processor, where two threads cannot both be running, millions of messages between $1 arrive"
}

# What does not fit the ring waits in the sender's memory; segments of that are made now and then, which takes a few calls.
burst_is_quiet() {
    local calls
    timeout 60 strace -f -qq -o burst.log "$program" burst || { verdict 1 "a burst can be traced"; return; }
    calls=$(awk '/ferry-end/ { inside = 0 } inside && !/access resumed/ { calls++ } /ferry-begin/ { inside = 1 }
                 END { print calls + 0 }' burst.log)
    echo "# $calls system calls while 20,000 messages were sent to a receiver that took none"
    [ "$calls" -lt 2000 ]; verdict $? "a burst to a receiver that does not read makes no system call for each message"
}

idle_ends_are_silent
burst_is_quiet
for between in threads processes; do
    if [ "$(nproc)" -ge 2 ]; then
        flow_is_silent "$between"
    else
        echo "# one processor: whether running threads make system calls cannot be seen here"
        flow_ends "$between"
    fi
done
echo "1..$number"
[ "$failures" = 0 ]
