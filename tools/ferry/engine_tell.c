/* SPDX-License-Identifier: MIT
 *
 * engine_tell.c - what is told when the server is ready: its URL on standard output, for scripts; how to use it and
 * what to beware of on standard error; and in client.env what a client sets in its environment. Secrets appear in none
 * of them: they are told by the files that hold them.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine.h"
#include "json.h"
#include "say.h"

void engine_url(const engine_t *e, char *url) {
    char address[ENGINE_HOST + 16];

    snprintf(url, ENGINE_URL, "%s%s", e->info.tls ? "nats+tls://" : "nats://",
             engine_show_address(&e->info.address, address));
}

char *engine_quote(const char *path) {
    char *text = malloc(4 * strlen(path) + 3);
    char *to = text;

    if (text == NULL)
        return NULL;
    *to++ = '\'';
    for (; *path != '\0'; path++) {
        if (*path == '\'') {
            memcpy(to, "'\\''", 4);
            to += 4;
        } else {
            *to++ = *path;
        }
    }
    *to++ = '\'';
    *to = '\0';
    return text;
}

/* --- client.env -------------------------------------------------------------------------------------------------- */

/* A path in the store, in full and in quotes; NULL without memory. */
static char *quoted_path(const engine_t *e, const char *name, const char *more) {
    char path[PATH_MAX + 128];

    snprintf(path, sizeof path, "%s/%s%s", e->directory, name, more);
    return engine_quote(path);
}

/* export NAME=PATH */
static void export_path(const engine_t *e, FILE *out, const char *name, const char *file) {
    char *path = quoted_path(e, file, "");

    fprintf(out, "export %s=%s\n", name, path != NULL ? path : "''");
    free(path);
}

static void write_environment(const engine_t *e, FILE *out) {
    char url[ENGINE_URL];

    engine_url(e, url);
    fprintf(out, "export FERRY_SPACE='%s/default'\n", url);
    if (e->user != NULL) {
        char *path = quoted_path(e, e->user, ".password");
        fprintf(out, "export FERRY_USER='%s'\nexport FERRY_PASSWORD=\"$(cat %s)\"\n", e->user,
                path != NULL ? path : "''");
        free(path);
    }
    if (e->tls)
        export_path(e, out, "FERRY_TLS_CA", "ca.pem");
    if (e->mutual) {
        export_path(e, out, "FERRY_TLS_CERT", "client.pem");
        export_path(e, out, "FERRY_TLS_KEY", "client-key.pem");
    }
}

/* The lines, which the caller frees, also put into the file; NULL: it cannot be written, as was said. */
static char *make_environment(const engine_t *e) {
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);

    if (out != NULL)
        write_environment(e, out);
    if (out == NULL || fclose(out) != 0) {
        say("no memory for client.env");
        free(text);
        return NULL;
    }
    if (engine_put_file("client.env", text) == 0)
        return text;
    free(text);
    return NULL;
}

/* --- told -------------------------------------------------------------------------------------------------------- */

static void print_path(const engine_t *e, json_t *j, const char *key, const char *name, const char *more) {
    char path[PATH_MAX + 128];

    snprintf(path, sizeof path, "%s/%s%s", e->directory, name, more);
    json_text(j, key, path);
}

static void print_json(const engine_t *e, const char *url) {
    json_t j = {.out = stdout};

    json_open(&j, NULL, '{');
    json_text(&j, "url", url);
    json_signed(&j, "pid", getpid());
    json_signed(&j, "server_pid", e->pid);
    json_text(&j, "server", e->server);
    json_text(&j, "version", e->info.version);
    json_count(&j, "max_payload", e->info.max_payload);
    json_bool(&j, "tls", e->info.tls);
    json_text(&j, "store", e->directory);
    print_path(e, &j, "config", e->file, "");
    print_path(e, &j, "log", "engine.log", "");
    if (e->config == NULL)
        print_path(e, &j, "environment", "client.env", "");
    if (e->user != NULL) {
        json_text(&j, "user", e->user);
        print_path(e, &j, "password_file", e->user, ".password");
    }
    if (e->tls)
        print_path(e, &j, "tls_ca", "ca.pem", "");
    if (e->mutual) {
        print_path(e, &j, "tls_cert", "client.pem", "");
        print_path(e, &j, "tls_key", "client-key.pem", "");
    }
    json_close(&j, '}');
    printf("\n");
}

void engine_warn(const engine_t *e, const engine_address_t *address) {
    bool knows_clients = e->user != NULL || e->mutual;

    if (engine_is_loopback(address->host))
        return;
    if (!knows_clients)
        say("warning: whoever reaches %s may read and change everything: add --user NAME or --mutual-tls",
            address->host);
    if (!e->tls)
        say("warning: what goes to %s and comes from it can be read on the way%s: add --tls", address->host,
            e->user != NULL ? ", the password as well" : "");
}

static void say_how(const engine_t *e, const char *url, const char *environment) {
    char host[ENGINE_HOST];

    say("nats-server %s is ready; its data, configuration and log are in %s", e->info.version, e->directory);
    if (environment == NULL) {
        say("to open a space on it: export FERRY_SPACE=%s/default", url);
        return;
    }
    say("to open a space on it: . %s/client.env, which does this:", e->directory);
    fputs(environment, stderr);
    if (engine_is_loopback(e->listens[0].host))
        return;
    engine_hostname(host, sizeof host);
    say("on other machines: the same, with %s for the host, and with copies of these files",
        engine_is_wildcard(e->listens[0].host) ? host : e->listens[0].host);
}

int engine_tell(const engine_t *e) {
    char url[ENGINE_URL];
    char *environment = NULL;

    engine_url(e, url);
    if (e->config == NULL && (environment = make_environment(e)) == NULL)
        return STATUS_FAILED;
    if (!e->common.quiet)
        say_how(e, url, environment);
    if (e->config == NULL)
        engine_warn(e, &e->listens[0]);
    free(environment);
    if (e->common.json)
        print_json(e, url);
    else
        printf("%s\n", url);
    return finish_output(STATUS_OK);
}
