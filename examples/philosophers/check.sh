#!/bin/sh
# SPDX-License-Identifier: MIT
#
# check.sh PHILOSOPHERS - everybody eats, and what is told of deadlocks fits together. TAP.
set -u
# shellcheck source=../crew/tap.sh
. "$(dirname "$0")/../crew/tap.sh"

# Has each of the N philosophers eaten, and do the deadlocks in their lines add up? With --order: to none.
evening_fits() { # N [--order]
    awk -v n="$1" -v order="${2-}" '
        /^ +[0-9]+ / { seats++; found += $3; if ($2 < 1) hungry++ }
        /^deadlocks found/ { told = $NF; reported = 1 }
        /"fork-[0-9]+".*"fork-[0-9]+"/ { words = 1 }
        END { exit seats != n || hungry || !reported || found != told || (told > 0) != words || (order != "" && told > 0) }
    ' "$dir/out"
}

plan 10
for with in processes threads; do
    for n in 2 5 16; do
        does_well "$1" --with $with --philosophers $n --milliseconds 300 && evening_fits $n
        verdict $? "$n philosophers who are $with all eat"
    done
    does_well "$1" --with $with --order --milliseconds 300 && evening_fits 5 --order
    verdict $? "5 philosophers who are $with and keep the order all eat, without a deadlock"
done
does_well "$1" --help && grep -q '^Usage: philosophers' "$dir/out"
verdict $? "there is help"
refuses 'must be a number from 2 to 64' "$1" --philosophers 1 && refuses 'must be threads or processes' "$1" --with forks &&
    refuses Usage: "$1" spaghetti
verdict $? "misuse is refused"
all_well
