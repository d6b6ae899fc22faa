#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# What protoc-gen-ferry refuses, and how its output compiles. TAP. PLUGIN is the plug-in, INCLUDE has ferry/ferry.h.
set -uo pipefail
: "${PLUGIN:?}" "${INCLUDE:?}" "${FERRY:=none}"
# shellcheck source=../tools/harness
. "$(dirname "$0")/../tools/harness"

# generate FILE...: what it said is in `said`
generate() {
    timeout 60 protoc --plugin=protoc-gen-ferry="$PLUGIN" --proto_path=. --proto_path="$here" --ferry_out=. --c_out=. "$@" >said 2>&1
}

# refused SENTENCE...: wrong.proto is refused with these lines and no others, and nothing is written
refused() {
    if generate wrong.proto; then fail "it was not refused"; fi
    printf '%s\n' "$@" >wanted
    # protoc puts the name of the option before the whole, and a dot behind it.
    sed -e '1s/^--ferry_out: //' said | grep '^wrong.proto:' >got || true
    diff wanted got || { cat said; return 1; }
    [ ! -e wrong.ferry.h ] && [ ! -e wrong.ferry.c ]
}

client_streaming() {
    cat >wrong.proto <<'EOF'
syntax = "proto3";
message M {}
service S {
  rpc Fine(M) returns (M);
  rpc Up(stream M) returns (M);
    rpc Both(stream M) returns (stream M);
}
EOF
    refused 'wrong.proto:5:3: method "Up": client streaming is not supported: an argument is one message' \
        'wrong.proto:6:5: method "Both": client streaming is not supported: an argument is one message'
}

groups() {
    cat >wrong.proto <<'EOF'
syntax = "proto2";
message Unused { optional group Harmless = 1 {} }
message Inner { repeated group Old = 1 { optional int32 a = 1; } }
message M { optional Inner inner = 1; }
service S { rpc Fine(M) returns (M); }
EOF
    refused 'wrong.proto:3:17: field "Inner.old": groups are not supported by protobuf-c'
}

extensions() {
    cat >wrong.proto <<'EOF'
syntax = "proto2";
import "google/protobuf/descriptor.proto";
message M { extensions 100 to 199; }
extend google.protobuf.MethodOptions { optional string fine = 50000; }
extend M {
  optional int32 more = 100;
}
message Other { extend M { optional int32 still_more = 101; } }
service S { rpc Fine(M) returns (M) { option (fine) = "x"; } }
EOF
    refused 'wrong.proto:6:3: extension "more" of "M": extensions are not supported by protobuf-c' \
        'wrong.proto:8:28: extension "Other.still_more" of "M": extensions are not supported by protobuf-c'
}

message_sets() {
    cat >wrong.proto <<'EOF'
syntax = "proto2";
message M { optional Set set = 1; }
message Set { option message_set_wire_format = true; extensions 4 to max; }
service S { rpc Fine(M) returns (M); }
EOF
    refused 'wrong.proto:3:1: message "Set": message sets are not supported'
}

long_names() {
    local package=a.package.whose.name.is.rather.long.so.that.none.fits
    cat >wrong.proto <<EOF
syntax = "proto3";
package $package;
message M {}
  service TheService {
  rpc $(printf 'M%.0s' {1..101})(M) returns (M);
}
EOF
    refused "wrong.proto:4:3: service name \"$package.TheService\" has 64 characters: names of services have at most 60, package and dots included" \
        "wrong.proto:5:3: method \"$(printf 'M%.0s' {1..101})\": its name has 101 characters: names of methods have at most 100"
}

words_of_c() {
    cat >wrong.proto <<'EOF'
syntax = "proto3";
message M {}
service S {
  rpc Return(M) returns (M);
}
EOF
    refused 'wrong.proto:4:3: method "Return": protobuf-c would name a member of a struct "return", which is a word of C'
}

clashes() {
    cat >wrong.proto <<'EOF'
syntax = "proto3";
message M {}
service S {
  rpc GetIt(M) returns (M);
  rpc getIt(M) returns (M);
  rpc Init(M) returns (M);
  rpc Get_It__call(M) returns (M);
  rpc get_it__call(M) returns (M);
  rpc Server_open(M) returns (M);
  rpc Server__open(M) returns (M);
}
message s { message GetIt {} }
EOF
    refused 'wrong.proto:3:1: service "S": its name in C, s__init, is also one of message "s"' \
        'wrong.proto:5:3: method "S.getIt": its name in C, s__get_it, is also one of method "S.GetIt"' \
        'wrong.proto:6:3: method "S.Init": its name in C, s__init, is also one of message "s"' \
        'wrong.proto:8:3: method "S.get_it__call": its name in C, s__get_it__call, is also one of method "S.GetIt"' \
        'wrong.proto:10:3: method "S.Server__open": its name in C, s__server__open, is also one of service "S"'
}

