#!/bin/sh
# SPDX-License-Identifier: MIT
#
# check.sh BANK-SERVICE - the books of the bank, with few customers and with many. TAP.
set -u
# shellcheck source=../crew/tap.sh
. "$(dirname "$0")/../crew/tap.sh"

# Adds up once more what the program prints.
books_balance() {
    awk '/^the books/ { gsub(",", ""); lines++; wrong = $5 != $8 + $11 || $13 != 0 || $5 <= 0 }
         END { exit lines != 1 || wrong }' "$dir/out"
}

plan 4
for crowd in "1 4 2000" "6 3 1000"; do
    # shellcheck disable=SC2086 # three numbers
    set -- "$1" $crowd
    does_well "$1" --processes "$2" --threads "$3" --orders "$4" && books_balance
    verdict $? "$2 processes of $3 customers lose no money when two servers are killed"
done
does_well "$1" --help && grep -q '^Usage: bank-service' "$dir/out"
verdict $? "there is help"
refuses '--processes is "0", but must be a number from 1' "$1" --processes 0 &&
    refuses '--orders is "many"' "$1" --orders many && refuses Usage: "$1" all
verdict $? "misuse is refused"
all_well
