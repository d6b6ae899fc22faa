#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# `ferry cell` in a space that spans machines: the server keeps the values.
# shellcheck disable=SC2031
# shellcheck source=harness
. "$(dirname "$0")/harness"
# shellcheck source=engine-lib.sh
. "$here/engine-lib.sh"
export FERRY
PATH=$PATH:/usr/sbin

# The far machine: a directory of its own.
there() {
    mkdir -p -m 0700 "$PWD/there"
    FERRY_DIR=$PWD/there "$@"
}

a_value_stays_and_is_had_elsewhere() {
    engine_space
    status_of 1 "${ferry[@]}" cell get limit 2>said
    has 'there is no cell "limit"' said
    "${ferry[@]}" cell put limit 100
    [ "$(there "${ferry[@]}" cell get limit)" = 100 ]
    [ "$(there "${ferry[@]}" cell cas limit 1 200)" = 2 ]
    status_of 1 "${ferry[@]}" cell cas limit 1 300 2>said
    has '"limit" has version 2 now' said
    "${ferry[@]}" cell put --count 3 --size 64 --at 2 prices 129.50
    "${ferry[@]}" cell ls --json >json
    json json '[(c["name"], c["count"], c["max_bytes"]) for c in d["cells"]] == [("limit", 1, 4096), ("prices", 3, 64)]'
    engine_kill_server
    engine_restart
    [ "$("${ferry[@]}" cell get limit)" = 200 ]
    there "${ferry[@]}" cell rm limit
    status_of 1 "${ferry[@]}" cell rm limit 2>said
    has 'no cell "limit"' said
    status_of 1 "${ferry[@]}" cell ls limit 2>said
}

changes_elsewhere_are_waited_for_and_watched() {
    engine_space
    "${ferry[@]}" cell put --count 2 pair first
    there "${ferry[@]}" cell wait --after 1 --timeout 20s pair >out &
    local waits=$!
    there "${ferry[@]}" cell watch --count-of-changes 2 --timeout 20s pair >watched &
    local watches=$!
    until_true has '0 first' watched
    "${ferry[@]}" cell put --at 1 pair second
    wait "$watches"
    printf '0 first\n1 second\n' | same - watched
    "${ferry[@]}" cell put pair third
    wait "$waits"
    echo -n third | same - out
}

an_older_token_is_refused() {
    [ -n "${1:-}" ] || engine_space
    "${ferry[@]}" cell put --detach --token 5 ledger five
    "${ferry[@]}" cell put --token 7 ledger seven
    status_of 1 "${ferry[@]}" cell put --token 6 ledger six 2>said
    has 'token newer than 6' said
    status_of 2 "${ferry[@]}" cell put --token 0 ledger none 2>said
    [ "$("${ferry[@]}" cell get ledger)" = seven ]
    "${ferry[@]}" cell rm ledger
}

an_older_token_is_refused_on_one_machine() {
    an_older_token_is_refused here
}

test_that "a value stays, and is had elsewhere" a_value_stays_and_is_had_elsewhere
test_that "changes elsewhere are waited for and watched" changes_elsewhere_are_waited_for_and_watched
test_that "an older token is refused" an_older_token_is_refused
test_that "an older token is refused on one machine, too" an_older_token_is_refused_on_one_machine
all_done
