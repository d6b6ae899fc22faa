#!/bin/sh
# SPDX-License-Identifier: MIT
#
# check.sh BOUNDED_BUFFER - each way, with few and with many places, producers and consumers. TAP.
set -u
# shellcheck source=../crew/tap.sh
. "$(dirname "$0")/../crew/tap.sh"

# NUMBER lines of ways, each of which says yes to both questions and has a rate.
all_arrived() { # NUMBER
    [ "$(grep -cE '^[a-z]+ +[1-9][0-9]* items/s .*: yes .*: yes$' "$dir/out")" = "$1" ] && ! grep -q NO "$dir/out"
}

plan 7
does_well "$1" --items 4000 && all_arrived 3
verdict $? "all three ways, one after the other"
for way in semaphores events queue; do
    does_well "$1" --$way --producers 1 --consumers 1 --slots 1 --items 1000 && all_arrived 1 &&
        does_well "$1" --$way --producers 5 --consumers 1 --slots 7 --items 1000 && all_arrived 1 &&
        does_well "$1" --$way --producers 3 --consumers 4 --slots 100 --items 1000 && all_arrived 1
    verdict $? "$way: one to one through one place, many to one, many to many"
done
does_well "$1" --queue --events --items 100 && all_arrived 2
verdict $? "two of the ways"
does_well "$1" --help && grep -q '^Usage: bounded-buffer' "$dir/out"
verdict $? "there is help"
refuses '--slots is "0"' "$1" --slots 0 && refuses '--items is "-1"' "$1" --items -1 && refuses Usage: "$1" --stack
verdict $? "misuse is refused"
all_well
