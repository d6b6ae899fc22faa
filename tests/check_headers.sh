#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# Does every public header compile alone, as C and as C++? Two TAP tests per header.
# check_headers.sh ROOT
set -uo pipefail
cd "$1" || exit 125

headers=(include/ferry/*.h)
echo "1..$((2 * ${#headers[@]}))"
number=0

compiles() { # SENTENCE HEADER COMPILER...
    local sentence=$1 header=$2 said
    shift 2
    number=$((number + 1))
    # Twice, since a header must also bear being included twice.
    if said=$(printf '#include <%s>\n#include <%s>\n' "${header#include/}" "${header#include/}" |
        "$@" -Iinclude -Wall -Wextra -Wpedantic -Wconversion -Wundef -Werror -fsyntax-only - 2>&1); then
        echo "ok $number - $sentence"
    else
        echo "not ok $number - $sentence"
        printf '%s\n' "$said" | sed 's/^/# /'
    fi
}

for header in "${headers[@]}"; do
    compiles "$header compiles alone as C11" "$header" "${CC:-cc}" -std=c11 -xc
    compiles "$header compiles alone as C++" "$header" "${CXX:-c++}" -std=c++11 -xc++
done
