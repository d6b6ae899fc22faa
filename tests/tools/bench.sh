#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# `ferry bench region`, `cell`, `buffer`, `snapshot`, `rpc`, `peers`, `lock`, `large`: that they run, and which figures they give. How
# fast anything is nobody can tell from a test.
# shellcheck source=harness
. "$(dirname "$0")/harness"

# measured NUMBER FIELD... -- ARGUMENT...: runs a benchmark for a moment. It must write NUMBER lines, each of them a JSON
# object with the common fields; the FIELDs, in some of the lines, must be numbers above zero. (On a machine that stands
# still a ratio may round to zero, and somebody may have no share.)
measured() {
    local lines=$1 fields=()
    shift
    while [ "$1" != -- ]; do
        fields+=("$1")
        shift
    done
    shift
    mkdir -p space
    TMPDIR=$PWD/space "${ferry[@]}" bench "$@" --seconds 0.02 --json >out 2>said || { cat said; fail "ferry bench $*"; }
    python3 - "$lines" "${fields[@]}" <<'PYTHON'
import json, sys
rows = [json.loads(line) for line in open("out")]
common = ["bench", "between", "wait", "processes", "limit_name", "limit_spread", "disturbed", "repeats"]
wrong = [f"there are {len(rows)} lines"] if len(rows) != int(sys.argv[1]) else []
wrong += [f"{name} is missing in {row}" for row in rows for name in common if name not in row]
for name in sys.argv[2:]:
    values = [row[name] for row in rows if name in row]
    least = 0 if "ratio" in name or "share" in name else 1e-4
    if not values or not all(isinstance(value, (int, float)) and value >= least for value in values):
        wrong.append(f"{name} is {values}")
sys.exit("\n".join(wrong) or None)
PYTHON
    [ -z "$(ls space)" ] || fail "something is left: $(ls space)"
}

# rows_show EXPRESSION: it must hold for `rows`, the lines of the run before
rows_show() {
    python3 -c 'import json, sys
rows = [json.loads(line) for line in open("out")]
sys.exit(0 if eval(sys.argv[1]) else repr(rows))' "$1"
}

region=(least_size most_size live ops_per_s pair_ns longest_alloc_ns limit_ns ratio work_ns)

blocks_of_a_region_are_measured() {
    measured 4 "${region[@]}" -- region --live 100
    rows_show '[r["pattern"] for r in rows] == ["lifo", "random"] * 2'
    rows_show '[r["processes"] for r in rows] == [1, 1, 2, 2]'
    rows_show '["malloc" in r["limit_name"] for r in rows] == [True, True, False, False]'
    rows_show 'not any("ratio_boost" in r for r in rows)'
    measured 1 "${region[@]}" -- region --threads 2 --pattern random --size 4KiB --live 50
    rows_show 'rows[0]["between"] == "threads" and rows[0]["least_size"] == rows[0]["most_size"] == 4096'
    rows_show '"malloc" in rows[0]["limit_name"]'
}

a_peer_that_was_not_built_is_told() {
    local library
    library=$(dirname "$FERRY")
    cp "$FERRY" ferry
    LD_LIBRARY_PATH=$library status_of 1 timeout 60 ./ferry bench region --peer boost >out 2>said
    [ ! -s out ] || fail 'it measured something'
    has 'libboost-dev' said
    [ -e "$library/bench-peers/boost.so" ] || return 0
    measured 2 boost_ns ratio_boost -- region --processes 2 --peer boost --live 100
}

# One message of this size takes longer than a slice of so short a run.
what_takes_longer_than_a_slice_is_measured() {
    "${ferry[@]}" bench large --size 64MiB --touch whole --seconds 0.02 --json >out 2>said || { cat said; fail 'it failed'; }
    rows_show 'len(rows) == 1 and rows[0]["ns_per_msg"] > 0 and rows[0]["limit_ns"] > 0'
}

# Beside many subscribers, and beside one that stands still and takes only the newest, of all and of each tag.
what_subscribers_cost_their_publisher_is_measured() {
    TMPDIR=$PWD "${ferry[@]}" bench throughput --kind topic --receivers 3 --seconds 0.02 --json >out 2>said ||
        { cat said; fail 'it failed'; }
    rows_show 'all(rows[0]["cpu_ns_" + n] > 0 for n in ["per_msg", "per_msg_one", "newest", "tagged", "per_tag"])'
    rows_show 'all(rows[0][name] > 0 for name in ["cpu_ratio", "cpu_ratio_newest", "cpu_ratio_per_tag"])'
}