options_of_protobuf_c() {
    cat >other.proto <<'EOF'
syntax = "proto3";
import "protobuf-c/protobuf-c.proto";
option (pb_c_file).no_generate = true;
message Hidden {}
EOF
    cat >wrong.proto <<'EOF'
syntax = "proto3";
import "protobuf-c/protobuf-c.proto";
import "other.proto";
message M { option (pb_c_msg).gen_init_helpers = false; }
service S {
  rpc Fine(M) returns (M);
  rpc Bad(Hidden) returns (M);
}
EOF
    refused 'wrong.proto:6:3: method "Fine": gen_init_helpers of protobuf-c is off for "M": no empty result can be made' \
        'wrong.proto:7:3: method "Bad": protobuf-c makes no code for "Hidden": (pb_c_file).no_generate is set in other.proto' \
        'wrong.proto:7:3: method "Bad": gen_init_helpers of protobuf-c is off for "M": no empty result can be made'
}

all_files_are_looked_at() {
    printf 'syntax = "proto3"; message A {} service S { rpc Up(stream A) returns (A); }' >one.proto
    printf 'syntax = "proto3"; message B {}\nservice T { rpc Up(stream B) returns (B); }' >two.proto
    if generate one.proto two.proto; then fail "they were not refused"; fi
    has 'one.proto:1:45: method "Up"' said
    has 'two.proto:2:13: method "Up"' said
}

options_are_refused() {
    printf 'syntax = "proto3"; message A {} service S {}' >one.proto
    if protoc --plugin=protoc-gen-ferry="$PLUGIN" --ferry_out=fast:. one.proto >said 2>&1; then fail "it was taken"; fi
    has 'no option "fast"' said
}

files_without_services() {
    generate parts.proto
    [ -e parts.pb-c.h ] && [ ! -e parts.ferry.h ] && [ ! -e parts.ferry.c ]
}

# compiles COMMAND...
compiles() {
    timeout 60 "$@" -Wall -Wextra -Wconversion -Werror -O1 -I. -I"$INCLUDE" -fsyntax-only || fail "this failed: $*"
}

standards() {
    generate ancient.proto parts.proto broad.proto
    local standard
    for standard in c11 c17 gnu11; do
        compiles "${CC:-cc}" -std=$standard -pedantic broad.ferry.c
    done
    for standard in c++11 c++20; do
        compiles "${CXX:-c++}" -std=$standard -xc++ broad.ferry.c
    done
    printf '#include "broad.ferry.h"\n#include "broad.ferry.h"\n' >header.c
    compiles "${CC:-cc}" -std=c11 header.c
    compiles "${CXX:-c++}" -std=c++11 -xc++ header.c
}

parts_of_a_service() {
    local methods
    for methods in '' 'rpc One(M) returns (M);' 'rpc Many(M) returns (stream M);' 'rpc One(M) returns (M); rpc Many(M) returns (stream M);'; do
        printf 'syntax = "proto3"; message M {} service S { %s }' "$methods" >part.proto
        generate part.proto
        compiles "${CC:-cc}" -std=c11 part.ferry.c
        compiles "${CXX:-c++}" -std=c++11 -xc++ part.ferry.c
    done
}

odd_names() {
    generate words.proto
    compiles "${CC:-cc}" -std=c11 -pedantic words.ferry.c
    has '(*delete_)' words.ferry.h
    has 'odd__words_of_cpp__word_service__get_urlof_it__next(' words.ferry.h
    has '#define ODD__WORDS_OF_CPP__WORD_SERVICE__NAME "wordService"' words.ferry.h
}

comments() {
    generate ancient.proto parts.proto broad.proto
    has 'Gives back what it gets. * /' broad.ferry.h
    has ' * Waits until nobody waits for it any more.' broad.ferry.h
    has 'Behind it.' broad.ferry.h
    has 'ünïcödé, control characters, a direction ? that turns' broad.ferry.h
}

own_options() {
    "$PLUGIN" --version | grep -qE '^protoc-gen-ferry [0-9]+\.[0-9]+\.[0-9]+$'
    status_of 2 "$PLUGIN" broad.proto 2>said
    has 'protoc --ferry_out=' said
}

test_that "client streaming is refused" client_streaming
test_that "groups are refused where a service uses them" groups
test_that "extensions are refused, but not those of options" extensions
test_that "message sets are refused" message_sets
test_that "names that are too long for Ferry are refused" long_names
test_that "methods that are words of C are refused" words_of_c
test_that "names that clash in C are refused" clashes
test_that "options of protobuf-c that leave things out are refused" options_of_protobuf_c
test_that "the faults of all files are told at once" all_files_are_looked_at
test_that "options that there are not are refused" options_are_refused
test_that "nothing is made for a file without services" files_without_services
test_that "what is made compiles without a warning, as C and as C++" standards
test_that "so it does with no methods, or methods of one kind only" parts_of_a_service
test_that "odd names and a package of protobuf-c's are spelled as protobuf-c spells them" odd_names
test_that "comments are carried over, and made harmless" comments
test_that "the plug-in tells its version, and how it is run" own_options
all_done
