#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# run.sh [BUILD-DIRECTORY] - Ferry's main demonstration; `make demo` runs it.
#
# Counts the words of text that is on every Debian machine, ten times: with coreutils, with Ferry's pipeline
# (examples/wordcount) made of threads and made of processes, each by queues, by a shared region and by remote procedure
# calls, with its workers on another machine, by queues and by calls, and with the command line tool in a shell pipeline.
# The pipeline's result is asked from it through a service. All must agree byte for byte. Then shows the copies of a
# message live (examples/two-copies).
#
# The two machines are two network namespaces with addresses of their own, joined by a veth pair, and a NATS server on the
# first one; where the user may not make namespaces, two groups of processes that have nothing in common but the server.
# Exit status 0 when everything agrees, 1 when something does not. Leaves nothing running and nothing behind.
set -eu
LC_ALL=C # bytes are bytes, and `sort` compares them
export LC_ALL

root=$(cd "$(dirname "$0")/../.." && pwd)
build=${1:-$root/build}
quota_kib=512 # of each sender
producers=2
workers=2
at_least_lines=1000000
patience=60 # seconds, for every single step: a fault ends in a message, not in a hanging terminal
patience_between_machines=600
PATH=$PATH:/usr/sbin:/sbin # where `ip` and `nats-server` may be

for program in examples/wordcount examples/two-copies ferry; do
    if [ ! -x "$build/$program" ]; then
        echo "run.sh: $build/$program is not there; \`make build\` makes it" >&2
        exit 2
    fi
done

work=$(mktemp -d "${TMPDIR:-/tmp}/ferry-demo.XXXXXX")
jobs_started=()
machines_started=() # what keeps the namespaces, which end with it, and the server

# Ends process groups: whole pipelines, each of which is one. Returns when nobody is left in them.
end_all() { # GROUP...
    local group tries
    for group in "$@"; do
        kill -TERM -- "-$group" 2>/dev/null || true
    done
    for group in "$@"; do
        for ((tries = 0; tries < 200; tries++)); do
            kill -0 -- "-$group" 2>/dev/null || break
            sleep 0.05
        done
        kill -KILL -- "-$group" 2>/dev/null || true
        wait "$group" 2>/dev/null || true
    done
}

