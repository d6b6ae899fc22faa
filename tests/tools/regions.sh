#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# `ferry region`: what is put into shared memory is what is read there, and who keeps it; and whole versions.
# shellcheck disable=SC2016,SC2031
# shellcheck source=harness
. "$(dirname "$0")/harness"

# a region that a keeper holds: kept NAME OPTION...
kept() {
    "${ferry[@]}" region create --detach "$@"
}

# some_bytes N FILE
some_bytes() {
    head -c "$1" /dev/urandom >"$2"
}

# --- who keeps it --------------------------------------------------------------------------------------------------

create_wants_to_know_how_it_shall_be_kept() {
    status_of 2 "${ferry[@]}" region create --size 4KiB x 2>said
    has 'say how "x" shall be kept: --hold stays until interrupted, --detach leaves a keeper' said
    status_of 2 "${ferry[@]}" region create --hold --detach --size 4KiB x
    nothing_left
}

a_keeper_keeps_it_until_rm_ends_it() {
    some_bytes 300000 in
    kept x --from in >out 2>said
    [ ! -s out ]
    [ ! -s said ]
    "${ferry[@]}" region cat x >out
    same in out
    "${ferry[@]}" ls --no-rate >out
    grep -Eq '^  keeper of region x +[0-9]+ ' out || fail "$(cat out)"
    grep -Eq '^  x +region +bytes +[0-9]+ +0 +360 KiB +1 +0$' out || fail "$(cat out)"
    "${ferry[@]}" region rm x >out 2>said
    [ ! -s out ]
    [ ! -s said ]
    nothing_left
    local action
    for action in cat put rm; do
        status_of 1 "${ferry[@]}" region $action x </dev/null 2>said
        has 'nobody has the region "x" open' said
    done
    nothing_left
}

hold_keeps_it_until_interrupted() {
    echo hello | "${signalled[@]}" region create --hold --from - x 2>said &
    until_true has 'the region "x" is kept until this is interrupted' said
    [ "$("${ferry[@]}" region cat x)" = hello ]
    status_of 1 "${ferry[@]}" region rm x 2>said
    has 'the region "x" is still held, not by a keeper of yours: ferry-region (process ' said
    kill -INT $!
    ended 130 $!
    nothing_left
}

a_killed_keeper_leaves_nothing_for_long() {
    kept x --size 1MiB
    kill -KILL "$(keepers)"
    until_true swept
    kept x --size 2MiB
    [ "$("${ferry[@]}" region cat x | wc -c)" = 2097152 ]
}

others_keep_it_when_its_keeper_has_gone() {
    kept x --from /dev/stdin <<<hello
    "${signalled[@]}" region create --hold --size 1 y 2>said &
    local other=$!
    until_true has 'is kept' said
    mkfifo pipe
    "${ferry[@]}" region put --offset 1 x pipe &
    until_true eval '"$FERRY" region ls --json | grep -q "\"holders\":2,"'
    status_of 1 "${ferry[@]}" region rm x 2>said
    has 'the region "x" is still held' said
    [ "$("${ferry[@]}" region cat x)" = hello ]
    printf u >pipe
    ended 0 $!
    nothing_but_y
    kill -INT "$other"
    ended 130 "$other"
}

nothing_but_y() {
    [ "$("${ferry[@]}" region ls | tail -n +2 | cut -d' ' -f1)" = y ]
}

# --- making it -----------------------------------------------------------------------------------------------------

its_size_is_as_said_or_that_of_the_file() {
    printf abc >in
    kept x --from in --size 8
    printf 'abc\0\0\0\0\0' >expected
    "${ferry[@]}" region cat x >out
    same expected out
    seq 100000 >in
    kept y --from - <in
    kept z --from - < <(cat in)
    for name in y z; do
        "${ferry[@]}" region cat $name >out
        same in out
    done
    status_of 1 "${ferry[@]}" region create --detach --size 2 --from in w 2>said
    has 'in has 588895 bytes, more than the 2 that "w" has room for; nothing was written' said
    status_of 1 "${ferry[@]}" region create --detach --size 2 --from - w < <(cat in) 2>said
    has 'standard input is longer than the 2 bytes' said
    status_of 1 "${ferry[@]}" region create --detach --from - w </dev/null 2>said
    has 'standard input is empty, and --size does not say how large the region shall be' said
    status_of 125 "${ferry[@]}" region create --detach --from no-such-file w 2>said
    has "cannot open 'no-such-file'" said
    status_of 1 "${ferry[@]}" region cat w
}

what_was_made_is_told() {
    kept --json --size 1MiB --limit 64MiB --type index --prefault --huge-pages x >json
    json json 'd["name"] == "x" and d["root_bytes"] == 1 << 20 and d["limit"] == 64 << 20'
    json json 'd["bytes"] >= (1 << 20) + 65536 and d["bytes"] % 4096 == 0 and "huge_bytes" in d'
    [ "$(kept -v --size 1MiB y | cut -d, -f1-3)" = 'root object 1.0 MiB, region 1.1 MiB, limit 1.1 MiB' ]
    "${ferry[@]}" region ls --json >json
    json json '[(r["name"], r["kind"], r["type"], r["root_bytes"], r["holders"], r["keepers"], r["blocks"])
               for r in d["regions"]] == [("x", "shared", "index", 1 << 20, 1, 1, 1), ("y", "shared", "bytes", 1 << 20, 1, 1, 1)]'
    json json 'all(1 << 20 <= r["used"] <= (1 << 20) + 64 for r in d["regions"])'
    json json '[r["limit"] for r in d["regions"]] == [64 << 20, (1 << 20) + 65536]'
}

