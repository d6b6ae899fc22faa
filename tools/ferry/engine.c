/* SPDX-License-Identifier: MIT
 *
 * engine.c - `ferry engine`: a nats-server for spaces that span machines, for those who have none.
 */
#include "engine.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "say.h"
#include "stop.h"

static const uint64_t most_payload = (uint64_t)64 << 20; /* the server's own bound */
static const uint64_t least_payload = 1024;

static const char text[] =
    "Starts a nats-server, for spaces that span machines (nats://HOST:PORT/SPACE), and ends it when\n"
    "it is interrupted. When the server is ready, its URL is written to standard output, as the only\n"
    "line. What is stored stays in DIR. --cluster writes the configurations of several servers that\n"
    "stand in for each other, and prints the commands that start them.";

static const char examples[] =
    "ferry engine                                      on this machine: nats://127.0.0.1:4222\n"
    "ferry engine --listen 0.0.0.0 --tls --user team   for other machines\n"
    "ferry engine --listen 0 --store ./data > url &    a script reads the URL, once it is there\n"
    "ferry engine --cluster 3 --store ./nodes          three servers on this machine: run what it prints\n"
    "ferry engine --cluster 3 --store ./nodes --listen a:4222 --listen b:4222 --listen c:4222";

/* --- the run ----------------------------------------------------------------------------------------------------- */

/* What the server reads: the certificates, the password, the configuration. */
static int prepare(engine_t *e) {
    char path[ENGINE_USER + 16];
    int status = 0;

    if (e->config != NULL)
        return 0;
    if (e->user != NULL) {
        snprintf(path, sizeof path, "%s.password", e->user);
        status = engine_secret(path, e->password);
    }
    if (status == 0 && e->cluster == 0 && e->tls)
        status = engine_certificates(e, ".", ".", &e->listens[0]);
    if (status == 0 && e->cluster == 0)
        status = engine_write_config(e, ".", 0, NULL);
    return status;
}

static int serve(engine_t *e) {
    int status = engine_start(e);

    if (status == 0)
        status = engine_wait_ready(e);
    if (status == 0)
        status = engine_tell(e);
    if (status == 0)
        status = engine_attend(e);
    engine_stop(e);
    return status;
}

static int run(engine_t *e) {
    sigprocmask(SIG_BLOCK, NULL, &e->mask);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGCHLD, SIG_DFL); /* where it is ignored, the kernel would keep no status for us */
    stop_watch(NULL);
    umask(077);
    int status = e->cluster > 0 ? 0 : engine_find_server(e);
    if (status == 0 && e->config == NULL)
        status = engine_find_store(e);
    if (status == 0)
        status = engine_enter(e);
    if (status == 0)
        status = prepare(e);
    if (status == 0)
        status = e->cluster > 0 ? engine_make_cluster(e) : serve(e);
    return stop_or(status);
}

/* --- the command line -------------------------------------------------------------------------------------------- */

/* What may be the name of a file, stand between quotes anywhere, and be a name for the server. */
static bool is_name(const char *name) {
    for (const char *c = name; *c != '\0'; c++) {
        if (!isalnum((unsigned char)*c) && (c == name || strchr("._-", *c) == NULL))
            return false;
    }
    return name[0] != '\0' && strlen(name) < ENGINE_USER;
}

static int check_listens(engine_t *e) {
    size_t nodes = e->cluster > 0 ? (size_t)e->cluster : 1;
    engine_address_t *l = e->listens;

    if (e->listen.n > 1 && e->listen.n != nodes)
        return usage_error(e->usage, "--listen was given %zu times; give it once%s", e->listen.n,
                           e->cluster > 0 ? ", or for each node" : "");
    (void)engine_parse_address("127.0.0.1", &l[0]);
    for (size_t i = 0; i < e->listen.n; i++) {
        if (!engine_parse_address(e->listen.items[i], &l[i]))
            return usage_error(e->usage, "the value '%s' of --listen is not an address: give HOST:PORT, HOST or PORT",
                               e->listen.items[i]);
        if (e->cluster > 0 && engine_is_wildcard(l[i].host))
            return usage_error(e->usage, "the nodes of a cluster must know each other: %s is no name for one",
                               l[i].host);
    }
    for (size_t i = 1; e->listen.n <= 1 && i < nodes; i++) {
        l[i] = l[0];
        l[i].port = l[0].port == 0 ? 0 : l[0].port + (unsigned)i;
        if (l[i].port > 65535)
            return usage_error(e->usage, "there are not %zu ports from %u on", nodes, l[0].port);
    }
    return 0;
}

static int check_names(engine_t *e) {
    static char host[ENGINE_HOST];

    if (e->user != NULL && !is_name(e->user))
        return usage_error(e->usage, "--user '%s' is not a name: letters, digits and . _ - are allowed", e->user);
    if (e->name != NULL && !is_name(e->name))
        return usage_error(e->usage, "--name '%s' is not a name: letters, digits and . _ - are allowed", e->name);
    if (e->name != NULL)
        return 0;
    engine_hostname(host, ENGINE_USER);
    e->name = e->cluster == 0 && is_name(host) ? host : "ferry";
    return 0;
}

