#!/bin/sh
# SPDX-License-Identifier: MIT
#
# check.sh EMBRACE - one of the two is told of the circle, and both write. TAP.
set -u
# shellcheck source=../crew/tap.sh
. "$(dirname "$0")/../crew/tap.sh"

lines() { # PATTERN
    grep -c -- "$1" "$dir/out"
}

plan 5
does_well "$1" && [ "$(lines 'has both, and writes')" = 2 ] && [ "$(lines 'is told: ')" -ge 1 ] &&
    [ "$(lines 'gives the .* back, and begins anew')" = "$(lines 'is told: ')" ]
verdict $? "in opposite order: one of the two is told, gives way, and both write"
sed -n 's/.*is told: //p' "$dir/out" | grep pen | grep paper | grep anna | grep -q bert
verdict $? "what it is told names both things and both people"
does_well "$1" --order && [ "$(lines 'has both, and writes')" = 2 ] && [ "$(lines 'is told: ')" = 0 ]
verdict $? "in the same order: nobody is told anything, and both write"
does_well "$1" --help && grep -q '^Usage: embrace' "$dir/out"
verdict $? "there is help"
refuses Usage: "$1" --disorder && refuses Usage: "$1" both
verdict $? "misuse is refused"
all_well
