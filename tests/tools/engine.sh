#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# `ferry engine`: the server is ready when its URL is there, knows whom to let in, and is gone when it is not wanted.
# What connects is a client that knows nothing of Ferry, and openssl.
# shellcheck disable=SC2016,SC2031
# shellcheck source=harness
. "$(dirname "$0")/harness"
# shellcheck source=engine-lib.sh
. "$here/engine-lib.sh"
unset FERRY_USER FERRY_PASSWORD FERRY_TOKEN FERRY_CREDENTIALS FERRY_TLS_CA FERRY_TLS_CERT FERRY_TLS_KEY

peer=(timeout -k 2 20 "$PYTHON" -S "$here/engine_peer.py")

# refused_peer TEXT WORD...: it is not let in, for that reason
refused_peer() {
    local text=$1
    shift
    status_of 1 "${peer[@]}" "$@" >out 2>said
    has "$text" said
}

# gone PID: no such process, or one that only waits to be waited for
gone() {
    ! kill -0 "$1" 2>/dev/null || grep -q '^State:.*Z' "/proc/$1/status"
}

# none_left DIR: no server runs in it
none_left() {
    local left
    left=$(find /proc -maxdepth 2 -name cwd -lname "$(realpath "$1")*" 2>/dev/null) || :
    [ -z "$left" ] || fail "a server is left in $1: $left"
}

# --- one server ----------------------------------------------------------------------------------------------------

the_url_is_printed_when_the_server_is_ready() {
    "$FERRY" engine --listen 127.0.0.1:0 --store store >url 2>said &
    local engine=$!
    until_true test -s url
    "${peer[@]}" "$(cat url)" stream jobs 1 put jobs hello >info
    [ "$(wc -l <url)" = 1 ]
    json info 'd["jetstream"] and d["max_payload"] == 8 << 20 and d["headers"]'
    has "export FERRY_SPACE='$(cat url)/default'" said
    same <(. store/client.env && echo "$FERRY_SPACE") <(echo "$(cat url)/default")
    [ -z "$(find store ! -perm /077 -prune -o -print)" ] || fail "others may read: $(ls -lR store)"
    kill -TERM "$engine"
    ended 143 "$engine"
    none_left store
}

json_tells_where_everything_is() {
    engine_start store --name here --max-payload 2MiB --memory 32MiB --disk 100MiB
    json store.json 'd["url"].startswith("nats://127.0.0.1:") and d["version"] and d["max_payload"] == 2 << 20'
    json store.json "d['pid'] == $ENGINE_PID and not d['tls'] and d['store'] == '$PWD/store'"
    json store.json "open(d['config']).read().find('max_file_store: 104857600') > 0 and open(d['log']).read()"
    grep -aq '^nats-server' "/proc/$ENGINE_SERVER_PID/cmdline"
    "${peer[@]}" "$ENGINE_URL" >info
    json info 'd["server_name"] == "here" and d["max_payload"] == 2 << 20'
    engine_stop
    none_left store
}

# what the server has in its environment for Go
go_settings() {
    tr '\0' '\n' <"/proc/$ENGINE_SERVER_PID/environ" | grep '^GO' | sort
}

the_server_collects_garbage_less_often() {
    unset GOGC GOMEMLIMIT
    local half limit
    half=$(($(sed -n 's/^MemTotal: *\([0-9]*\) kB/\1/p' /proc/meminfo) * 512))
    engine_start store
    go_settings >set
    engine_stop
    has GOGC=400 set
    limit=$(sed -n 's/^GOMEMLIMIT=//p' set)
    [ "$limit" -ge $((16 << 20)) ] && [ "$limit" -le "$half" ] || fail "$limit of $half bytes"
    export GOGC=90
    engine_start store
    go_settings >set
    engine_stop
    [ "$(cat set)" = GOGC=90 ] || fail "what the user has set: $(cat set)"
}

