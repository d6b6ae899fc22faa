#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# ferry-json, by a driver in C; protoc says what is right. TAP. MODULE is the module, DRIVER the driver.
set -uo pipefail
: "${MODULE:?}" "${DRIVER:?}" "${FERRY:=none}"
# shellcheck source=../tools/harness
. "$(dirname "$0")/../tools/harness"

# The values of errno that the driver ends with.
enoent=2 einval=22 emsgsize=90

protos=(timeout 60 protoc --proto_path="$here" --proto_path=.)
"${protos[@]}" --include_imports --descriptor_set_out="$work/broad.desc" broad.proto || exit 125

# json encode|decode TYPE FLAG...
json() {
    timeout 60 "$DRIVER" "$MODULE" "${descriptor:-$work/broad.desc}" "$@"
}

# The bytes of a message in protobuf's own text format.
bytes_of() { # TYPE
    "${protos[@]}" --encode="$1" broad.proto
}

wide='
a_double: -1.7976931348623157e308 a_float: 3.4028235e38 an_int32: -2147483648 an_int64: -9223372036854775808
a_uint32: 4294967295 a_uint64: 18446744073709551615 a_sint32: 2147483647 a_sint64: 9223372036854775807 a_fixed32: 1
a_fixed64: 2 a_sfixed32: -3 a_sfixed64: -4 a_bool: true a_string: "ü\"\\\n" some_bytes: "\000\377" kind: LOWEST
inner { innermost { text: "in" kind: LAST } more {} more { text: "two" } } pair { left: "l" colour: VIOLET }
doubles: [nan, inf, -inf, 0.1] int64s: [1, -1] bools: [true, false] strings: ["", "a"] kinds: [NONE, LAST]
numbers { key: "one" value: 1 } by_number { key: -5 value { right: "r" } } chosen_text: "" far_number: 7'

there_and_back() {
    bytes_of test.broad.Everything <<<"$wide" >in
    local flag
    for flag in '' lines unset proto; do
        # shellcheck disable=SC2086
        json decode test.broad.Everything $flag <in >text
        json encode .test.broad.Everything <text >out
        same in out
    done
}

as_the_mapping_says() {
    bytes_of test.broad.Everything <<<"$wide" | json decode test.broad.Everything >text
    python3 - text <<'EOF'
import json, sys
d = json.load(open(sys.argv[1]))
assert d["anInt64"] == "-9223372036854775808" and d["aUint64"] == "18446744073709551615", d
assert d["anInt32"] == -2147483648 and d["kind"] == "LOWEST" and d["someBytes"] == "AP8=", d
assert d["doubles"] == ["NaN", "Infinity", "-Infinity", 0.1] and d["numbers"] == {"one": "1"}, d
assert d["byNumber"] == {"-5": {"right": "cg=="}} and d["chosenText"] == "" and d["aString"] == 'ü"\\\n', d
EOF
    [ "$(wc -l <text)" = 0 ]
}

# Their key or value, or both, are left out.
entries_of_maps_may_leave_something_out() {
    printf '\xca\x02\x05\x0a\x03one\xca\x02\x02\x10\x07\xd2\x02\x02\x08\x05' >in
    json decode test.broad.Everything <in >text
    python3 - text <<'EOF'
import json, sys
d = json.load(open(sys.argv[1]))
assert d == {"numbers": {"one": "0", "": "7"}, "byNumber": {"5": {}}}, d
EOF
}

flags_are_obeyed() {
    : | json decode test.broad.Progress >text
    [ "$(cat text)" = '{}' ]
    : | json decode test.broad.Progress unset proto >text
    [ "$(cat text)" = '{"begun":0,"stopped":0,"time_left":"0"}' ]
    bytes_of test.broad.CountItem <<<'number: 1' | json decode test.broad.CountItem lines >text
    [ "$(cat text)" = $'{\n "number": 1\n}' ]
}