# What the machine itself takes away for longest is told beside the longest waits.
a_lock_is_measured() {
    local fields=(ops_per_s ratio longest_wait_ns limit_longest_wait_ns p9999_wait_ns limit_p9999_wait_ns pause_ns)
    measured 1 "${fields[@]}" plain_ops_per_s -- lock
    rows_show 'rows[0]["worst_wait_ns"] >= rows[0]["longest_wait_ns"]'
    rows_show 'rows[0]["limit_worst_wait_ns"] >= rows[0]["limit_longest_wait_ns"]'
    rows_show 'rows[0]["worst_pause_ns"] >= rows[0]["pause_ns"]'
    rows_show 'all(rows[0][name] >= 0 for name in ["long_waits_per_s", "limit_long_waits_per_s", "long_pauses_per_s"])'
    measured 1 ops_per_s longest_wait_ns worst_wait_ns bare_ns -- event
    rows_show 'rows[0]["worst_wait_ns"] >= rows[0]["longest_wait_ns"]'
}

a_cell_is_measured() {
    measured 4 size gets_per_s get_ns longest_get_ns limit_ns get_ratio puts_per_s put_ratio seen_ratio -- cell
    rows_show '[r["work"] for r in rows] == ["get", "put", "beside", "seen"]'
    rows_show '[r["processes"] for r in rows] == [1, 1, 2, 2]'
    measured 4 get_ratio seen_ratio -- cell --size 10000 --between threads --wait block
}

a_bounded_buffer_is_measured() {
    local fields=(producers consumers size slots items_per_s smallest_share limit_items_per_s ratio)
    measured 2 "${fields[@]}" -- buffer
    rows_show '[r["processes"] for r in rows] == [2, 8]'
    measured 1 "${fields[@]}" -- buffer --threads 5 --size 100 --slots 1
    rows_show '(rows[0]["producers"], rows[0]["consumers"], rows[0]["slots"]) == (2, 3, 1)'
}

versions_of_a_published_region_are_measured() {
    local fields=(size dirty publish_ns copied_bytes limit_ns ratio seen_ns versions viewed buffers)
    measured 2 "${fields[@]}" -- snapshot --size 1MiB --dirty 2%
    rows_show '[r["reader"] for r in rows] == ["looks", "verifies"]'
    rows_show 'all(r["dirty"] == 0.02 and r["scatter"] == "page" for r in rows)'
    rows_show 'all(r["copied_bytes"] < r["size"] for r in rows)'
    measured 2 "${fields[@]}" -- snapshot --size 256KiB --dirty 100% --scatter item --between threads
    rows_show 'all(r["dirty"] == 1 and r["copied_bytes"] >= 0.9 * r["size"] for r in rows)'
}

calls_are_measured() {
    local fields=(size outstanding clients servers p50_ns p99_ns p999_ns calls_per_s limit_ns limit_per_s ratio bare_ns)
    local peer library
    library=$(dirname "$FERRY")
    measured 1 "${fields[@]}" socket_ns times_socket -- rpc --size 64 --method echo
    rows_show 'rows[0]["between"] == "processes" and rows[0]["outstanding"] == rows[0]["clients"] == 1'
    rows_show 'rows[0]["idle_cpu_ms"] >= 0 and rows[0]["waiting_cpu_ms"] >= 0'
    for peer in grpc capnp; do
        if [ -e "$library/bench-peers/$peer.so" ]; then
            rows_show "rows[0]['${peer}_ns'] > 0 and rows[0]['times_$peer'] > 0"
        else
            rows_show "'${peer}_ns' not in rows[0]"
        fi
    done
    measured 1 "${fields[@]}" -- rpc --wait spin --outstanding 16 --between threads
    rows_show '"socket_ns" not in rows[0] and "idle_cpu_ms" not in rows[0] and rows[0]["outstanding"] == 16'
    measured 1 "${fields[@]}" -- rpc --wait block --method take --size 100000 --outstanding 3
    rows_show 'rows[0]["method"] == "take" and rows[0]["size"] == 100000'
    measured 1 "${fields[@]}" -- rpc --clients 7 --servers 2 --peers none
    rows_show 'rows[0]["clients"] == 7 and rows[0]["processes"] >= 3'
    measured 1 "${fields[@]}" -- rpc --wait adaptive --between threads --clients 5 --outstanding 2 --servers 2
}