what_is_stored_stays() {
    engine_start store
    "${peer[@]}" "$ENGINE_URL" stream jobs 1 put jobs a put jobs b >info
    local url=$ENGINE_URL
    engine_kill_server
    has 'nats-server was ended by signal 9' store.said
    engine_restart
    [ "$ENGINE_URL" = "$url" ] || fail "$ENGINE_URL is not $url"
    "${peer[@]}" "$ENGINE_URL" count jobs 2>count >info
    [ "$(cat count)" = 2 ]
    engine_stop
}

an_interrupt_ends_it_in_good_order() {
    "${signalled[@]}" engine --listen 0 --store store >url 2>said &
    until_true test -s url
    kill -INT $!
    ended 130 $!
    has 'Server Exiting' store/engine.log
    none_left store
}

killing_ferry_takes_the_server_down() {
    engine_start store
    "${peer[@]}" "$ENGINE_URL" stream jobs 1 put jobs a >info
    killed "$ENGINE_PID"
    # The next one waits for the server that was left.
    engine_restart
    until_true gone "$ENGINE_SERVER_PID" &
    "${peer[@]}" "$ENGINE_URL" count jobs 2>count >info
    [ "$(cat count)" = 1 ]
    killed "$ENGINE_PID"
    until_true gone "$ENGINE_SERVER_PID"
    until_true none_left store
}

a_store_has_one_engine() {
    engine_start store
    status_of 75 "${ferry[@]}" engine --listen 0 --store store >out 2>said
    has "in use by another \`ferry engine\`, process $ENGINE_PID" said
    [ ! -s out ]
    "${peer[@]}" "$ENGINE_URL" >info
    engine_stop
}

a_port_in_use_is_told_with_who_has_it() {
    engine_start store
    status_of 125 "${ferry[@]}" engine --listen "${ENGINE_URL#nats://}" --store other >out 2>said
    has "${ENGINE_URL#nats://} is in use by process $ENGINE_SERVER_PID (nats-server)" said
    [ ! -s out ]
    engine_stop
}

what_is_missing_is_told() {
    status_of 127 "${ferry[@]}" engine --store store --server no-nats-server >out 2>said
    has 'apt-get install nats-server' said
    status_of 127 "${ferry[@]}" engine --store store --server ./nowhere >out 2>said
    has 'cannot run ./nowhere: No such file or directory' said
    touch file
    status_of 125 "${ferry[@]}" engine --store file/store >out 2>said
    has 'cannot make the store file/store: Not a directory' said
    mkdir open && chmod 0777 open
    status_of 125 "${ferry[@]}" engine --store open >out 2>said
    has 'nobody else may write' said
    status_of 125 "${ferry[@]}" engine --config nowhere.conf >out 2>said
    has 'cannot read the configuration nowhere.conf' said
    status_of 125 "${ferry[@]}" engine --listen 192.0.2.1:0 --store store --quiet >out 2>said
    has 'cannot assign requested address' said
    echo 'no_such_thing: 1' >bad.conf
    status_of 125 "${ferry[@]}" engine --config bad.conf >out 2>said
    has 'no_such_thing' said
    [ ! -s out ]
}

a_wrong_line_is_told() {
    local arguments
    while read -r arguments; do
        # shellcheck disable=SC2086
        status_of 2 "${ferry[@]}" engine --store store $arguments >out 2>said
        has '--help' said
        [ "$(wc -l <said)" = 1 ]
    done <<'END'
now
--listen a:b
--listen 1:2:3:99999
--listen 127.0.0.1:99999
--listen 99999
--listen 0 --listen 0
--user a/b
--user -x
--name ../x
--cluster 2
--cluster 9
--cluster 3 --listen 0.0.0.0
--cluster 3 --listen 65535
--node 1 --tls
--node 9
--max-payload 1GiB
END
    [ ! -e store ]
}

# --- whom it lets in -----------------------------------------------------------------------------------------------

