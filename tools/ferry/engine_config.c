/* SPDX-License-Identifier: MIT
 *
 * engine_config.c - the configuration of a server. Why these figures:
 *
 * max_payload   8 MiB: the most that nats-server takes without a warning. A message of 1 MiB then travels as one, header
 *               and all; what is longer is cut. Clients read it from the server's greeting.
 * max_pending   64 MiB to each client, or eight of the longest messages: the rest is what a client must read first.
 * write_deadline, ping_interval, ping_max
 *               a client that takes nothing for 4 s, or answers nothing for 4 to 6 s, is as good as gone: it stands in
 *               the way of those who send to it no longer than that, and connects again if it comes back.
 *
 * http, http_base_path
 *               whether JetStream is ready, a cluster's leader and all, is told by the server's monitor alone, whatever TLS
 *               and passwords clients need. It is on the loopback, on any port, and below a path that is a secret: other
 *               users of the machine shall not see who is connected.
 *
 * Every path is one beside the file itself, so that the directory of a cluster's node can go to its machine.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine.h"
#include "say.h"

void engine_hostname(char *name, size_t cap) {
    if (gethostname(name, cap) < 0 || name[0] == '\0')
        snprintf(name, cap, "localhost");
    name[cap - 1] = '\0';
}

static void write_tls(const engine_t *e, FILE *out, const char *indent, bool verify) {
    if (e->tls)
        fprintf(out,
                "%stls {\n%s    cert_file: \"server.pem\"\n%s    key_file: \"server-key.pem\"\n"
                "%s    ca_file: \"ca.pem\"\n%s    verify: %s\n%s}\n",
                indent, indent, indent, indent, indent, verify ? "true" : "false", indent);
}

/* Servers know each other by a secret: else whoever reaches a port of theirs could join and read everything. */
static void write_routes(const engine_t *e, FILE *out, unsigned node, const char *secret) {
    char text[ENGINE_HOST + 16];
    engine_address_t own = e->listens[node - 1];

    own.port = engine_route_port(own.port);
    fprintf(out,
            "cluster {\n    name: \"%s\"\n    listen: \"%s\"\n    authorization {\n        user: \"node\"\n"
            "        password: \"%s\"\n    }\n    routes: [\n",
            e->name, engine_show_address(&own, text), secret);
    for (unsigned i = 0; i < e->cluster; i++) {
        engine_address_t other = e->listens[i];
        other.port = engine_route_port(other.port);
        if (i + 1 != node)
            fprintf(out, "        \"nats-route://node:%s@%s\"\n", secret, engine_show_address(&other, text));
    }
    fprintf(out, "    ]\n");
    write_tls(e, out, "    ", true);
    fprintf(out, "}\n");
}

static void write_listen(const engine_t *e, FILE *out, unsigned node) {
    const engine_address_t *address = &e->listens[node > 0 ? node - 1 : 0];
    char text[ENGINE_HOST + 16];

    engine_show_address(address, text);
    if (address->port == 0)
        strcpy(strrchr(text, ':') + 1, "-1");
    if (node > 0)
        fprintf(out, "server_name: \"%s-%u\"\n", e->name, node);
    else
        fprintf(out, "server_name: \"%s\"\n", e->name);
    fprintf(out, "listen: \"%s\"\n", text);
}

static void write_all(const engine_t *e, FILE *out, unsigned node, const char *secret, const char *monitor,
                      uint64_t disk) {
    const uint64_t usual_pending = (uint64_t)64 << 20;
    uint64_t pending = 8 * e->max_payload > usual_pending ? 8 * e->max_payload : usual_pending;

    if (node == 0)
        fprintf(out,
                "# Written by `ferry engine` at each start; what to change is an option of it: man ferry-engine\n");
    else
        fprintf(out, "# Written by `ferry engine --cluster`; start it with `ferry engine --config FILE`\n");
    write_listen(e, out, node);
    fprintf(out,
            "max_payload: %" PRIu64 "\nmax_pending: %" PRIu64 "\nwrite_deadline: \"4s\"\nping_interval: \"2s\"\n"
            "ping_max: 2\n",
            e->max_payload, pending);
    fprintf(out, "http: \"127.0.0.1:-1\"\n" ENGINE_MONITOR "\"/%s\"\n", monitor);
    fprintf(out,
            "jetstream {\n    store_dir: \"data\"\n    max_memory_store: %" PRIu64 "\n    max_file_store: %" PRIu64
            "\n}\n",
            e->memory, disk);
    if (e->user != NULL)
        fprintf(out, "authorization {\n    user: \"%s\"\n    password: \"%s\"\n}\n", e->user, e->password);
    write_tls(e, out, "", e->mutual);
    if (node > 0)
        write_routes(e, out, node, secret);
}

int engine_write_config(const engine_t *e, const char *directory, unsigned node, const char *secret) {
    char *text = NULL;
    size_t size = 0;
    char path[PATH_MAX];
    char monitor[ENGINE_SECRET];
    uint64_t disk = e->disk;

    int status = disk == 0 ? engine_room(directory, "data", &disk) : 0;
    if (status == 0)
        status = engine_random(monitor);
    if (status != 0)
        return status;
    FILE *out = open_memstream(&text, &size);
    if (out != NULL)
        write_all(e, out, node, secret, monitor, disk);
    if (out == NULL || fclose(out) != 0) {
        say("no memory for the configuration");
        free(text);
        return STATUS_FAILED;
    }
    snprintf(path, sizeof path, "%s/engine.conf", directory);
    status = engine_put_file(path, text);
    free(text);
    return status;
}
