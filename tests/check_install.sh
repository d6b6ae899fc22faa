#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# Can a program be built against what `make install` puts down, and does it run? check_install.sh BUILD-DIRECTORY
set -uo pipefail

build=$1
place=$(mktemp -d "${FERRY_TEST_TMP:-${TMPDIR:-/tmp}}/frytest-install.XXXXXX") || exit 125
trap 'rm -rf "$place"' EXIT
number=0

step() { # SENTENCE COMMAND...
    local sentence=$1 said
    shift
    number=$((number + 1))
    if said=$("$@" 2>&1); then
        echo "ok $number - $sentence"
    else
        echo "not ok $number - $sentence"
        printf '%s\n' "$said" | sed 's/^/# /'
    fi
}

meson_install() {
    DESTDIR=$place meson install -C "$build" --no-rebuild
}

prefix=$(meson introspect --buildoptions "$build" | python3 -c '
import json, sys
print(next(o["value"] for o in json.load(sys.stdin) if o["name"] == "prefix"))')
root=$place$prefix

program() {
    printf '#include <ferry/ferry.h>\n#include <stdio.h>\nint main(void) { return puts(ferry_version()) < 0; }\n' >"$place/p.c"
    PKG_CONFIG_PATH=$root/lib/pkgconfig PKG_CONFIG_SYSROOT_DIR=$place \
        sh -c '${CC:-cc} -o "$1/p" "$1/p.c" $(pkg-config --cflags --libs ferry)' sh "$place"
}

says_version() {
    [ "$(LD_LIBRARY_PATH=$root/lib "$place/p")" = "$(PKG_CONFIG_PATH=$root/lib/pkgconfig pkg-config --modversion ferry)" ]
}

tool_runs() {
    "$root/bin/ferry" --version
}

echo "1..5"
step "make install puts everything into its prefix" meson_install
step "pkg-config finds headers and library" program
step "the library tells the version that pkg-config tells" says_version
step "the installed tool finds its library" tool_runs
step "the tool's manual page is there" test -e "$root/share/man/man1/ferry.1"