clean_up() {
    trap '' INT TERM HUP # a second Ctrl-C must not stop the cleaning
    end_all "${jobs_started[@]}"
    end_all "${machines_started[@]}"
    rm -rf "$work"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
export FERRY_DIR="$work/spaces" TMPDIR="$work"
mkdir -m 700 "$FERRY_DIR"

say() { printf '\n== %s\n' "$*"; }
now_ms() { echo $(($(date +%s%N) / 1000000)); }
as_seconds() { printf '%d.%02d s' $(($1 / 1000)) $(($1 % 1000 / 10)); }
as_megabytes() { printf '%d.%d MB' $(($1 / 1000000)) $(($1 / 100000 % 10)); }

# Prints, 0-terminated, the whole files below PATHS that find's EXPRESSION selects, up to BYTES in all.
choose() { # BYTES EXPRESSION -- PATH...
    local most=$1 total=0 size path expression=()
    shift
    while [ "$1" != -- ]; do
        expression+=("$1")
        shift
    done
    shift
    { find "$@" -type f -readable "${expression[@]}" -printf '%s\t%p\0' 2>/dev/null || true; } | sort -z -t $'\t' -k 2 |
        while IFS=$'\t' read -r -d '' size path; do
            if ((total + size <= most)); then
                total=$((total + size))
                printf '%s\0' "$path"
            fi
        done
}

# The input: first the list of files, then their bytes, once, so that all of them read the same whatever the machine does.
take_snapshot() {
    say "The text: what this machine has under /usr"
    local pictures=(! -name '*.gz' ! -name '*.png' ! -name '*.jpg' ! -name '*.svgz' ! -name '*.pdf' ! -name '*.bz2' ! -name '*.xz' ! -name '*.zip')
    choose 28000000 "${pictures[@]}" -- /usr/share/common-licenses /usr/share/doc >"$work/plain"
    choose 28000000 -- /usr/include >>"$work/plain"
    choose 2000000 -name '*.gz' ! -name '*.svgz' -- /usr/share/doc >"$work/packed"
    choose 6000000 -name '*.p[lmy]' -- /usr/share/perl /usr/share/perl5 /usr/lib/python3 /usr/lib/python3.* >>"$work/plain"
    xargs -0 -r cat -- <"$work/plain" >"$work/input" 2>/dev/null || true # a file may have vanished meanwhile
    xargs -0 -r zcat -f -- <"$work/packed" >>"$work/input" 2>/dev/null || true

    lines=$(wc -l <"$work/input")
    if [ "$lines" -eq 0 ]; then
        echo "run.sh: there is no readable text below /usr/share/doc, /usr/include and /usr/lib/python3" >&2
        exit 1
    fi
    # A machine with little text reads it several times; coreutils too.
    local passes=$(((at_least_lines + lines - 1) / lines)) i
    mv "$work/input" "$work/once"
    for ((i = 0; i < passes; i++)); do cat "$work/once"; done >"$work/input"
    rm "$work/once"
    lines=$(wc -l <"$work/input")
    bytes=$(stat -c %s "$work/input")
    local files=$(($(tr -cd '\0' <"$work/plain" | wc -c) + $(tr -cd '\0' <"$work/packed" | wc -c)))
    echo "$files files, read $passes time(s): $(as_megabytes "$bytes"), $lines lines; each line will be one message, or one call" \
        "(between machines a call carries a page of them)."
    local held=$((quota_kib * 1024 * producers))
    echo "The $producers producers may hold $quota_kib KiB each in messages that nobody has released yet;" \
        "together they send $((bytes / held)) times as much."
    if [ $((bytes / held)) -lt 10 ]; then
        echo "run.sh: the text is too small to show that the quotas hold" >&2
        exit 1
    fi
}

# tr leaves an empty first line when the text does not begin with a letter; that is no word.
count_with_coreutils() {
    say "coreutils: tr -cs A-Za-z '\\n' | tr A-Z a-z | sort | uniq -c"
    local began
    began=$(now_ms)
    (
        set -o pipefail
        tr -cs A-Za-z '\n' <"$work/input" | tr A-Z a-z | sort | uniq -c | awk 'NF == 2' >"$work/coreutils"
    )
    coreutils_ms=$(($(now_ms) - began))
    echo "$(as_seconds "$coreutils_ms"), $(wc -l <"$work/coreutils") different words; the most frequent:" \
        "$(sort -rn "$work/coreutils" | awk 'NR <= 6 { printf "%s%s %d", (NR > 1 ? ", " : ""), $2, $1 }')"
}

compare() { # RESULT
    if cmp "$work/coreutils" "$work/$1"; then
        echo "equal, byte for byte"
        printf yes >"$work/$1.equal"
    else
        printf NO >"$work/$1.equal"
        status=1
    fi
}

count_with() { # threads|processes queue|region|calls
    local name="$1-$2" began
    say "Ferry with $1, by $2: wordcount --with $1 --by $2 --producers $producers --workers $workers" \
        "--quota ${quota_kib}KiB"
    began=$(now_ms)
    if ! timeout --foreground "$patience" "$build/examples/wordcount" --with "$1" --by "$2" --producers "$producers" \
        --workers "$workers" --quota "${quota_kib}KiB" --figures "$work/$name.json" "$work/input" >"$work/$name"; then
        echo "run.sh: wordcount with $1 by $2 failed" >&2
        exit 1
    fi
    local took=$(($(now_ms) - began))
    echo "$(as_seconds "$took") in all, of which the lines flowed $(figure "$name" seconds) s"
    compare "$name"
    printf '%s' "$took" >"$work/$name.ms"
}

# Starts a process that does nothing but keep a network namespace of its own, and ends with this script; COMMAND makes the
# namespace. Sets `keeper`.
keep_namespace() { # COMMAND...
    local i
    set -m
    "$@" setpriv --pdeathsig KILL sleep infinity 2>/dev/null &
    set +m
    keeper=$!
    machines_started+=("$keeper")
    for ((i = 0; i < 100; i++)); do
        [ "$(cat "/proc/$keeper/comm" 2>/dev/null)" != sleep ] || return 0
        kill -0 "$keeper" 2>/dev/null || return 1
        sleep 0.02
    done
    return 1
}

# Makes two namespaces and joins them, or fails and says why in `hindrance`. Sets what runs a command in each.
make_namespaces() {
    local first=(unshare --net) user=()
    hindrance="there is no command \`ip\` (package iproute2)"
    command -v ip >/dev/null || return 1
    hindrance="this user may not make network namespaces"
    if ! unshare --net true 2>/dev/null; then
        unshare --user --map-root-user --net true 2>/dev/null || return 1
        first=(unshare --user --map-root-user --net)
        user=(--user --preserve-credentials)
    fi
    keep_namespace "${first[@]}" || return 1
    in_1=(nsenter --target "$keeper" "${user[@]}" --net)
    # The second one belongs to the same user namespace, if there is one.
    keep_namespace nsenter --target "$keeper" "${user[@]}" --net unshare --net || return 1
    in_2=(nsenter --target "$keeper" "${user[@]}" --net)
    hindrance="the kernel makes no veth pair"
    "${in_1[@]}" ip link add to-2 type veth peer name to-1 netns "$keeper" 2>/dev/null &&
        "${in_1[@]}" ip address add 192.0.2.1/24 dev to-2 && "${in_2[@]}" ip address add 192.0.2.2/24 dev to-1 &&
        "${in_1[@]}" ip link set to-2 up && "${in_2[@]}" ip link set to-1 up &&
        "${in_1[@]}" ip link set lo up && "${in_2[@]}" ip link set lo up
}

# Two machines, and a NATS server on the first one. Sets what runs a command on each, and the space that spans them.
start_machines() {
    local listen=192.0.2.1:4222
    say "Two machines"
    if make_namespaces; then
        apart=machines apart_how="network namespaces with a link between them"
        echo "two network namespaces with the addresses 192.0.2.1 and 192.0.2.2, joined by a veth pair;"
    else
        listen=127.0.0.1:0
        end_all "${machines_started[@]}"
        machines_started=()
        in_1=() in_2=()
        apart=directories apart_how="groups of processes with nothing in common but the server"
        echo "$hindrance; so two groups of processes, each with a directory of its own, that meet through the server only;"
    fi
    mkdir -m 700 "$work/machine-1" "$work/machine-2"
    on_1=("${in_1[@]}" env "FERRY_DIR=$work/machine-1") # shared memory needs a directory in common
    on_2=("${in_2[@]}" env "FERRY_DIR=$work/machine-2")
    set -m
    "${on_1[@]}" setpriv --pdeathsig TERM "$build/ferry" engine --listen "$listen" --store "$work/engine" --timeout 30s \
        >"$work/engine-url" 2>"$work/engine-says" &
    set +m
    local engine=$!
    machines_started+=("$engine")
    until [ -s "$work/engine-url" ]; do
        if ! kill -0 "$engine" 2>/dev/null; then
            cat "$work/engine-says" >&2
            echo "run.sh: ferry engine does not start" >&2
            exit 1
        fi
        sleep 0.05
    done
    space=$(cat "$work/engine-url")/wordcount
    echo "on the first one: ferry engine --listen $listen"
}

count_between_machines() { # queue|calls
    local name="machines-$1" began here there
    local command=(setpriv --pdeathsig TERM timeout --foreground "$patience_between_machines" "$build/examples/wordcount" --with processes --by "$1"
        --producers "$producers" --workers "$workers" --quota "${quota_kib}KiB" --space "$space")
    say "Ferry with machines, by $1, in the space $space"
    echo "on the first machine: wordcount --with processes --by $1 --run producers,collector,reader;" \
        "on the other one: --run workers$([ "$1" != calls ] || echo ". A call carries a page of lines.")"
    began=$(now_ms)
    set -m
    "${on_2[@]}" "${command[@]}" --run workers "$work/input" &
    there=$!
    "${on_1[@]}" "${command[@]}" --run producers,collector,reader --figures "$work/$name.json" "$work/input" >"$work/$name" &
    here=$!
    set +m
    jobs_started=("$there" "$here")
    if ! wait "$here" || ! wait "$there"; then
        echo "run.sh: wordcount with machines by $1 failed" >&2
        exit 1
    fi
    jobs_started=()
    local took=$(($(now_ms) - began))
    echo "$(as_seconds "$took") in all, of which the lines flowed $(figure "$name" seconds) s"
    compare "$name"
    printf '%s' "$took" >"$work/$name.ms"
}

end_machines() {
    end_all "${machines_started[@]}"
    machines_started=()
}

# Two shell pipelines take from one queue what one command sends. A line is whole, so their counts can be added up.
count_with_commands() {
    say "Ferry in the shell: ferry send lines <text, and $workers times: ferry recv lines | tr … | sort | uniq -c"
    local began i
    began=$(now_ms)
    set -m # every pipeline gets a process group, so that clean_up can end it
    for ((i = 0; i < workers; i++)); do
        timeout --foreground "$patience" "$build/ferry" recv lines | tee "$work/received.$i" |
            tr -cs A-Za-z '\n' | tr A-Z a-z | sort | uniq -c >"$work/part.$i" &
        jobs_started+=("$(jobs -p %%)")
    done
    set +m
    # A receiver ends when all senders that it met have ended: so all of them must be there first.
    until [ "0$("$build/ferry" ls --json 2>/dev/null | grep -o '"channel": *"lines"' | wc -l)" -ge "$workers" ]; do
        [ $(($(now_ms) - began)) -lt 10000 ] || { echo "run.sh: ferry recv did not start" >&2; exit 1; }
        sleep 0.05
    done
    timeout --foreground "$patience" "$build/ferry" send lines <"$work/input"
    wait
    jobs_started=()
    cat "$work"/part.* | awk 'NF == 2 { n[$2] += $1 } END { for (w in n) printf "%7d %s\n", n[w], w }' |
        sort -k 2 >"$work/commands"
    commands_ms=$(($(now_ms) - began))
    received=$(cat "$work"/received.* | wc -l)
    as_seconds "$commands_ms"
    echo " in all, sorting included"
    compare commands
}

figure() { # NAME KEY
    sed -n "s/^ *\"$2\": \"\{0,1\}\([^\",]*\)\"\{0,1\},\{0,1\}$/\1/p" "$work/$1.json"
}

as_time() { # NANOSECONDS
    awk -v ns="$1" 'BEGIN { if (ns < 1e6) printf "%.1f us", ns / 1e3; else printf "%.2f ms", ns / 1e6 }'
}

print_row() { printf '%-18s %-7s %10s %7s %9s %9s %10s %10s %9s  %s\n' "$@"; }

print_table() {
    say "What it came to"
    print_row distance route messages MB/s median p99 "copies" avoided time equal
    local with distance least
    for with in {threads,processes}-{queue,region,calls} machines-{queue,calls}; do
        distance=${with/-/, }
        print_row "${distance/machines/$apart}" "$(figure $with route)" "$(figure $with messages)" \
            "$(awk -v b="$(figure $with line_bytes)" -v s="$(figure $with seconds)" 'BEGIN { printf "%.0f", b / s / 1e6 }')" \
            "$(as_time "$(figure $with p50_ns)")" "$(as_time "$(figure $with p99_ns)")" \
            "$(figure $with copies_made)" "$(figure $with copies_avoided)" \
            "$(as_seconds "$(cat "$work/$with.ms")")" "$(cat "$work/$with.equal")"
        least=$at_least_lines
        [ "$with" != machines-calls ] || least=1 # pages of lines
        if [ "$(figure $with messages)" -lt "$least" ] || [ "$(figure $with line_bytes)" -ne "$bytes" ]; then
            echo "run.sh: with $with, $(figure $with messages) messages and $(figure $with line_bytes) bytes arrived," \
                "not at least $least and exactly $bytes" >&2
            status=1
        fi
    done
    print_row commands shm "$received" \
        "$(awk -v b="$bytes" -v ms="$commands_ms" 'BEGIN { printf "%.0f", b / ms / 1e3 }')" - - - - \
        "$(as_seconds "$commands_ms")" "$(cat "$work/commands.equal")"
    print_row coreutils - - "$(awk -v b="$bytes" -v ms="$coreutils_ms" 'BEGIN { printf "%.0f", b / ms / 1e3 }')" - - - - \
        "$(as_seconds "$coreutils_ms")" -
    cat <<END

The median and p99 are the times from sending a line to a worker's having it. They include the wait behind earlier
lines, up to the $((quota_kib * producers)) KiB of the quotas, and the turns that $((producers + workers + 1)) parts take on $(nproc) processor(s).
Copies by queue: each line is copied once, from the file into its sender's memory, and read there. Avoided are the second
copy of each line, and every copy of the workers' tables ($(as_megabytes "$(figure processes-queue table_bytes)") in $(figure processes-queue tables) messages), which go by pointer.
Copies by region: each line is copied three times, into an item, into the bounded buffer and out of it. Tables are added
up where they are: the words and their counts stand in the region, which all parts share.
Copies by calls: as by queue; a line (between machines, a page of lines) is the argument
of a call, a table that of another one. Each call was answered.
Between machines up to 4 MiB of a producer's lines are on their way, too, and what the kernel and the NATS server copy
is not counted. Both are on this machine, and share its processors; they are $apart_how.
However the words were counted, a client has asked for the result by calls of a service, "result".
END
}

status=0
began_all=$(now_ms)
take_snapshot
count_with_coreutils
for way in queue region calls; do
    count_with threads $way
    count_with processes $way
done
start_machines
count_between_machines queue
count_between_machines calls
end_machines
count_with_commands
print_table

say "The two copies, live: two-copies"
timeout --foreground "$patience" "$build/examples/two-copies" || status=1

say "The demonstration took $(as_seconds $(($(now_ms) - began_all))); $([ $status = 0 ] && echo "all results are equal and all claims hold" || echo "something above is NOT as it should be")."
exit $status
