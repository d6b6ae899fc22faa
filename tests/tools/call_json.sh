#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# `ferry call` of a service with a descriptor, which speaks JSON: what goes in and comes out, and what is said where the module
# that makes it is missing. BANK is the example's server of such a service, if protobuf is there.
# shellcheck source=harness
. "$(dirname "$0")/harness"

# bank METHOD [JSON]: calls the bank
bank() {
    "${ferry[@]}" call bank.v1.Bank "$@"
}

typed_services_speak_json() {
    export FERRY_SPACE=bank
    "$BANK" 1 >served &
    server=$!
    "${ferry[@]}" call --wait 20s bank.v1.Bank >out
    grep -Eq '^History +bank.v1.HistoryRequest +stream of bank.v1.Entry +yes ' out || fail "$(cat out)"
    bank OpenAccount '{"owner": "Ada", "deposit": 100}' >json
    json json 'd == {"number": 1, "owner": "Ada", "balance": "100"}'
    echo '{"account": 1, "amount": 30}' | bank Withdraw - >json
    json json 'd["balance"] == "70"'
    bank History '{"account": 1}' >out
    lines 2 out
    [ "$(tail -n 1 out)" = '{"kind":"WITHDRAWAL","amount":"-30"}' ] || fail "$(cat out)"
    status_of 1 bank Withdraw '{"account": 1, "amount": 3000}' >out 2>said
    [ ! -s out ]
    has '"Withdraw" answered with error 3: ' said
    has 'its detail, ' said
    status_of 2 bank Withdraw '{"acount": 1}' >out 2>said
    [ ! -s out ]
    has acount said
    bank --raw Balance "$(printf '\010\001')" >out
    printf '\010\001\022\003Ada\030\106' >expected
    same expected out
    bank -0 History '{"account": 1}' | tr -d -c '\0' >out
    [ "$(wc -c <out)" = 2 ]
    kill -TERM "$server"
    ended 0 "$server"
}

without_the_module_raw_is_offered() {
    export FERRY_SPACE=bank
    local library
    library=$(ldd "$FERRY" | sed -n 's/.*=> \(.*libferry[^ ]*\) .*/\1/p')
    "$BANK" 1 >served &
    server=$!
    "${ferry[@]}" call --wait 20s bank.v1.Bank OpenAccount '{"owner": "Ada", "deposit": 70}' >made
    mkdir alone
    cp "$FERRY" alone/ferry
    local alone=(env "LD_LIBRARY_PATH=$(dirname "$library")" timeout -k 2 60 alone/ferry)
    status_of 125 "${alone[@]}" call bank.v1.Bank Balance '{"account": 1}' >out 2>said
    [ ! -s out ]
    has 'the module that makes JSON of it cannot be loaded' said
    has --raw said
    "${alone[@]}" call --raw bank.v1.Bank Balance "$(printf '\010\001')" >out
    printf '\010\001\022\003Ada\030\106' >expected
    same expected out
    kill -TERM "$server"
    ended 0 "$server"
}

# with_bank SENTENCE FUNCTION: where the example is built, which needs protobuf
with_bank() {
    if [ -n "${BANK:-}" ]; then
        test_that "$@"
    else
        number=$((number + 1))
        echo "ok $number - $1 # SKIP protobuf is not there, so no typed service was built"
    fi
}

with_bank "typed services speak JSON" typed_services_speak_json
with_bank "without the module raw is offered" without_the_module_raw_is_offered
all_done
