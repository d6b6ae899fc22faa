#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# Installs the Debian packages that Ferry needs and this machine lacks; says what it does, and is quiet and quick when
# nothing is missing.
#
#   install-deps.sh build    what `make build` needs
#   install-deps.sh test     what `make test` needs as well
#   install-deps.sh bench    what `make bench` compares with as well
set -euo pipefail

purpose=${1:-build}
missing=()

need_command() { # COMMAND PACKAGE
    command -v "$1" >/dev/null 2>&1 || missing+=("$2")
}

need_header() { # HEADER PACKAGE
    printf '#include <stddef.h>\n#include <stdarg.h>\n#include <setjmp.h>\n#include <stdint.h>\n#include <%s>\n' "$1" |
        "${CC:-cc}" -E -x c - >/dev/null 2>&1 || missing+=("$2")
}

need_cxx_header() { # HEADER PACKAGE
    printf '#if !__has_include(<%s>)\n#error missing\n#endif\n' "$1" | "${CXX:-c++}" -E -x c++ - >/dev/null 2>&1 || missing+=("$2")
}

need_command "${CC:-cc}" gcc
need_command ninja ninja-build
need_command meson meson
need_command pkg-config pkg-config
need_header stdlib.h libc6-dev
need_header linux/futex.h linux-libc-dev
# Interfaces from .proto files: the plug-in of protoc is C++, what it makes is C.
need_command "${CXX:-c++}" g++
need_command protoc protobuf-compiler
need_command protoc-gen-c protobuf-c-compiler
need_cxx_header google/protobuf/util/json_util.h libprotobuf-dev
need_cxx_header google/protobuf/compiler/plugin.h libprotoc-dev
need_header protobuf-c/protobuf-c.h libprotobuf-c-dev
# Spaces that span machines: the client, and a server for `ferry engine`, with which `make demo` shows them.
need_header nats/nats.h libnats-dev
PATH=$PATH:/usr/sbin need_command nats-server nats-server
if [ "$purpose" = test ]; then
    need_command clang-format clang-format
    need_command openssl openssl
    need_command python3 python3
    need_command strace strace
    need_command unshare util-linux
    need_header cmocka.h libcmocka-dev
fi
if [ "$purpose" = bench ]; then
    need_command python3 python3
    need_header zmq.h libzmq3-dev
    need_header nng/nng.h libnng-dev
    need_header ucp/api/ucp.h libucx-dev
    need_command iox-roudi iceoryx
    compgen -G '/usr/include/iceoryx/v*/iceoryx_binding_c/runtime.h' >/dev/null || missing+=(libiceoryx-binding-c-dev)
    need_cxx_header boost/interprocess/managed_shared_memory.hpp libboost-dev
    need_cxx_header grpcpp/grpcpp.h libgrpc++-dev
    need_command grpc_cpp_plugin protobuf-compiler-grpc
    need_cxx_header capnp/ez-rpc.h libcapnp-dev
    need_command capnp capnproto
fi

[ ${#missing[@]} -gt 0 ] || exit 0

echo "ferry: missing here: ${missing[*]}" >&2
if ! command -v apt-get >/dev/null 2>&1; then
    echo "ferry: this is not a Debian system; install the counterparts of these packages, then try again" >&2
    exit 1
fi
as_root=()
if [ "$(id -u)" != 0 ]; then
    if ! command -v sudo >/dev/null 2>&1; then
        echo "ferry: run this as root, then try again: apt-get install ${missing[*]}" >&2
        exit 1
    fi
    as_root=(sudo)
fi
echo "ferry: installing ${missing[*]}" >&2
export DEBIAN_FRONTEND=noninteractive
install=("${as_root[@]}" apt-get install --yes --no-install-recommends "${missing[@]}")
"${install[@]}" >&2 </dev/null || { "${as_root[@]}" apt-get update >&2 </dev/null && "${install[@]}" >&2 </dev/null; }
case " ${missing[*]} " in
*' nats-server '*)
    # The package starts a server of its own, now and at every boot. What is wanted is the program.
    if command -v systemctl >/dev/null 2>&1; then
        "${as_root[@]}" systemctl disable --now nats-server.service >/dev/null 2>&1 </dev/null || :
    fi
    ;;
esac