what_is_there_already_is_not_made_again() {
    kept x --from /dev/stdin <<<hello
    status_of 1 "${ferry[@]}" region create --detach --size 6 x 2>said
    has 'the region "x" is there already; `ferry region put x` writes into it' said
    [ "$("${ferry[@]}" region cat x)" = hello ]
    "${ferry[@]}" region ls --json >json
    json json '[r["holders"] for r in d["regions"]] == [1]'
}

ls_lists_what_is_asked_for() {
    status_of 1 "${ferry[@]}" region ls 2>said
    has 'no region is open' said
    kept model1 --size 1
    kept model2 --size 1
    kept index --size 1
    [ "$("${ferry[@]}" region ls 'model*' | tail -n +2 | cut -d' ' -f1 | paste -sd' ')" = 'model1 model2' ]
    status_of 1 "${ferry[@]}" region ls nothing 2>said
    has 'no region nothing is open' said
}

# --- its bytes -----------------------------------------------------------------------------------------------------

put_writes_in_place() {
    some_bytes 100000 in
    kept x --from in
    printf abc | "${ferry[@]}" region put --offset 4KiB x
    { head -c 4096 in; printf abc; tail -c +4100 in; } >expected
    "${ferry[@]}" region cat x >out
    same expected out
    some_bytes 100000 in
    "${ferry[@]}" region put x in
    "${ferry[@]}" region cat x >out
    same in out
    "${ferry[@]}" region put x </dev/null
    "${ferry[@]}" region put --offset 100000 x /dev/null
    "${ferry[@]}" region cat x >out
    same in out
}

put_refuses_what_is_too_long() {
    kept x --from /dev/stdin <<<1234567
    printf 123456789 >long
    status_of 1 "${ferry[@]}" region put x long 2>said
    has 'long has 9 bytes, more than the 8 that "x" has room for; nothing was written' said
    status_of 1 "${ferry[@]}" region put --offset 6 x < <(printf abc) 2>said
    has 'standard input is longer than the 2 bytes that "x" has room for; so many were written' said
    [ "$("${ferry[@]}" region cat x)" = 123456ab ]
    status_of 1 "${ferry[@]}" region put --offset 9 x <<<x 2>said
    has '--offset 9 is behind the end of "x", which has 8 bytes' said
    status_of 1 "${ferry[@]}" region put --offset 8 x <<<x
    [ "$("${ferry[@]}" region cat x)" = 123456ab ]
}

cat_writes_a_part() {
    kept x --from - < <(printf 0123456789)
    [ "$("${ferry[@]}" region cat --offset 3 x)" = 3456789 ]
    [ "$("${ferry[@]}" region cat --offset 3 --length 4 x)" = 3456 ]
    [ "$("${ferry[@]}" region cat --length 100 x)" = 0123456789 ]
    [ "$("${ferry[@]}" region cat --length 0 x)" = '' ]
    [ "$("${ferry[@]}" region cat --offset 10 x)" = '' ]
    status_of 1 "${ferry[@]}" region cat --offset 11 x 2>said
    has 'is behind the end' said
}

cat_ends_quietly_when_nobody_reads_on() {
    kept x --size 8MiB
    { "${ferry[@]}" region cat x 2>said; echo $? >status; } | head -c 1 >out
    [ "$(cat status)" = 0 ] || fail "status $(cat status)"
    [ ! -s said ]
    [ "$(wc -c <out)" = 1 ]
    status_of 125 "${ferry[@]}" region cat x >/dev/full 2>said
    has 'cannot write to standard output' said
    [ "$("${ferry[@]}" region ls --json | grep -o '"holders":[0-9]*')" = '"holders":1' ]
}

# --- published ones ------------------------------------------------------------------------------------------------

# publishing FILE OPTION...: publishes it as x in the background, by $writer, which says in `versions` what it does
publishing() {
    "${signalled[@]}" region publish --json "${@:2}" x "$1" >versions 2>said &
    writer=$!
    until_true has '"x" is published until this is interrupted' said
}

# versions N: whether so many were published
versions() {
    [ "$(wc -l <versions)" = "$1" ]
}

a_published_file_is_read_as_a_whole() {
    some_bytes 1000000 in
    publishing in
    "${ferry[@]}" region cat x >out
    same in out
    [ "$("${ferry[@]}" region cat --offset 5 --length 3 x | od -An -tx1)" = "$(tail -c +6 in | head -c 3 | od -An -tx1)" ]
    "${ferry[@]}" region ls >out
    grep -Eqx 'x +published +977 KiB +- +- +- +- +- +- +1 +0' out || fail "$(cat out)"
    kill -INT "$writer"
    ended 130 "$writer"
    nothing_left
}

