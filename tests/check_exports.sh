#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# Does the library export what the public headers declare, and nothing else? Two TAP tests.
# check_exports.sh ROOT LIBRARY
set -uo pipefail
cd "$1" || exit 125

declared=$(cat include/ferry/*.h | tr '\n' ' ' | grep -oE 'FERRY_API [^;]*;' | grep -oE '\bferry_[a-z_]+\(' | tr -d '(' |
    LC_ALL=C sort -u)
exported=$(nm -D --defined-only "$2" | awk '{ print $3 }' | sed 's/@.*//' | LC_ALL=C sort -u)
missing=$(comm -23 <(echo "$declared") <(echo "$exported"))
surplus=$(comm -13 <(echo "$declared") <(echo "$exported"))
echo "1..2"
if [ -z "$missing" ]; then echo "ok 1 - everything declared is exported"; else
    echo "not ok 1 - everything declared is exported: not $(tr "\n" " " <<<"$missing")"
fi
if [ -z "$surplus" ]; then echo "ok 2 - nothing else is exported"; else
    echo "not ok 2 - nothing else is exported: $(tr "\n" " " <<<"$surplus")"
fi