either_spelling() {
    printf ' {"time_left": "5", "begun": 1}\n' | json encode test.broad.Progress >out
    printf '{"timeLeft": 5, "begun": "1"}' | json encode test.broad.Progress | cmp out
    bytes_of test.broad.Progress <<<'begun: 1 time_left: 5' | cmp out
}

empty_text() {
    : | json encode test.broad.Everything >out
    printf ' \n' | json encode test.broad.Everything >>out
    [ ! -s out ]
}

# wrong STATUS WORDS COMMAND...: fails so, and says that in one line
wrong() {
    local status=$1 words=$2
    shift 2
    status_of "$status" "$@" >out 2>said
    has "$words" said
    [ "$(wc -l <said)" = 1 ] && [ ! -s out ]
}

wrong_json() {
    wrong $einval 'no test.broad.Progress in JSON' json encode test.broad.Progress <<<'{"begun": }'
    wrong $einval 'nosuch' json encode test.broad.Progress <<<'{"nosuch": 1}'
    wrong $einval 'begun' json encode test.broad.Progress <<<'{"begun": -1}'
    wrong $einval 'test.broad.Progress' json encode test.broad.Progress <<<'[1]'
    wrong $einval 'kind' json encode test.broad.Everything <<<'{"kind": "NOSUCH"}'
    wrong $einval 'missing field id' json encode test.ancient.Ancient <<<'{"name": "x"}'
    wrong $enoent 'no message type "test.broad.Nosuch"' json encode test.broad.Nosuch <<<'{}'
}

wrong_bytes() {
    wrong $einval 'no test.broad.Progress' json decode test.broad.Progress <<<'nonsense'
    printf '\xff\xff\xff' >in
    wrong $einval 'no test.broad.Everything' json decode test.broad.Everything <in
    printf '\x72\x02\xff\xff' >in # a string that is not UTF-8
    wrong $einval 'no test.broad.Everything' json decode test.broad.Everything <in
    : >in
    wrong $einval 'missing are id' json decode test.ancient.Ancient <in
    wrong $enoent 'no message type "Nosuch"' json decode Nosuch <in
}

deep() {
    python3 -c 'import sys; n = int(sys.argv[1]); sys.stdout.write("{\"branches\":[" * n + "{}" + "]}" * n)' 100000 >in
    wrong $einval 'no test.parts.Tree' json encode test.parts.Tree <in
    python3 - >in <<'EOF'
import sys
def varint(n):
    out = b""
    while n > 127:
        out, n = out + bytes([n & 127 | 128]), n >> 7
    return out + bytes([n])
parts, size = [], 0
for i in range(100000):
    parts.append(b"\x12" + varint(size))
    size += len(parts[-1])
sys.stdout.buffer.write(b"".join(reversed(parts)))
EOF
    wrong $einval 'no test.parts.Tree' json decode test.parts.Tree <in
    local depth
    for depth in 64 65; do
        python3 -c "print('{\"branches\":[' * $depth + '{}' + ']}' * $depth)" >in
        if [ $depth = 65 ]; then
            wrong $einval 'nested deeper than 64' json encode test.parts.Tree <in
        else
            json encode test.parts.Tree <in >tree
            json decode test.parts.Tree <tree >text
        fi
    done
    has '{"branches":[{"branches":[{' text
}

too_much() {
    head -c 300000000 /dev/zero >in
    wrong $emsgsize 'larger than 256 MiB' json decode test.broad.CountItem <in
    wrong $emsgsize 'larger than 256 MiB' json encode test.broad.CountItem <in
    # 50 MB of a character that takes six in JSON.
    python3 -c 'import sys
n = 50000000
sys.stdout.buffer.write(b"\x72" + bytes([n & 127 | 128, n >> 7 & 127 | 128, n >> 14 & 127 | 128, n >> 21]) + b"\x01" * n)' >in
    wrong $emsgsize 'the text would be larger than 256 MiB' json decode test.broad.Everything <in
    rm in
}

