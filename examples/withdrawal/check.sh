#!/bin/sh
# SPDX-License-Identifier: MIT
#
# check.sh WITHDRAWAL - adds up the books once more. TAP.
set -u
# shellcheck source=../crew/tap.sh
. "$(dirname "$0")/../crew/tap.sh"

# Both lines with a lock: what is paid out and left is what there was, and nothing is left, because all come often enough.
books_balance() {
    awk '/^\([bc]\).* balance$/ { lines++; for (i = 1; $i !~ /^[0-9]+$/; i++) continue
                       if ($i <= 0 || $i != $(i + 1) + $(i + 2) || $(i + 2) != 0 || $(i + 3) != 0) wrong = 1 }
         END { exit lines != 2 || wrong }' "$dir/out"
}

plan 6
for processes in 2 8 25; do
    does_well "$1" --processes $processes --times 400 && books_balance
    verdict $? "the books of $processes customers balance wherever there is a lock"
done
grep -q 'was killed when 10 had left' "$dir/out" && grep -q 'got the lock with FERRY_OWNER_DIED' "$dir/out"
verdict $? "the death of a holder is told to the next one, who repairs the books"
does_well "$1" --help && grep -q '^Usage: withdrawal' "$dir/out"
verdict $? "there is help"
refuses '--processes is "1", but must be a number from 2' "$1" --processes 1 &&
    refuses '--times is "many"' "$1" --times many && refuses Usage: "$1" all
verdict $? "misuse is refused"
all_well
