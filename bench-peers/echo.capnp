# SPDX-License-Identifier: MIT
#
# What capnp.cpp calls.
@0xbf7c3f6a2d914e05;

interface Echo {
    call @0 (question :Data) -> (answer :Data);
}
