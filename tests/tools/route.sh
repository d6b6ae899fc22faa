#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# `ferry route`: which way, what it costs, and why.
# shellcheck source=harness
. "$(dirname "$0")/harness"
unset FERRY_HOST_PROFILE

profile() { # WAKE LINE COPY4096 COPY65536
    printf '%s %s\n' wake_ns "$1" line_ns "$2" page_ns 250 copy_256_mbps 30000 copy_4096_mbps "$3" copy_65536_mbps "$4" \
        copy_1048576_mbps 8000
}

the_host_is_measured_once_and_shown_with_its_reasons() {
    "${ferry[@]}" route >out
    for word in 'wake-up' 'core' 'new page' 'copying 64 KiB' 'spins for' 'by pointer'; do has "$word" out; done
    "${ferry[@]}" route --json >json
    json json 'd["source"] == "measured" and d["wake_ns"] >= 100 and all(d[k]["why"] for k in ("spin_ns", "inline_max"))'
    # On a host too busy to measure all in time the figures are not kept, and the next one tries again.
    for _ in {1..50}; do
        compgen -G "$FERRY_DIR/.host-*" >kept && break
        "${ferry[@]}" route --measure >out
    done
    [ "$(stat -c %a "$(cat kept)")" = 600 ]
    "${ferry[@]}" route --json >first
    "${ferry[@]}" route --json >second
    same first second
}

a_given_profile_is_believed_and_a_bad_one_is_told() {
    profile 3000 40 40000 12000 >metal
    profile 24000 210 74000 50000 >machine
    profile 60000 20 50000 50000 >even
    local name
    for name in metal machine even; do
        FERRY_HOST_PROFILE=$name "${ferry[@]}" route --json >"$name.json"
        json "$name.json" 'd["source"] == "given" and "(given)" in d["spin_ns"]["why"]'
    done
    json metal.json 'd["spin_ns"]["value"] == 3000 and d["inline_max"]["value"] == 1024'
    json machine.json 'd["inline_max"]["value"] == 2048'
    json even.json 'd["spin_ns"]["value"] == 60000 and d["inline_max"]["value"] == 4096'
    FERRY_HOST_PROFILE=metal "${ferry[@]}" route --profile >again
    grep -v '^#' again | cmp - metal
    echo 'wake_ns soon' >bad
    status_of 2 env FERRY_HOST_PROFILE=bad "${ferry[@]}" route >out 2>said
    has 'line 1' said
    status_of 2 env FERRY_HOST_PROFILE=bad "${ferry[@]}" send x y 2>said
    has 'line 1' said
    status_of 2 env FERRY_HOST_PROFILE=missing "${ferry[@]}" route >out 2>said
    has 'cannot be read' said
}

a_channels_links_are_shown_with_way_and_reasons() {
    "$FERRY" recv jobs >got &
    "$FERRY" send --linger 20s jobs < <(for _ in {1..600}; do [ -e enough ] || { echo line; sleep 0.05; }; done) &
    for _ in {1..200}; do
        "${ferry[@]}" route --json jobs >json 2>said && json json 'd["links"][0].get("latency_ns", d["links"][0].get("wake_ns"))' && break
        sleep 0.05
    done 2>/dev/null
    json json 'd["senders"] == d["receivers"] == len(d["links"]) == 1'
    json json 'd["links"][0]["way"] == "shm" and [w["taken"] for w in d["links"][0]["ways"]] == [False, True, False]'
    json json 'all(w["why"] for w in d["links"][0]["ways"])'
    json json 'all(d["links"][0][k]["why"] for k in ("inline_max", "room_spin_ns", "spin_ns", "completion_ns"))'
    "${ferry[@]}" route jobs >out
    for word in 'goes by shm' 'not by thread' 'not by nats' 'flow' 'in the ring' 'receiver spins' 'next message'; do
        has "$word" out
    done
    touch enough
}

a_channel_that_nobody_has_open_is_told() {
    status_of 1 "${ferry[@]}" route nothing >out 2>said
    [ ! -s out ] && [ "$(wc -l <said)" = 1 ]
    has "nobody on this machine has a queue or topic 'nothing' open: " said
    "$FERRY" recv lonely >got &
    for _ in {1..200}; do
        status_of 1 "${ferry[@]}" route lonely >out 2>said
        [ -s out ] && break
        sleep 0.05
    done
    has 'senders 0, receivers 1, links 0' out
    status_of 1 "${ferry[@]}" route nothing >out 2>said
    has "nobody on this machine has a queue or topic 'nothing' open" said
}

test_that "the host is measured once, and shown with its reasons" the_host_is_measured_once_and_shown_with_its_reasons
test_that "a given profile is believed, and a bad one is told" a_given_profile_is_believed_and_a_bad_one_is_told
test_that "a channel's links are shown with way and reasons" a_channels_links_are_shown_with_way_and_reasons
test_that "a channel that nobody has open is told" a_channel_that_nobody_has_open_is_told
all_done