the_next_version_comes_with_sigusr1() {
    some_bytes 1000000 in
    publishing in
    json versions 'd["version"] == 1 and d["bytes"] == 1000000'
    printf changed | dd of=in bs=1 seek=500000 conv=notrunc status=none
    kill -USR1 "$writer"
    until_true versions 2
    printf again | dd of=in bs=1 seek=1000 conv=notrunc status=none
    kill -USR1 "$writer"
    until_true versions 3
    tail -n 1 versions >json
    json json 'd["version"] == 3'
    "${ferry[@]}" region cat --published x >out
    same in out
    "${ferry[@]}" region ls --json >json
    json json '[(r["name"], r["kind"], r["version"], r["bytes"]) for r in d["regions"]] == [("x", "published", 3, 1000000)]'
    some_bytes 1000001 in
    kill -USR1 "$writer"
    until_true has '"x" stays as it was' said
    has 'in is longer than the 1000000 bytes of "x"; it is not published' said
    "${ferry[@]}" region cat x | cmp -s - out
    kill -TERM "$writer"
    ended 143 "$writer"
}

ls_shows_who_publishes_and_who_reads() {
    some_bytes 10000 in
    publishing in --type frame
    "${ferry[@]}" ls --no-rate x >out
    grep -Eq '^  PUBLISHED +END +TYPE' out || fail "$(cat out)"
    grep -Eq '^  x +writer +frame +[0-9]+ +1 +9.8 KiB ' out || fail "$(cat out)"
    ! grep '@x' out || fail 'the mark is shown'
    "${ferry[@]}" ls --no-rate --json x >json
    json json 'd["spaces"][0]["ends"] == []'
    json json '[(p["region"], p["role"], p["type"], p["version"], p["bytes"]) for p in d["spaces"][0]["published"]] == [("x", "writer", "frame", 1, 10000)]'
    kill -TERM "$writer"
    ended 143 "$writer"
}

shared_and_published_ones_are_told_apart() {
    status_of 1 "${ferry[@]}" region cat --published x 2>said
    has 'nobody publishes a region "x"' said
    printf published >in
    publishing in
    status_of 1 "${ferry[@]}" region put x <in 2>said2
    has '"x" is a published region: nobody but its writer can change it' said2
    status_of 1 "${ferry[@]}" region rm x 2>said2
    has '"x" is a published region: it ends with its writer' said2
    status_of 1 "${ferry[@]}" region cat --shared x 2>said2
    has 'nobody has the region "x" open' said2
    kept x --from - < <(printf shared)
    status_of 2 "${ferry[@]}" region cat x 2>said2
    has 'say --shared or --published' said2
    [ "$("${ferry[@]}" region cat --shared x)" = shared ]
    [ "$("${ferry[@]}" region cat --published x)" = published ]
    "${ferry[@]}" region ls --json >json
    json json '[r["kind"] for r in d["regions"]] == ["shared", "published"]'
    "${ferry[@]}" region rm x
    [ "$("${ferry[@]}" region cat x)" = published ]
    status_of 125 "${ferry[@]}" region publish x in 2>said2
    has '"x"' said2
    kill -TERM "$writer"
    ended 143 "$writer"
    nothing_left
}

a_killed_writer_leaves_nothing() {
    some_bytes 1000000 in
    publishing in
    killed "$writer"
    status_of 1 "${ferry[@]}" region cat x 2>said
    until_true swept
    publishing in
    "${ferry[@]}" region cat x >out
    same in out
    kill -TERM "$writer"
    ended 143 "$writer"
}

test_that "create wants to know how it shall be kept" create_wants_to_know_how_it_shall_be_kept
test_that "a keeper keeps it until rm ends it" a_keeper_keeps_it_until_rm_ends_it
test_that "--hold keeps it until it is interrupted" hold_keeps_it_until_interrupted
test_that "a killed keeper leaves nothing for long" a_killed_keeper_leaves_nothing_for_long
test_that "others keep it when its keeper has gone" others_keep_it_when_its_keeper_has_gone
test_that "its size is as said, or that of the file" its_size_is_as_said_or_that_of_the_file
test_that "what was made is told" what_was_made_is_told
test_that "what is there already is not made again" what_is_there_already_is_not_made_again
test_that "ls lists what is asked for" ls_lists_what_is_asked_for
test_that "put writes in place" put_writes_in_place
test_that "put refuses what is too long" put_refuses_what_is_too_long
test_that "cat writes a part" cat_writes_a_part
test_that "cat ends quietly when nobody reads on" cat_ends_quietly_when_nobody_reads_on
test_that "a published file is read as a whole" a_published_file_is_read_as_a_whole
test_that "the next version comes with SIGUSR1" the_next_version_comes_with_sigusr1
test_that "ls shows who publishes" ls_shows_who_publishes_and_who_reads
test_that "shared and published ones are told apart" shared_and_published_ones_are_told_apart
test_that "a killed writer leaves nothing" a_killed_writer_leaves_nothing
all_done
