# SPDX-License-Identifier: MIT
# shellcheck shell=bash
#
# Servers for tests of what crosses the network, by `ferry engine`. Sourced by a script that has FERRY, the tool.
#
#   engine_start DIR [ARG...]     one server, its store in DIR, on a free port of 127.0.0.1 (or what the arguments say)
#                                 -> ENGINE_URL, ENGINE_PID (of `ferry engine`), ENGINE_SERVER_PID (of nats-server)
#   engine_space                  one in the working directory, and FERRY_SPACE: a space there
#   engine_stop                   ends it in good order
#   engine_kill_server            kills nats-server, and waits until `ferry engine` has ended for that
#   engine_restart                the last one again: the same store, the same port, the same arguments
#
#   cluster_start DIR [ARG...]    three servers -> CLUSTER_URL (all of them), CLUSTER_PIDS[1..3], CLUSTER_SERVER_PIDS[1..3]
#   cluster_node_start I          one of them, after it was stopped or killed; wait with cluster_node_ready I
#   cluster_node_kill I           kills its nats-server
#   cluster_leader                prints the number of the one that leads
#   cluster_stop
#
# Each returns 1, having said why, if it does not come to that. What is started is a job of the calling shell.

# engine_wait_line FILE PID: until the file holds a line; fails when the process ends before, or after 20 s.
engine_wait_line() {
    local end=$((SECONDS + 20))
    until [ -s "$1" ] && [ "$(wc -l <"$1")" -ge 1 ]; do
        if ! kill -0 "$2" 2>/dev/null || [ "$SECONDS" -ge "$end" ]; then
            echo "the engine is not ready; it said: $(cat "${1%.json}.said")" >&2
            return 1
        fi
        sleep 0.01
    done
}

# engine_field FILE NAME: of what --json has printed
engine_field() {
    sed -nE 's/.*"'"$2"'":"?([^",}]*)"?[,}].*/\1/p' "$1"
}

engine_launch() { # ARG...
    rm -f "$ENGINE_DIR.json"
    "$FERRY" engine --json --store "$ENGINE_DIR" "$@" >"$ENGINE_DIR.json" 2>"$ENGINE_DIR.said" &
    ENGINE_PID=$!
    engine_wait_line "$ENGINE_DIR.json" "$ENGINE_PID" || return 1
    ENGINE_URL=$(engine_field "$ENGINE_DIR.json" url)
    ENGINE_SERVER_PID=$(engine_field "$ENGINE_DIR.json" server_pid)
}

engine_start() { # DIR [ARG...]
    ENGINE_DIR=$1
    shift
    ENGINE_ARGS=("$@")
    case " $* " in
    *' --listen '*) engine_launch "$@" ;;
    *) engine_launch --listen 127.0.0.1:0 "$@" ;;
    esac
}

engine_space() {
    engine_start "$PWD/engine"
    export FERRY_SPACE=$ENGINE_URL/test
}

# Where it listened, whatever it was told.
engine_restart() {
    local arguments=() word skip=
    for word in "${ENGINE_ARGS[@]}"; do
        if [ -n "$skip" ]; then
            skip=
        elif [ "$word" = --listen ]; then
            skip=1
        else
            arguments+=("$word")
        fi
    done
    engine_launch --listen "${ENGINE_URL#*://}" "${arguments[@]}"
}

engine_gone() { # PID
    local status=0
    wait "$1" || status=$?
    [ "$status" != 127 ]
}

engine_stop() {
    kill -TERM "$ENGINE_PID" || return 1
    engine_gone "$ENGINE_PID"
}

engine_kill_server() {
    kill -KILL "$ENGINE_SERVER_PID" || return 1
    engine_gone "$ENGINE_PID"
}

# --- three of them ---------------------------------------------------------------------------------------------------

cluster_node_start() { # I
    local file=$CLUSTER_DIR/$1.json
    rm -f "$file"
    "$FERRY" engine --json --store "$CLUSTER_DIR" --node "$1" >"$file" 2>"$CLUSTER_DIR/$1.said" &
    CLUSTER_PIDS[$1]=$!
}

cluster_node_ready() { # I
    engine_wait_line "$CLUSTER_DIR/$1.json" "${CLUSTER_PIDS[$1]}" || return 1
    CLUSTER_SERVER_PIDS[$1]=$(engine_field "$CLUSTER_DIR/$1.json" server_pid)
}

cluster_start() { # DIR [ARG...]
    local i
    CLUSTER_DIR=$1
    shift
    mkdir -p "$CLUSTER_DIR" && chmod 0700 "$CLUSTER_DIR"
    "$FERRY" engine --json --cluster 3 --listen 127.0.0.1:0 --store "$CLUSTER_DIR" "$@" \
        >"$CLUSTER_DIR/cluster.json" 2>"$CLUSTER_DIR/cluster.said" || { cat "$CLUSTER_DIR/cluster.said" >&2; return 1; }
    # shellcheck disable=SC2034
    CLUSTER_URL=$(sed -E 's/^\{"url":"([^"]*)".*/\1/' "$CLUSTER_DIR/cluster.json")
    CLUSTER_PIDS=()
    CLUSTER_SERVER_PIDS=()
    for i in 1 2 3; do cluster_node_start "$i"; done
    for i in 1 2 3; do cluster_node_ready "$i" || return 1; done
}

cluster_node_kill() { # I
    kill -KILL "${CLUSTER_SERVER_PIDS[$1]}" || return 1
    engine_gone "${CLUSTER_PIDS[$1]}"
}

# The last that any of the logs tells; times in them can be compared.
cluster_leader() {
    local i
    for i in 1 2 3; do
        sed -n "/Self is new JetStream cluster metadata leader/s/\$/ :$i/p" "$CLUSTER_DIR/node$i/engine.log"
    done | sort -k2,3 | tail -n 1 | sed 's/.*://'
}

cluster_stop() {
    local i
    kill -TERM "${CLUSTER_PIDS[@]}" || return 1
    for i in 1 2 3; do engine_gone "${CLUSTER_PIDS[$i]}"; done
}
