#!/bin/sh
# SPDX-License-Identifier: MIT
#
# check.sh COMMAND [ARGUMENT]... - runs `COMMAND ARGUMENT... FILE` on several texts and compares what it prints with
# what coreutils say of the same text. One TAP test for each text.
set -u
LC_ALL=C
export LC_ALL
dir=$(mktemp -d "${TMPDIR:-/tmp}/wordcount-check.XXXXXX") || exit 1
trap 'trap "" INT TERM; rm -rf "$dir"' EXIT
trap 'exit 130' INT TERM
here=$(dirname "$0")

# A word that is alone at the beginning of the text leaves tr with an empty first line, which is no word.
oracle() {
    tr -cs 'A-Za-z' '\n' <"$1" | tr A-Z a-z | sort | uniq -c | awk 'NF == 2'
}

: >"$dir/empty"
printf 'last line without an end' >"$dir/no-newline"
printf '\n\n \n123 -- 456\n' >"$dir/no-words"
printf 'A a\000a B\rb \303\244c\377D\n\n1x2y3' >"$dir/odd-bytes"
cat "$here"/*.c "$here"/*.h "$here"/../*/*.c >"$dir/sources"
# One line of more than 16 KiB, which the pipeline has to cut between words.
tr '\n' ' ' <"$dir/sources" >"$dir/one-line"
# More distinct words than fit into one table: the numbers from 0 in letters.
awk 'BEGIN { for (i = 0; i < 30000; i++) { s = ""; for (n = i; n > 0; n = int(n / 26)) s = s sprintf("%c", 97 + n % 26)
     print "word" s, "Word" } }' >"$dir/many-words"

texts="empty no-newline no-words odd-bytes sources one-line many-words"
failures=0
number=0
echo 1..7
for text in $texts; do
    number=$((number + 1))
    verdict=ok
    oracle "$dir/$text" >"$dir/wanted"
    "$@" "$dir/$text" >"$dir/got" && cmp "$dir/wanted" "$dir/got" >&2 || verdict="not ok"
    echo "$verdict $number - the words of $text are counted as coreutils count them"
    [ "$verdict" = ok ] || failures=$((failures + 1))
done
[ "$failures" -eq 0 ]