a_user_needs_the_password() {
    engine_start store --user team
    grep -q '.\{40\}' store/team.password
    if grep -F "$(cat store/team.password)" store.said store.json store/client.env store/engine.log; then fail 'told'; fi
    refused_peer 'Authorization Violation' "$ENGINE_URL"
    FERRY_USER=team FERRY_PASSWORD=wrong refused_peer 'Authorization Violation' "$ENGINE_URL"
    (. store/client.env && "${peer[@]}" "$ENGINE_URL" >info)
    cp store/team.password before
    engine_stop
    engine_restart
    same before store/team.password
    engine_stop
}

# verified_by_openssl: the server's certificate is one of the store's authority, for these names and no other
verified_by_openssl() {
    openssl verify -x509_strict -purpose sslserver -verify_hostname localhost -CAfile store/ca.pem store/server.pem
    openssl verify -x509_strict -purpose sslserver -verify_ip 127.0.0.1 -CAfile store/ca.pem store/server.pem
    if openssl verify -purpose sslserver -verify_hostname other.example -CAfile store/ca.pem store/server.pem; then
        fail 'any name will do'
    fi
}

tls_shows_a_certificate_that_can_be_verified() {
    engine_start store --tls
    [ "${ENGINE_URL%%:*}" = nats+tls ]
    verified_by_openssl
    (. store/client.env && "${peer[@]}" "$ENGINE_URL" stream jobs 1 >info)
    (. store/client.env && "${peer[@]}" "${ENGINE_URL/127.0.0.1/localhost}" >info)
    json info 'd["tls_required"]'
    refused_peer 'CERTIFICATE_VERIFY_FAILED' "$ENGINE_URL"
    refused_peer '' "nats${ENGINE_URL#nats+tls}" # not encrypted
    (. store/client.env && status_of 125 "${ferry[@]}" send --space "nats${ENGINE_URL#nats+tls}/any" jobs x 2>said)
    has 'insists on TLS: write nats+tls://' said
    sha256sum store/ca.pem store/server.pem >before
    engine_stop
    engine_restart
    sha256sum store/ca.pem store/server.pem >after
    same before after
    engine_stop
    # Another address: another certificate, of the same authority.
    engine_start store --tls --listen 127.0.0.2:0
    verified_by_openssl
    openssl verify -verify_ip 127.0.0.2 -CAfile store/ca.pem store/server.pem
    [ "$(sha256sum store/ca.pem)" = "$(head -n 1 before)" ]
    engine_stop
}

mutual_tls_lets_nobody_in_without_a_certificate() {
    engine_start store --mutual-tls
    (. store/client.env && "${peer[@]}" "$ENGINE_URL" >info)
    json info 'd["tls_verify"]'
    FERRY_TLS_CA=store/ca.pem refused_peer '' "$ENGINE_URL"
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=client -keyout own-key.pem -out own.pem -days 2 2>/dev/null
    FERRY_TLS_CA=store/ca.pem FERRY_TLS_CERT=own.pem FERRY_TLS_KEY=own-key.pem refused_peer '' "$ENGINE_URL"
    engine_stop
}

who_listens_for_others_is_warned() {
    "$FERRY" engine --listen 0.0.0.0:0 --store store >url 2>said &
    until_true test -s url
    has 'whoever reaches 0.0.0.0 may read and change everything' said
    has 'add --tls' said
    "${peer[@]}" "$(cat url)" >info
    kill $!
    ended 143 $!
    rm url
    "$FERRY" engine --listen 0.0.0.0:0 --tls --user team --store store >url 2>said &
    until_true test -s url
    if grep warning said; then fail 'a warning'; fi
    kill $!
    ended 143 $!
}

# --- three servers -------------------------------------------------------------------------------------------------

three_servers_agree_on_a_leader() {
    cluster_start nodes
    "${peer[@]}" "$(engine_field nodes/2.json url)" stream jobs 3 put jobs a >info
    json info 'd["cluster"] == "ferry" and d["server_name"] == "ferry-2"'
    status_of 75 "${ferry[@]}" engine --cluster 3 --store nodes >out 2>said
    has 'the server of node1 runs' said
    # Another one than the leader: those who are left would need seconds to elect a new one.
    local other=$(($(cluster_leader) % 3 + 1))
    cluster_node_kill "$other"
    cluster_node_start "$other"
    cluster_node_ready "$other"
    "${peer[@]}" "$(engine_field "nodes/$other.json" url)" count jobs 2>count >info
    [ "$(cat count)" = 1 ]
    cluster_stop
    none_left nodes
}

