#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# Builds and tests three variants of Ferry: as users get it, under AddressSanitizer with UBSan, and under
# ThreadSanitizer (both with assertions on). The last line says "N passed, N failed"; the exit status agrees.
#
# Only the first build has the machine for itself. The others take what the tests leave of the processors, which is much:
# many tests wait most of their time.
#
# Whatever happens, the run ends within its time: a step gets what is left of it, and what did not run has failed.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 125
exec </dev/null

limit_seconds=${FERRY_TEST_SECONDS:-1200} # twice what two quick cores need
# Every process that the tests start carries this mark in its environment: survivors are found whoever their parent is.
mark="$$-$(date +%s%N)"
# The tests make thousands of files and sockets, which cost a disk's file system a fifth of their system time.
tmp=${TMPDIR:-/tmp}
[ -z "${TMPDIR:-}" ] && [ -w /dev/shm ] && [ "$(df --output=avail -BM /dev/shm | tail -1 | tr -dc 0-9)" -ge 4096 ] && tmp=/dev/shm
FERRY_TEST_TMP=$(mktemp -d "$tmp/frytest.XXXXXX") || exit 125
export FERRY_TEST_TMP
unset FERRY_DIR FERRY_SPACE FERRY_CHECK
passed=0
failed=0
declare -A builder # DIRECTORY: the process that builds it
newest=           # the one that was started last
pace=()           # what comes before the commands of a build

survivors() {
    local environ
    for environ in $(grep -lzxF "FERRY_TEST_RUN=$mark" /proc/[0-9]*/environ 2>/dev/null); do
        basename "$(dirname "$environ")"
    done
}

