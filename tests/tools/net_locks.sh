#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# `ferry lock` in a space that spans machines.
# shellcheck disable=SC2031
# shellcheck source=harness
. "$(dirname "$0")/harness"
# shellcheck source=engine-lib.sh
. "$here/engine-lib.sh"
export FERRY
PATH=$PATH:/usr/sbin

a_lost_lease_is_told_of_while_the_command_runs() {
    engine_space
    "${ferry[@]}" lock ledger -- sh -c 'touch runs; until [ -e enough ]; do sleep 0.05; done; exit 7' 2>said &
    local lock=$!
    until_true test -e runs
    engine_kill_server
    until_true has '"ledger" is not held any more, and the command goes on: ' said
    has 'there is no connection to a server' said
    kill -0 "$lock"
    engine_restart
    touch enough
    status_of 7 wait "$lock"
    [ "$(grep -c 'is not held any more' said)" = 1 ] || fail "it is said once: $(cat said)"
    engine_stop
}

test_that "a lost lease is told of while the command runs" a_lost_lease_is_told_of_while_the_command_runs
all_done
