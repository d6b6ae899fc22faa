#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# Does every #include go downwards? Prints each offence as file:line, then says so in TAP; and shows on a small tree of
# its own that offences are noticed. check_layers.sh ROOT
#
# The layers of src/, from the bottom: base, platform, host, ring, sync, store, memory, node, route, (channel, lock), (region, rpc), net, api.
#   - A file includes its own folder and those below. Folders on one level do not include each other.
#   - The routes (route/thread, route/shm, ...) do not include each other; route/*.c ties them together.
#   - Above the routes only route/route.h is known.
#   - Includes in src/ start at src/, so that the layer shows.
#   - The public headers include each other only. Tools, examples, benchmarks and tests of behaviour include <ferry/...>
#     and files of their own folder, nothing of src/.
set -uo pipefail

offences() { # ROOT
    (cd "$1" && find include src tools examples bench-peers tests \( -name '*.[ch]' -o -name '*.cpp' \) 2>/dev/null | LC_ALL=C sort |
        xargs -r awk '
function offend(why) {
    printf "%s:%d: %s: %s\n", FILENAME, FNR, why, what
}
function exists(path,    line, found) {
    found = (getline line < path) >= 0
    close(path)
    return found
}
function check_library(from, layer,    to, mine, theirs) {
    if (quoted && what ~ /^\.\.?\//) { offend("write the path from src/"); return }
    if (!quoted || what ~ /^ferry\//) return
    split(what, part, "/")
    to = part[1]
    if (!(to in rank)) { offend("no layer of src/ is called so"); return }
    if (to == layer) {
        split(from, mine, "/"); split(what, theirs, "/")
        if (layer == "route" && mine[3] in routes && theirs[2] in routes && mine[3] != theirs[2])
            offend("a route does not know another route")
        return
    }
    if (rank[to] > rank[layer]) offend("goes upward, from " layer " to " to)
    else if (rank[to] == rank[layer]) offend("goes sideways, from " layer " to " to)
    else if (to == "route" && what != "route/route.h") offend("above the routes only route/route.h is known")
}
BEGIN {
    n = split("base platform host ring sync store memory node route channel,lock region,rpc net api", level, " ")
    for (i = 1; i <= n; i++) { m = split(level[i], name, ","); for (j = 1; j <= m; j++) rank[name[j]] = i }
    split("thread shm nats", route, " "); for (i in route) routes[route[i]] = 1
}
/^[ \t]*#[ \t]*include/ {
    if (!match($0, /["<][^">]*[">]/)) next
    what = substr($0, RSTART + 1, RLENGTH - 2)
    quoted = substr($0, RSTART, 1) == "\""
    split(FILENAME, place, "/")
    if (place[1] == "src") {
        if (!(place[2] in rank)) offend("src/" place[2] " is no layer")
        else check_library(FILENAME, place[2])
    } else if (place[1] == "include") {
        if (quoted && what ~ /\//) offend("a public header includes only its neighbours")
        if (!quoted && what ~ /^ferry\//) offend("write the neighbour in quotes, so that the header works anywhere")
    } else if (place[1] == "tests" && (place[2] == "unit" || place[2] == "fire")) {
        if (what ~ /\.\.\//) offend("write the path from src/")
    } else if (what ~ /\.\.\// || (what ~ /\.h$/ && exists("src/" what))) {
        offend("only <ferry/...> and its own folder are known here")
    } else if (quoted && what ~ /^ferry\//) {
        offend("write <" what ">")
    }
}')
}

# A tree with one offence of every sort; NUMBER of offences that the check finds there.
seeded_offences() {
    local tree
    tree=$(mktemp -d "${FERRY_TEST_TMP:-${TMPDIR:-/tmp}}/frytest-layers.XXXXXX") || return 1
    mkdir -p "$tree"/src/{base,ring,channel,rpc,route/shm,route/thread,extra} "$tree"/tools/ferry "$tree"/include/ferry "$tree"/tests/behaviour
    echo '#include "ring/ring.h"' >"$tree/src/base/upward.c"
    echo '#include "rpc/call.h"' >"$tree/src/channel/sideways.c"
    echo '#include "route/shm/shm.h"' >"$tree/src/channel/past_the_seam.c"
    echo '#include "route/shm/shm.h"' >"$tree/src/route/thread/other_route.c"
    echo '#include "ring.h"' >"$tree/src/ring/short_path.c"
    echo '#include "../base/list.h"' >"$tree/src/ring/dotted_path.c"
    echo '#include "base/list.h"' >"$tree/src/extra/no_layer.c"
    echo '#include "ring/ring.h"' >"$tree/tools/ferry/private.c"
    echo '  #  include <ring/ring.h>' >"$tree/tests/behaviour/private.c"
    echo '#include "../src/base/list.h"' >"$tree/include/ferry/private.h"
    printf '#include "base/list.h"\n#include "route/route.h"\n#include <ferry/base.h>\n' >"$tree/src/channel/good.c"
    printf '#include "route/route.h"\n#include "route/shm/shm.h"\n' >"$tree/src/route/shm/good.c"
    touch "$tree"/src/ring/ring.h "$tree"/src/base/list.h
    offences "$tree" | cut -d: -f1 | LC_ALL=C sort -u
    rm -rf "$tree"
}

expected='include/ferry/private.h
src/base/upward.c
src/channel/past_the_seam.c
src/channel/sideways.c
src/extra/no_layer.c
src/ring/dotted_path.c
src/ring/short_path.c
src/route/thread/other_route.c
tests/behaviour/private.c
tools/ferry/private.c'

echo "1..2"
found=$(offences "$1")
if [ -z "$found" ]; then
    echo "ok 1 - every include goes downwards"
else
    printf '%s\n' "$found"
    echo "not ok 1 - every include goes downwards"
fi
seeded=$(seeded_offences)
if [ "$seeded" = "$expected" ]; then
    echo "ok 2 - every sort of offence is noticed, and nothing else"
else
    diff <(echo "$expected") <(echo "$seeded") | sed 's/^/# /'
    echo "not ok 2 - every sort of offence is noticed, and nothing else"
fi
