/* SPDX-License-Identifier: MIT
 *
 * engine_cluster.c - `ferry engine --cluster N`: a directory for each server, to be started here or to be carried to
 * its machine, and how to do that.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine.h"
#include "json.h"
#include "say.h"

/* Its directory, not in use by a server of it. */
static int prepare_directory(const char *directory) {
    char lock[64];

    if (mkdir(directory, 0700) < 0 && errno != EEXIST) {
        say("cannot make %s: %s", directory, strerror(errno));
        return STATUS_FAILED;
    }
    snprintf(lock, sizeof lock, "%s/lock", directory);
    int fd = open(lock, O_RDWR | O_CLOEXEC);
    bool used = fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) < 0;
    if (fd >= 0)
        close(fd);
    if (used)
        say("the server of %s runs; end it before its configuration is written anew", directory);
    return used ? STATUS_NOT_OBTAINED : 0;
}

static int make_node(const engine_t *e, unsigned node, const char *secret) {
    char directory[32];

    snprintf(directory, sizeof directory, "node%u", node);
    int status = prepare_directory(directory);
    if (status == 0 && e->tls)
        status = engine_certificates(e, ".", directory, &e->listens[node - 1]);
    return status == 0 ? engine_write_config(e, directory, node, secret) : status;
}

static void show_urls(const engine_t *e, char *text, size_t cap) {
    char address[ENGINE_HOST + 16];
    size_t len = (size_t)snprintf(text, cap, "%s", e->tls ? "nats+tls://" : "nats://");

    for (unsigned i = 0; i < e->cluster && len < cap; i++)
        len += (size_t)snprintf(text + len, cap - len, "%s%s", i > 0 ? "," : "",
                                engine_show_address(&e->listens[i], address));
}

static void print_json(const engine_t *e, const char *url) {
    json_t j = {.out = stdout};
    char text[PATH_MAX + 32];

    json_open(&j, NULL, '{');
    json_text(&j, "url", url);
    json_text(&j, "store", e->directory);
    json_open(&j, "nodes", '[');
    for (unsigned i = 0; i < e->cluster; i++) {
        json_open(&j, NULL, '{');
        snprintf(text, sizeof text, "%s/node%u/engine.conf", e->directory, i + 1);
        json_text(&j, "config", text);
        json_text(&j, "listen", engine_show_address(&e->listens[i], text));
        json_close(&j, '}');
    }
    json_close(&j, ']');
    json_close(&j, '}');
    printf("\n");
}

static int tell(const engine_t *e) {
    char url[ENGINE_NODES * (ENGINE_HOST + 20)];
    char *store = engine_quote(e->directory);
    bool here = true;

    show_urls(e, url, sizeof url);
    for (unsigned i = 0; i < e->cluster; i++)
        here = here && engine_is_loopback(e->listens[i].host);
    if (e->common.json)
        print_json(e, url);
    for (unsigned i = 0; i < e->cluster && !e->common.json; i++)
        printf("ferry engine --store %s --node %u\n", store != NULL ? store : "?", i + 1);
    free(store);
    if (e->common.quiet)
        return finish_output(STATUS_OK);
    if (!here)
        say("each server on its machine: copy node1, node2... there, and run `ferry engine --config "
            "node1/engine.conf`");
    say("then, to open a space on them: export FERRY_SPACE=%s/default", url);
    if (e->user != NULL)
        say("and FERRY_USER=%s, with FERRY_PASSWORD from %s/%s.password", e->user, e->directory, e->user);
    if (e->tls)
        say("and FERRY_TLS_CA=%s/ca.pem%s", e->directory,
            e->mutual ? ", FERRY_TLS_CERT and FERRY_TLS_KEY: client.pem and client-key.pem beside it" : "");
    return finish_output(STATUS_OK);
}

int engine_make_cluster(engine_t *e) {
    char secret[ENGINE_SECRET];
    int status = engine_secret("cluster.password", secret);

    if (status == 0)
        status = engine_free_ports(e->listens, (unsigned)e->cluster);
    for (unsigned i = 1; i <= e->cluster && status == 0; i++)
        status = make_node(e, i, secret);
    if (status != 0)
        return status;
    engine_warn(e, &e->listens[0]);
    return tell(e);
}
