#!/bin/sh
# SPDX-License-Identifier: MIT
#
# check.sh SERVER CLIENT CROWD - the service from the command line, a server that is stopped for a while, and a crowd. TAP.
set -u
# shellcheck source=../crew/tap.sh
. "$(dirname "$0")/../crew/tap.sh"
key_value=$2
crowd=$3

# What CLIENT prints to standard output is TEXT, and its status is STATUS.
says() { # STATUS TEXT [ARGUMENT]...
    wanted=$1
    text=$2
    shift 2
    "$key_value" "$@" >"$dir/out" 2>"$dir/said"
    [ $? = "$wanted" ] && [ "$(cat "$dir/out")" = "$text" ]
}

# TEXT comes in FILE before long.
comes() { # TEXT FILE
    for _ in $(seq 400); do
        grep -q "$1" "$2" && return 0
        sleep 0.05
    done
    return 1
}

plan 12

says 3 "" get name && grep -q "nobody serves" "$dir/said"
verdict $? "without a server, the client is told so"

"$1" 3 >"$dir/server" 2>&1 &
server=$!
trap 'trap "" INT TERM; kill -CONT $server; kill $server; wait; rm -rf "$dir"' EXIT
comes "threads serve" "$dir/server"

says 0 1 put name Anna && says 0 Anna get name && says 0 2 put name Berta && says 0 Berta get name
verdict $? "what was put is got"
says 1 "" get nobody && grep -q 'no key "nobody"' "$dir/said" && says 1 "" remove nobody
verdict $? "that there is no such key is an error of the service's own"
says 0 3 put-if 2 name Clara && says 1 "" put-if 2 name Dora && grep -q "has version 3" "$dir/said" &&
    says 1 "" put-if 0 name Dora && says 0 Clara get name && says 0 4 put-if 0 new Emma && says 0 4 version new
verdict $? "a value is set if its version is the expected one"
says 0 "" --one-way put later Frieda && says 0 Frieda get later
verdict $? "a value that was put one way is there when the client has ended"
says 0 "later
name
new" list && says 0 "name
new" list n && says 0 "" list x && says 0 "" remove new && says 0 "name" list n
verdict $? "keys are listed by prefix"
head -c 3000000 /dev/urandom >"$dir/large"
"$key_value" put large - <"$dir/large" >"$dir/out" && "$key_value" get large >"$dir/out" && cmp "$dir/large" "$dir/out" >&2
verdict $? "a value of 3 MB comes back as it was"

# A client that is linked already: one that comes now would not find the stopped server.
mkfifo "$dir/lines"
"$key_value" --timeout 20 <"$dir/lines" >"$dir/out" 2>"$dir/said" &
client=$!
exec 3>"$dir/lines"
echo "get name" >&3
comes Clara "$dir/out" && kill -STOP $server
# Its threads stop one after the other.
until [ -z "$(cut -d ' ' -f 3 /proc/$server/task/*/stat | grep -v T)" ]; do sleep 0.01; done
printf '%s\n' "timeout 0.2" "put name Greta" >&3
comes "has passed" "$dir/said"
verdict $? "a call ends when its time has passed, whatever its server does"
kill -CONT $server
printf '%s\n' "timeout 20" "put name2 Hanna" "get name" "get name2" >&3
exec 3>&-
wait $client
[ $? = 3 ] && [ "$(tail -n 2 "$dir/out")" = "Clara
Hanna" ]
verdict $? "and is not begun when that goes on"

kill $server
wait $server && grep -q "calls, of which" "$dir/server"
verdict $? "the server ends in good order"
trap 'trap "" INT TERM; rm -rf "$dir"' EXIT

does_well "$crowd" --clients 16 && grep -q "16 clients, processes.* 1600 values were right" "$dir/out"
verdict $? "every value of 16 processes is right"
does_well "$crowd" --threads --clients 24 && grep -q "24 clients, threads.* 2400 values were right" "$dir/out"
verdict $? "every value of 24 threads is right"
all_well