/* A file says all about its server. */
static int check_file(engine_t *e) {
    static char path[PATH_MAX];
    bool more = e->listen.n > 0 || e->name != NULL || e->user != NULL || e->tls || e->mutual || e->cluster > 0;

    if (more)
        return usage_error(e->usage,
                           "with %s, the configuration says the rest: it goes with --timeout and --server only",
                           e->node > 0 ? "--node" : "--config");
    if (e->node > 0 && e->config != NULL)
        return usage_error(e->usage, "give one of --node and --config");
    if (e->node > ENGINE_NODES)
        return usage_error(e->usage, "--node %" PRIu64 " is not one of a cluster", e->node);
    if (e->node > 0) {
        int status = engine_find_store(e);
        if (status != 0)
            return status;
        if (snprintf(path, sizeof path, "%s/node%d/engine.conf", e->directory, (int)e->node) >= (int)sizeof path)
            return usage_error(e->usage, "the path of the store is too long");
        e->config = path;
    }
    if (realpath(e->config, e->directory) == NULL) {
        say("cannot read the configuration %s: %s", e->config, strerror(errno));
        return STATUS_FAILED;
    }
    char *slash = strrchr(e->directory, '/');
    snprintf(path, sizeof path, "%s", slash + 1);
    e->file = path;
    e->config = path;
    slash[slash == e->directory] = '\0';
    return 0;
}

static int check(engine_t *e, const operands_t *operands) {
    if (operands->n > 0)
        return usage_error(e->usage, "the engine takes no argument, but '%s' was given", operands->items[0]);
    if (e->max_payload < least_payload || e->max_payload > most_payload)
        return usage_error(e->usage, "--max-payload must be 1 KiB at least, and 64 MiB at most");
    if (e->node > 0 || e->config != NULL)
        return check_file(e);
    if (e->cluster != 0 && (e->cluster < 3 || e->cluster > ENGINE_NODES || e->cluster % 2 == 0))
        return usage_error(e->usage, "--cluster must be 3, 5 or 7: more than half of the servers have to agree");
    e->tls = e->tls || e->mutual;
    int status = check_listens(e);
    return status != 0 ? status : check_names(e);
}

enum { SERVER_OPTIONS = 9, OTHER_OPTIONS = 5, OPTIONS = SERVER_OPTIONS + OTHER_OPTIONS };

/* What the server shall be like. */
static void list_server_options(engine_t *e, option_t *o) {
    const option_t options[SERVER_OPTIONS] = {
        {.letter = 'l',
         .name = "listen",
         .value = "ADDRESS",
         .kind = OPTION_LIST,
         .target = &e->listen,
         .help = "HOST:PORT, HOST or PORT; port 0: any (default: 127.0.0.1:4222)"},
        {.letter = 'd',
         .name = "store",
         .value = "DIR",
         .kind = OPTION_TEXT,
         .target = &e->store,
         .help = "keep everything in DIR (default: ~/.local/share/ferry/engine)"},
        {.name = "user",
         .value = "NAME",
         .kind = OPTION_TEXT,
         .target = &e->user,
         .help = "clients need a password; it is made, and kept in DIR/NAME.password"},
        {.name = "tls",
         .kind = OPTION_FLAG,
         .target = &e->tls,
         .help = "encrypt; certificates are made in DIR where there are none"},
        {.name = "mutual-tls",
         .kind = OPTION_FLAG,
         .target = &e->mutual,
         .help = "the same, and clients need a certificate, too"},
        {.name = "memory",
         .value = "SIZE",
         .kind = OPTION_SIZE,
         .target = &e->memory,
         .help = "most that streams in memory may take (default: 256MiB)"},
        {.name = "disk",
         .value = "SIZE",
         .kind = OPTION_SIZE,
         .target = &e->disk,
         .help = "most that streams on disk may take (default: 3/4 of what is free)"},
        {.name = "max-payload",
         .value = "SIZE",
         .kind = OPTION_SIZE,
         .target = &e->max_payload,
         .help = "longest message in one piece (default: 8MiB)"},
        {.name = "name",
         .value = "NAME",
         .kind = OPTION_TEXT,
         .target = &e->name,
         .help = "what the server calls itself (default: the machine's name)"},
    };
    memcpy(o, options, sizeof options);
}

static void list_other_options(engine_t *e, option_t *o) {
    const option_t options[OTHER_OPTIONS] = {
        {.name = "cluster",
         .value = "N",
         .kind = OPTION_COUNT,
         .target = &e->cluster,
         .help = "write configurations for N servers (3, 5 or 7), and start none"},
        {.name = "node",
         .value = "I",
         .kind = OPTION_COUNT,
         .target = &e->node,
         .help = "start server I of those that --cluster has written to DIR"},
        {.name = "config",
         .value = "FILE",
         .kind = OPTION_TEXT,
         .target = &e->config,
         .help = "start a server with this configuration"},
        {.name = "server",
         .value = "PROGRAM",
         .kind = OPTION_TEXT,
         .target = &e->program,
         .help = "the nats-server to run (default: that of $PATH, or /usr/sbin)"},
        {.name = "timeout",
         .value = "DURATION",
         .kind = OPTION_DURATION,
         .target = &e->timeout,
         .help = "give up if it is not ready by then"},
    };
    memcpy(o, options, sizeof options);
}

int command_engine(int argc, char **argv) {
    engine_t e = {.program = "nats-server",
                  .file = "engine.conf",
                  .memory = (uint64_t)256 << 20,
                  .max_payload = (uint64_t)8 << 20,
                  .timeout = FERRY_FOREVER,
                  .lock = -1,
                  .pidfd = -1};
    option_t options[OPTIONS];
    operands_t operands;
    int status;

    list_server_options(&e, options);
    list_other_options(&e, options + SERVER_OPTIONS);
    const usage_t usage = {.command = "engine",
                           .synopsis = "engine [OPTION...]",
                           .text = text,
                           .examples = examples,
                           .options = options,
                           .n_options = OPTIONS,
                           .json = true};
    e.usage = &usage;
    if (!options_parse(&usage, argc, argv, &e.common, &operands, &status))
        return status;
    status = check(&e, &operands);
    status = status != 0 ? status : run(&e);
    free(e.listen.items);
    return status;
}