# Beside a command that has one other library at most, since each costs its time; the others are told to be missing.
others_are_measured_or_told_to_be_missing() {
    local library module built=''
    library=$(dirname "$FERRY")
    cp "$FERRY" ferry
    mkdir bench-peers
    for module in nng zeromq ucx; do
        if [ -e "$library/bench-peers/$module.so" ]; then
            built=$module
            ln -s "$library/bench-peers/$module.so" bench-peers/
            break
        fi
    done
    LD_LIBRARY_PATH=$library TMPDIR=$PWD timeout 100 ./ferry bench peers --seconds 0.01 --json >out 2>said ||
        { cat said; fail 'ferry bench peers'; }
    rows_show '[r["peer"] for r in rows][:6] == ["Ferry"] * 3 + ["pipe", "UNIX socket", "POSIX queue"]'
    rows_show '[r["wait"] for r in rows][:4] == ["adaptive", "spin", "block", "block"]'
    rows_show 'all(r["measured"] and 0 < r["p50_ns"] <= r["p99_ns"] <= r["p999_ns"] for r in rows[:6])'
    rows_show 'all(r["msgs_per_s_64"] > 0 and r["msgs_per_s_1024"] > 0 and r["idle_cpu_ms"] >= 0 for r in rows[:6])'
    rows_show 'all(r["msgs_per_s_65536"] > 0 and r["msgs_per_s_1048576"] > 0 for r in rows[:5])'
    rows_show 'rows[5]["msgs_per_s_1048576"] is None'
    rows_show 'all(r["setup"] and r["machine"] and r["date"] for r in rows)'
    rows_show 'len(rows) >= 9 and all("package" in r or r["p50_ns"] > 0 for r in rows[6:])'
    if [ -n "$built" ]; then
        rows_show 'any(r["measured"] for r in rows[6:])'
    else
        has 'nng is not compared: it was not built; install libnng-dev' said
    fi
    has 'iceoryx is not compared: it was not built; install' said
}

the_comparison_is_drawn() {
    cat >figures.json <<'JSON'
{"bench":"latency","p50_ns":1}
{"bench":"peers","peer":"Ferry","wait":"spin","machine":"A & B <C>, 2 processors","date":"2025-11-01","measured":true,"p50_ns":99.9996,"p99_ns":350,"p999_ns":1600,"msgs_per_s_64":4e7,"msgs_per_s_1024":5e6,"msgs_per_s_65536":1e5,"msgs_per_s_1048576":9000,"idle_cpu_ms":2000,"idle_ns":2e9,"setup":"nothing"}
{"bench":"peers","peer":"Ferry","wait":"block","machine":"A & B <C>, 2 processors","date":"2025-11-01","measured":true,"p50_ns":41000,"p99_ns":90000,"p999_ns":1e6,"msgs_per_s_64":4e7,"msgs_per_s_1024":5e6,"msgs_per_s_65536":1e5,"msgs_per_s_1048576":9000,"idle_cpu_ms":0,"idle_ns":2e9,"setup":"nothing"}
{"bench":"peers","peer":"POSIX queue","wait":"block","machine":"A & B <C>, 2 processors","date":"2025-11-01","measured":true,"p50_ns":42000,"p99_ns":95000,"p999_ns":1e9,"msgs_per_s_64":3e5,"msgs_per_s_1024":3e5,"msgs_per_s_65536":null,"msgs_per_s_1048576":null,"idle_cpu_ms":0.05,"idle_ns":2e9,"setup":"two names"}
{"bench":"peers","peer":"nng","wait":"block","machine":"A & B <C>, 2 processors","date":"2025-11-01","measured":false,"package":"libnng-dev","p50_ns":null,"p99_ns":null,"p999_ns":null,"msgs_per_s_64":null,"msgs_per_s_1024":null,"msgs_per_s_65536":null,"msgs_per_s_1048576":null,"idle_cpu_ms":null,"idle_ns":2e9,"setup":"a socket's name"}
JSON
    "$here/../../bench-peers/plot.py" figures.json drawn
    python3 - <<'PYTHON'
import xml.etree.ElementTree as tree

common = ["Ferry, spin", "Ferry, block", "POSIX queue", "A & B <C>, 2 processors; 2025-11-01"]
due = {
    "latency": ["100 ns", "350 ns", "1.60 µs", "41.0 µs", "1.00 s", "p99.9 ( | )"],
    "throughput": ["64 B, messages", "1 KiB, messages", "64 KiB, bytes", "1 MiB, bytes", "40.0 M/s", "9.44 GB/s"],
    "waiting": ["100 %", "0.001 %", "0.003 %", "two names", "nothing"],
}
for name, labels in due.items():
    root = tree.parse(f"drawn/peers-{name}.svg").getroot()
    texts = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    width, height = float(root.get("width")), float(root.get("height"))
    missing = [label for label in labels + common + ["nng"] if not any(label in text for text in texts)]
    assert not missing, f"{name} lacks {missing}: {texts}"
    for element in root.iter():
        x, y = float(element.get("x", 0)), float(element.get("y", 0))
        assert 0 <= x <= width and 0 <= y <= height, f"{name}: {element.attrib} lies outside"
PYTHON
    echo '{"bench":"latency"}' >other.json
    status_of 1 "$here/../../bench-peers/plot.py" other.json drawn 2>said
    has 'nothing of `ferry bench peers --json`' said
}

