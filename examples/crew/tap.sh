# SPDX-License-Identifier: MIT
# shellcheck shell=sh
#
# tap.sh - what the checks of the crews' examples have in common; to be sourced. A check calls `plan`, then `verdict` or
# `refuses` as often as it has said, and ends with `all_well`.
dir=$(mktemp -d "${TMPDIR:-/tmp}/crew-check.XXXXXX") || exit 1
trap 'trap "" INT TERM; rm -rf "$dir"' EXIT
trap 'exit 130' INT TERM
number=0
failures=0

plan() { # NUMBER-OF-TESTS
    echo "1..$1"
}

# Tells the verdict; of a failure also what the program last wrote to $dir/out and $dir/said.
verdict() { # STATUS SENTENCE
    number=$((number + 1))
    if [ "$1" = 0 ]; then
        echo "ok $number - $2"
    else
        echo "not ok $number - $2"
        failures=$((failures + 1))
        cat "$dir/out" "$dir/said" >&2
    fi
}

# Runs a command that must do well; its output goes to $dir/out, what it complains about (nothing) to $dir/said.
does_well() { # COMMAND [ARGUMENT]...
    "$@" >"$dir/out" 2>"$dir/said" && [ ! -s "$dir/said" ]
}

# Misuse ends with status 2, says TEXT, and does nothing.
refuses() { # TEXT COMMAND [ARGUMENT]...
    text=$1
    shift
    "$@" >"$dir/out" 2>"$dir/said"
    [ $? = 2 ] && [ ! -s "$dir/out" ] && grep -qF -- "$text" "$dir/said"
}

all_well() {
    [ "$failures" -eq 0 ]
}
