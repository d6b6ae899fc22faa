#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# Is every C file formatted as .clang-format says, short enough, and under the licence? One TAP test each.
# check_format.sh ROOT
set -uo pipefail
cd "$1" || exit 125

mapfile -t files < <(find include src tools examples bench-peers tests \( -name '*.[ch]' -o -name '*.cpp' \) 2>/dev/null | LC_ALL=C sort)
echo "1..3"

report() { # NUMBER SENTENCE OFFENCES
    if [ -z "$3" ]; then
        echo "ok $1 - $2"
    else
        echo "not ok $1 - $2"
        printf '%s\n' "$3" | sed 's/^/# /'
    fi
}

offences=$(clang-format --dry-run -Werror --ferror-limit=3 "${files[@]}" 2>&1) || offences=${offences:-clang-format failed}
report 1 "every C file is formatted as .clang-format says" "$offences"
report 2 "no C file is longer than 600 lines" "$(wc -l "${files[@]}" | awk '$1 > 600 && $2 != "total" { print $2 ": " $1 " lines" }')"
report 3 "every C file begins with its licence" "$(for f in "${files[@]}"; do
    head -1 "$f" | grep -q 'SPDX-License-Identifier: MIT' || echo "$f:1: no SPDX-License-Identifier: MIT"
done)"