the_table_names_the_targets() {
    TMPDIR=$PWD "${ferry[@]}" bench snapshot --size 1MiB --dirty 1% --seconds 0.02 >out
    grep -Eq '^snapshot,.* ratio .* (met|missed)' out || fail "no target: $(cat out)"
}

# wrong TEXT ARGUMENT...: a usage error that says so, and nothing on standard output
wrong() {
    local text=$1
    shift
    status_of 2 "${ferry[@]}" bench "$@" >out 2>said
    [ ! -s out ] || fail "something on standard output: ferry bench $*"
    has "$text" said
}

what_cannot_be_measured_is_told() {
    wrong "did you mean 'region'" regoin
    wrong "there is no option --pattern" cell --pattern lifo
    wrong "--size 8 is out of range" region --size 8
    wrong "--live 0 is out of range" region --live 0
    wrong "more than 1 GiB" region --live 1000000 --size 1MiB
    wrong "not one of its values" region --peer other
    wrong "--processes 1 is out of range" buffer --processes 1
    wrong "--slots 0 is out of range" buffer --slots 0
    wrong "--size 1024 is out of range" snapshot --size 1KiB
    for share in 0 0% 101% x -1% 1%% '' nan; do wrong "is not a share" snapshot --dirty "$share"; done
    wrong "there is no option --same-core" snapshot --same-core
    wrong "--outstanding 0 is out of range" rpc --outstanding 0
    wrong "--clients 10001 is out of range" rpc --clients 10001
    wrong "--servers 0 is out of range" rpc --servers 0
    wrong "--size 7 is out of range" rpc --size 7
    wrong "not one of its values" rpc --method other
    wrong "there is no option --wait" peers --wait spin
    wrong "is not a time to measure" peers --seconds 0
}

every_part_has_help_and_its_options_are_in_the_manual_page() {
    local part option page=$here/../../docs/man/ferry-bench.1
    for part in region cell buffer snapshot rpc peers; do
        "${ferry[@]}" bench "$part" --help >out
        grep -q "^Usage: ferry bench $part" out
        has 'Examples:' out
        awk 'length > 110 { exit 1 }' out || fail "a line of the help of $part is too long"
        grep -q "^\.Ss $part\$" "$page" || fail "ferry-bench.1 does not tell of $part"
        grep -oE '^ +(-., )?--[a-z-]+' out | grep -oE '\-\-[a-z-]+' | sed 's/^--//' >options
        while read -r option; do
            [ "$option" = help ] || grep -qE "Fl Fl $option( |\$)" "$page" "${page%-bench.1}.1" ||
                fail "ferry-bench.1 does not tell of --$option"
        done <options
    done
}

test_that "blocks of a region are measured" blocks_of_a_region_are_measured
test_that "a peer that was not built is told" a_peer_that_was_not_built_is_told
test_that "what takes longer than a slice is measured" what_takes_longer_than_a_slice_is_measured
test_that "what subscribers cost their publisher is measured" what_subscribers_cost_their_publisher_is_measured
test_that "a lock is measured" a_lock_is_measured
test_that "a cell is measured" a_cell_is_measured
test_that "a bounded buffer is measured" a_bounded_buffer_is_measured
test_that "versions of a published region are measured" versions_of_a_published_region_are_measured
test_that "calls are measured" calls_are_measured
test_that "others are measured, or told to be missing" others_are_measured_or_told_to_be_missing
test_that "the comparison is drawn" the_comparison_is_drawn
test_that "the table names the targets" the_table_names_the_targets
test_that "what cannot be measured is told" what_cannot_be_measured_is_told
test_that "every part has help, and its options are in the manual page" every_part_has_help_and_its_options_are_in_the_manual_page
all_done