wrong_descriptors() {
    : >empty.desc
    printf 'nonsense' >nonsense.desc
    "${protos[@]}" --descriptor_set_out=partial.desc broad.proto
    printf 'syntax = "proto2"; package google.protobuf; message Timestamp { optional string seconds = 1; }' >stamp.proto
    "${protos[@]}" --descriptor_set_out=stamp.desc stamp.proto
    { cat "$work/broad.desc"; printf '\x0a\x0f\x0a\x01a\x22\x0a\x0a\x01M\x12\x05\x0a\x01f\x18\x00'; } >field.desc
    # Two files that import each other.
    printf '\x0a\x06\x0a\x01a\x1a\x01b\x0a\x06\x0a\x01b\x1a\x01a' >circle.desc
    local descriptor
    descriptor=empty.desc wrong $einval 'no google.protobuf.FileDescriptorSet' json decode M <<<''
    descriptor=nonsense.desc wrong $einval 'no google.protobuf.FileDescriptorSet' json decode M <<<''
    descriptor=partial.desc wrong $einval 'broad.proto: an import is missing' json decode M <<<''
    descriptor=stamp.desc wrong $einval "package google.protobuf is libprotobuf's own" json decode M <<<''
    descriptor=field.desc wrong $einval 'a: M.f' json decode M <<<''
    descriptor=circle.desc wrong $einval 'an import is missing, or imports this file itself' json decode M <<<''
}

any_order() {
    # The set as a list of files, turned round.
    python3 - "$work/broad.desc" >turned.desc <<'EOF'
import sys
data, files = open(sys.argv[1], "rb").read(), []
while data:
    size = shift = 0
    at = 1
    while True:
        size, shift, at = size | (data[at] & 127) << shift, shift + 7, at + 1
        if data[at - 1] < 128:
            break
    files.insert(0, data[:at + size])
    data = data[at + size:]
sys.stdout.buffer.write(b"".join(files))
EOF
    bytes_of test.broad.Everything <<<"$wide" >in
    descriptor=turned.desc json decode test.broad.Everything <in >text
    json decode test.broad.Everything <in | cmp text
}

own_types() {
    cat >known.proto <<'EOF'
syntax = "proto3";
import "google/protobuf/timestamp.proto";
import "google/protobuf/struct.proto";
import "google/protobuf/any.proto";
message Known {
  google.protobuf.Timestamp at = 1;
  google.protobuf.Value value = 2;
  google.protobuf.Any any = 3;
  optional int32 maybe = 4;
  int32 named = 5 [json_name = "other-name"];
}
EOF
    "${protos[@]}" --include_imports --descriptor_set_out=known.desc known.proto
    "${protos[@]}" --descriptor_set_out=alone.desc known.proto # google/protobuf/ is libprotobuf's, and need not be there
    local text='{"at":"2026-01-02T03:04:05Z","value":{"a":[1,null]},"any":{"@type":"type.googleapis.com/Known","maybe":0},"other-name":5}'
    for descriptor in known.desc alone.desc; do
        printf '%s' "$text" | json encode Known >bytes
        json decode Known <bytes >text
        [ "$(cat text)" = "$text" ] || fail "$(cat text)"
    done
    wrong $einval 'at' json encode Known <<<'{"at": "yesterday"}'
}

test_that "bytes come back through JSON" there_and_back
test_that "JSON is as protobuf's mapping has it, in one line" as_the_mapping_says
test_that "entries of maps may leave something out" entries_of_maps_may_leave_something_out
test_that "lines, unset fields and names as in the .proto are there when asked for" flags_are_obeyed
test_that "fields may be spelled either way" either_spelling
test_that "empty text is an empty message" empty_text
test_that "wrong JSON is refused in one line" wrong_json
test_that "wrong bytes are refused in one line" wrong_bytes
test_that "what is nested too deeply is refused" deep
test_that "what is too large is refused, going in and coming out" too_much
test_that "wrong descriptors are refused in one line" wrong_descriptors
test_that "the files of a descriptor may come in any order" any_order
test_that "libprotobuf's own types have their own JSON" own_types
all_done
