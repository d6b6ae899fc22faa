#!/bin/sh
# SPDX-License-Identifier: MIT
#
# in-own-directory.sh COMMAND [ARGUMENT]... - runs a command with a directory for spaces of its own, so that examples
# neither meet each other nor what else runs on the machine. Ends with the command's status, or with 1 when the command
# left a node or an open end behind.
set -u
FERRY_DIR=$(mktemp -d "${TMPDIR:-/tmp}/ferry-example.XXXXXX") || exit 1
export FERRY_DIR
trap 'trap "" INT TERM; rm -rf "$FERRY_DIR"' EXIT
trap 'exit 130' INT TERM

"$@"
status=$?

# The last node to leave a space takes the space's directory along.
left=$(find "$FERRY_DIR" -mindepth 1 -print)
if [ -n "$left" ]; then
    echo "in-own-directory.sh: $1 left behind: $left" >&2
    [ "$status" -ne 0 ] || status=1
fi
exit "$status"
