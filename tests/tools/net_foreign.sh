#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# Peers that know nothing of Ferry: npm's `nats` finds and calls Ferry's services, and is called by Ferry's clients.
# FOREIGN is a directory of the build's, where the pinned packages are put once.
# shellcheck disable=SC2031
# shellcheck source=harness
. "$(dirname "$0")/harness"
# shellcheck source=engine-lib.sh
. "$here/engine-lib.sh"
export FERRY
PATH=$PATH:/usr/sbin
: "${FOREIGN:=$work/foreign}"

# The packages as package-lock.json names them; once for each version of it. By one at a time.
foreign_ready() {
    mkdir -p "$FOREIGN"
    cp "$here"/foreign/* "$FOREIGN"
    (
        flock 9
        cmp -s "$FOREIGN/package-lock.json" "$FOREIGN/.ready" && exit 0
        (cd "$FOREIGN" && timeout 60 npm ci --no-audit --no-fund --ignore-scripts --prefer-offline >npm.said 2>&1) || exit 1
        cp "$FOREIGN/package-lock.json" "$FOREIGN/.ready"
    ) 9>"$FOREIGN/.lock"
}

if ! command -v node >/dev/null || ! command -v npm >/dev/null; then
    echo '1..0 # SKIP node and npm are not installed'
    exit 0
fi
if ! foreign_ready; then
    echo "Bail out! npm's package nats cannot be installed: $(tail -n 3 "$FOREIGN/npm.said" | tr '\n' ' ')"
    exit 1
fi

# What is left running must be the job itself, not a shell that waits for it: so its signals reach it.
exec_js() { # COMMAND [ARGUMENT...]
    exec timeout -k 2 30 node "$FOREIGN/calls.mjs" "$1" "$ENGINE_URL" "${@:2}"
}

js() {
    (exec_js "$@")
}

# On the far machine, which is a directory of its own.
serve() { # SERVICE METHOD OPTION... -- COMMAND...
    mkdir -p -m 0700 "$PWD/there"
    (
        export FERRY_DIR=$PWD/there
        exec "${signalled[@]}" serve "$@" 2>>serving
    ) &
    until_true has "serving \"$2\"" serving
}

# Whoever asks who is there waits a third of a second for answers.
discovered() {
    js discover text >found
    json found 'len(d["ping"]) == len(d["info"]) == len(d["stats"]) == len(d["id"]) == len(d["everybody"]) == 1'
}

it_finds_ferrys_services() {
    engine_space
    serve text Upper --comment 'all in capitals' -- tr a-z A-Z
    "${ferry[@]}" call text Upper ferry >out
    echo -n FERRY | same - out
    until_true discovered
    json found 'len(d["ping"]) == 1 and d["ping"][0]["type"] == "io.nats.micro.v1.ping_response"'
    json found 'd["ping"][0]["name"] == "text" and d["ping"][0]["metadata"]["ferry.space"] == "test"'
    json found 'd["info"][0]["endpoints"][0]["name"] == "Upper" and d["info"][0]["endpoints"][0]["subject"] == "ferry.test.svc.text.Upper"'
    json found 'd["info"][0]["endpoints"][0]["metadata"]["comment"] == "all in capitals"'
    json found 'd["stats"][0]["endpoints"][0]["num_requests"] == 1 and d["stats"][0]["endpoints"][0]["num_errors"] == 0'
    json found 'd["id"] == d["info"] and d["everybody"] == d["ping"]'
}

it_calls_ferrys_services() {
    engine_space
    serve text Upper -- tr a-z A-Z
    js call ferry.test.svc.text.Upper "from afar" >out
    echo "FROM AFAR" | same - out
    js call ferry.test.svc.text.Lower x >out
    echo "error 404 the service has no such method: " | same - out
    serve text2 Fail -- sh -c 'echo "no such account" >&2; exit 7'
    js call ferry.test.svc.text2.Fail x >out
    grep -q '^error 7 .*no such account' out
}

ferry_calls_its_services() {
    engine_space
    exec_js serve calculator >ready &
    until_true has ready ready
    "${ferry[@]}" call --json calculator >methods
    json methods 'sorted(m["name"] for m in d["methods"]) == ["add", "die", "refuse", "shout", "slow"]'
    "${ferry[@]}" call calculator add 1+2+39 >out
    echo -n 42 | same - out
    "${ferry[@]}" call calculator shout hello >out
    echo -n HELLO | same - out
    status_of 1 "${ferry[@]}" call calculator refuse x 2>said
    has 'not today' said
    status_of 125 "${ferry[@]}" call calculator multiply x 2>said
    has 'has no method "multiply"' said
    status_of 75 "${ferry[@]}" call nobody add x 2>said
    "${ferry[@]}" call calculator slow >out # longer than a machine that is gone is waited for
    echo -n 'at last' | same - out
    status_of 125 "${ferry[@]}" call calculator die 2>said
    has 'died or left' said
}

it_shares_durable_queues() {
    engine_space
    seq 5 | "${ferry[@]}" send --durable jobs.v1
    "${ferry[@]}" ls --json >found
    json found '[(q["queue"], q["messages"], q["sent"]) for q in d["durable"]] == [("jobs.v1", 5, 5)]'
    js take 'FERRY=test=q=jobs~v1' 3 >out
    seq 3 | same - out
    js put ferry.test.q.jobs~v1.node six seven
    "${ferry[@]}" recv --count 4 jobs.v1 >out
    printf '%s\n' 4 5 six seven | same - out
    "${ferry[@]}" purge --remove jobs.v1 >out
    has '0 messages that the server kept; the channel is removed' out
    "${ferry[@]}" send --durable --token 7 jobs.v1 first
    status_of 1 "${ferry[@]}" send --durable --token 6 jobs.v1 late 2>said
    has "with token 7, which is newer than 6" said
    "${ferry[@]}" purge --remove jobs.v1
    "${ferry[@]}" send --durable --token 6 jobs.v1 anew
}

# Both ways, and on the far machine, too: what Ferry publishes comes to Ferry's subscribers once.
it_shares_plain_topics() {
    local pids=()
    engine_space
    mkdir -p -m 0700 "$PWD/there"
    FERRY_DIR=$PWD/there "${ferry[@]}" sub --count 3 news.v1 >unaware &
    pids+=($!)
    exec_js hear ferry.test.topic.news~v1 3 >heard &
    pids+=($!)
    until_true has ready heard
    "${ferry[@]}" sub --plain --count 5 --type line news.v1 >here &
    pids+=($!)
    FERRY_DIR=$PWD/there "${ferry[@]}" sub --plain --count 5 news.v1 >afar &
    pids+=($!)
    until_true subscribed
    printf '%s\n' one two three | "${ferry[@]}" pub --plain --type line news.v1
    until_true have_lines 3 here afar
    js publish ferry.test.topic.news~v1 four five
    wait "${pids[@]}"
    printf '%s\n' one two three four five >wanted
    same here wanted && same afar wanted
    head -n 3 wanted | same - unaware
    status_of 125 env FERRY_SPACE=alone "${ferry[@]}" pub --plain news.v1 x 2>said
    has 'cannot be plain in a space of one machine' said
    printf 'Ferry-Node,Ferry-Type,Nats-Msg-Id %s\n' one two three | { echo ready && cat; } | same - heard
}

# All three, and two of them linked with the way to foreign clients
subscribed() {
    "${ferry[@]}" ls --no-rate --json news.v1 >ends && json ends 'sorted(e["links"] for e in d["spaces"][0]["ends"]) == [0, 1, 1]'
}

have_lines() { # N FILE...
    local file
    for file in "${@:2}"; do
        [ "$(wc -l <"$file")" = "$1" ] || return 1
    done
}

the_server_keeps_durable_topics() {
    engine_space
    seq 5 | "${ferry[@]}" pub --durable --retain 4 news.v1
    "${ferry[@]}" ls --json >found
    json found '[(t["topic"], t["messages"], t["sent"]) for t in d["durable"]] == [("news.v1", 4, 5)]'
    "${ferry[@]}" sub --replay all --count 4 news.v1 >out
    printf '%s\n' 2 3 4 5 | same - out
    "${ferry[@]}" sub --replay 1h --count 4 news.v1 | same - out
    "${ferry[@]}" sub --replay 1 --count 1 news.v1 >out
    echo 5 | same - out
    "${ferry[@]}" sub --replay '#1' --count 1 news.v1 >out 2>said
    echo 2 | same - out
    has 'a record was lost, because the server had dropped' said
    status_of 2 "${ferry[@]}" sub --replay soon news.v1 2>said
    has "not 'soon'" said
    "${ferry[@]}" purge --remove news.v1 >out
    has '4 messages that the server kept; the channel is removed' out
}

test_that "it finds Ferry's services" it_finds_ferrys_services
test_that "it calls Ferry's services" it_calls_ferrys_services
test_that "Ferry calls its services" ferry_calls_its_services
test_that "it shares durable queues with Ferry" it_shares_durable_queues
test_that "it shares plain topics with Ferry, both ways" it_shares_plain_topics
test_that "the server keeps durable topics, and subscribers begin where they like" the_server_keeps_durable_topics
all_done
