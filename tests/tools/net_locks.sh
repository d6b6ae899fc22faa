#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# `ferry lock` and `ferry sem` in a space that spans machines.
# shellcheck disable=SC2031
# shellcheck source=harness
. "$(dirname "$0")/harness"
# shellcheck source=engine-lib.sh
. "$here/engine-lib.sh"
export FERRY
PATH=$PATH:/usr/sbin

# What is lost, and the command that holds it.
lose_while_it_runs() {
    local what=$1
    shift
    engine_space
    "${ferry[@]}" "$@" -- sh -c 'touch runs; until [ -e enough ]; do sleep 0.05; done; exit 7' 2>said &
    local holder=$!
    until_true test -e runs
    engine_kill_server
    until_true has "$what is not held any more, and the command goes on: " said
    has 'there is no connection to a server' said
    kill -0 "$holder"
    engine_restart
    touch enough
    status_of 7 wait "$holder"
    [ "$(grep -c 'is not held any more' said)" = 1 ] || fail "it is said once: $(cat said)"
    engine_stop
}

a_lost_lease_is_told_of_while_the_command_runs() {
    lose_while_it_runs '"ledger"' lock ledger
}

a_lost_unit_is_told_of_while_the_command_runs() {
    lose_while_it_runs 'the unit of "fetch"' sem --count 2 fetch
}

test_that "a lost lease is told of while the command runs" a_lost_lease_is_told_of_while_the_command_runs
test_that "a lost unit is told of while the command runs" a_lost_unit_is_told_of_while_the_command_runs
all_done