clean_up() {
    local pid
    for pid in "${builder[@]}"; do kill -KILL "$pid" 2>/dev/null; done
    for pid in $(survivors); do kill -KILL "$pid" 2>/dev/null; done
    rm -rf "$FERRY_TEST_TMP"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

left() {
    local seconds=$((limit_seconds - SECONDS))
    echo $((seconds > 1 ? seconds : 1))
}

say() {
    printf '\n== %s (%d s of %d) ==\n' "$1" "$SECONDS" "$limit_seconds"
}

verdict() { # STATUS SENTENCE
    if [ "$1" = 0 ]; then
        passed=$((passed + 1))
        echo "ok - $2"
    else
        failed=$((failed + 1))
        echo "FAILED - $2"
    fi
}

# What this user could have left on the machine; compared before and after.
traces() {
    { find /dev/shm -maxdepth 1 -user "$(id -u)" -printf '%p\n'; find /tmp -maxdepth 1 -name 'ferry-*' -user "$(id -u)" -printf '%p\n'; } \
        2>/dev/null | LC_ALL=C sort
}

configure() { # DIRECTORY MESON-OPTIONS...
    local build=$1
    shift
    if [ -f "$build/build.ninja" ]; then
        timeout -k 5 "$(left)" "${pace[@]}" meson configure "$build" -Dtests=true "$@" >/dev/null &&
            timeout -k 5 "$(left)" "${pace[@]}" meson setup --reconfigure "$build" >/dev/null
    else
        timeout -k 5 "$(left)" "${pace[@]}" meson setup "$build" -Dtests=true "$@"
    fi
}

# Whoever works at leisure gives way to all others: each process of his, and his session as a whole.
leisure=(setsid bash -c '
    { echo 19 >/proc/self/autogroup; } 2>/dev/null
    chrt -i 0 true 2>/dev/null && exec chrt -i 0 "$@"
    exec nice -n 19 "$@"' leisure)

# Now that it is waited for, what was begun at leisure goes on as all others do.
hurry() {
    local pid
    for pid in $(survivors); do
        chrt -o -p 0 "$pid"
        echo 0 >"/proc/$pid/autogroup"
    done 2>/dev/null >&2
}

# Builds a variant in the background, after the one that was started before it. What comes after the first takes the
# plug-in of protoc from that: it has no sanitizer in it, and takes long.
start_build() { # DIRECTORY TARGET MESON-OPTIONS...
    local build=$1 target=$2 plugin=
    shift 2
    mkdir -p "$build"
    (
        trap - EXIT INT TERM
        export FERRY_TEST_RUN=$mark
        if [ -n "$newest" ]; then
            tail --pid="$newest" -f /dev/null
            [ ! -x build/protoc-gen-ferry ] || plugin=$PWD/build/protoc-gen-ferry
        fi
        configure "$build" "$@" "-Dprotoc_gen_ferry=$plugin" &&
            timeout -k 5 "$(left)" "${pace[@]}" meson compile -C "$build" --ninja-args="$target" 2>&1 | grep -v '^\[[0-9]*/[0-9]*\] [CL]'
        [ "${PIPESTATUS[0]}" = 0 ]
    ) >"$build/build.log" 2>&1 &
    newest=$!
    builder[$build]=$!
}

variant() { # DIRECTORY SENTENCE TIMEOUT-FACTOR
    local build=$1 name=$2 factor=$3 wrapper=() suites=() processes=$(($(nproc) + 2)) counts status
    say "$name: build"
    while kill -0 "${builder[$build]}" 2>/dev/null; do
        hurry
        sleep 0.5
    done
    wait "${builder[$build]}"
    status=$?
    unset "builder[$build]"
    cat "$build/build.log"
    verdict "$status" "$name builds without a warning"
    [ "$status" = 0 ] || return

    say "$name: tests"
    # gcc 12's ThreadSanitizer cannot place its shadow memory on kernels that randomise addresses over 32 bits.
    [ "$build" = build-tsan ] && setarch -R true 2>/dev/null && wrapper=(setarch -R)
    # What these run has its threads tested by the behaviour tests, in less time.
    [ "$build" = build-tsan ] && suites=(--no-suite examples --no-suite proto)
    # Beside the first, others are built.
    [ "$build" = build ] || processes=$((processes + 1))
    rm -f "$build"/meson-logs/testlog*
    timeout -k 10 "$(left)" "${wrapper[@]}" env FERRY_TEST_RUN="$mark" meson test -C "$build" "${suites[@]}" --no-rebuild --timeout-multiplier "$factor" \
        --num-processes "$processes" 2>&1 | sed -u '/^ninja: /d;/^$/d'
    counts=$(python3 tests/count.py "$build" "$name" "${suites[@]}")
    passed=$((passed + ${counts% *}))
    failed=$((failed + ${counts#* }))
}

before=$(traces)
# -g1: files and lines, for what the sanitizers say. That undefined behaviour ends the program needs less code than going on.
checked=(-Db_ndebug=false -Db_lto=false -Doptimization=1 -Db_lundef=false)
asan=("-Db_sanitize=address,undefined" "${checked[@]}" "-Dc_args=-g1 -fno-sanitize-recover=undefined")
tsan=(-Db_sanitize=thread "${checked[@]}" -Dc_args=-g1)
start_build build all -Db_lto=true
pace=("${leisure[@]}")
start_build build-asan meson-test-prereq "${asan[@]}"
start_build build-tsan meson-test-prereq "${tsan[@]}"
variant build "release" 1
variant build-asan "address and undefined" 2
variant build-tsan "thread" 3

say "what is left behind"
remaining=$(survivors)
[ -z "$remaining" ]; verdict $? "no process of the tests is left${remaining:+: $remaining}"
remaining=$(comm -13 <(echo "$before") <(traces))
[ -z "$remaining" ]; verdict $? "nothing is left in /dev/shm and /tmp${remaining:+: $remaining}"
remaining=$(find "$FERRY_TEST_TMP" -mindepth 1)
[ -z "$remaining" ]; verdict $? "the tests' own directory is empty${remaining:+: $remaining}"
echo "the run took $SECONDS s; two quick cores need less than 600"

printf '\n%d passed, %d failed\n' "$passed" "$failed"
[ "$failed" = 0 ]