a_cluster_knows_its_own() {
    cluster_start nodes --mutual-tls --user team
    [ "$(grep -c . nodes/cluster.said)" -ge 1 ]
    [ "${CLUSTER_URL%%:*}" = nats+tls ]
    openssl verify -purpose sslserver -verify_ip 127.0.0.1 -CAfile nodes/ca.pem nodes/node[123]/server.pem
    export FERRY_TLS_CA=nodes/ca.pem FERRY_TLS_CERT=nodes/client.pem FERRY_TLS_KEY=nodes/client-key.pem
    url=$(engine_field nodes/3.json url)
    refused_peer 'Authorization Violation' "$url"
    FERRY_USER=team FERRY_PASSWORD=$(cat nodes/team.password) "${peer[@]}" "$url" stream jobs 3 put jobs a >info
    if grep -rF "$(cat nodes/cluster.password)" nodes/*.said nodes/*.json nodes/node1/engine.log; then fail 'told'; fi
    cluster_stop
}

commands_of_a_cluster_are_printed() {
    "${ferry[@]}" engine --cluster 3 --store "it's" --listen a.example --listen b.example --listen c.example >out 2>said
    printf 'ferry engine --store '\''%s/it'\''\\'\'''\''s'\'' --node %d\n' "$PWD" 1 "$PWD" 2 "$PWD" 3 >expected
    same expected out
    has 'FERRY_SPACE=nats://a.example:4222,b.example:4222,c.example:4222/default' said
    has 'nats-route://node:' "it's/node2/engine.conf"
    has '@c.example:6222' "it's/node2/engine.conf"
    has 'warning: whoever reaches a.example' said
    mkdir elsewhere && cp -r "it's/node1" elsewhere
    sed -i 's/^\( *listen: "\).*/\1127.0.0.1:-1"/; s/b\.example/127.0.0.1/; s/c\.example/127.0.0.2/' elsewhere/node1/engine.conf
    status_of 124 "${ferry[@]}" engine --config elsewhere/node1/engine.conf --timeout 500ms >out 2>said
    has 'timed out' said
    none_left elsewhere
    sed -i 's/node:[^@]*@127.0.0.1:6222/&x/' elsewhere/node1/engine.conf
    status_of 125 "${ferry[@]}" engine --config elsewhere/node1/engine.conf >out 2>said
    has 'error parsing route url' said
    if grep -F "$(cat "it's/cluster.password")" said; then fail 'told'; fi
}

test_that "the URL is printed when the server is ready" the_url_is_printed_when_the_server_is_ready
test_that "JSON tells where everything is" json_tells_where_everything_is
test_that "the server collects garbage less often, unless the user has said how often" \
    the_server_collects_garbage_less_often
test_that "what is stored stays" what_is_stored_stays
test_that "an interrupt ends it in good order" an_interrupt_ends_it_in_good_order
test_that "killing ferry takes the server down" killing_ferry_takes_the_server_down
test_that "a store has one engine" a_store_has_one_engine
test_that "a port in use is told, with who has it" a_port_in_use_is_told_with_who_has_it
test_that "what is missing is told" what_is_missing_is_told
test_that "a wrong line is told" a_wrong_line_is_told
test_that "a user needs the password" a_user_needs_the_password
test_that "TLS shows a certificate that can be verified" tls_shows_a_certificate_that_can_be_verified
test_that "mutual TLS lets nobody in without a certificate" mutual_tls_lets_nobody_in_without_a_certificate
test_that "who listens for others is warned" who_listens_for_others_is_warned
test_that "three servers agree on a leader" three_servers_agree_on_a_leader
test_that "a cluster knows its own" a_cluster_knows_its_own
test_that "commands of a cluster are printed" commands_of_a_cluster_are_printed
all_done
