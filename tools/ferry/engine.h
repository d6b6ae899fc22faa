/* SPDX-License-Identifier: MIT
 *
 * engine.h - one run of `ferry engine`: a nats-server as our child, over a directory (the store) that holds all it
 * needs.
 *
 *     DIR/lock            held, with flock(2), by us and by the server, until both are gone
 *     DIR/engine.conf     the server's configuration: names files beside it only, so that the directory may be moved
 *     DIR/engine.log      what the server says
 *     DIR/client.env      what its clients set in their environment: paths, never a secret
 *     DIR/data            JetStream's files
 *     DIR/USER.password   made once, with --user
 *     DIR/ca.pem, ca-key.pem, server.pem, server-key.pem, client.pem, client-key.pem     made once, with --tls
 *     DIR/node1, ...      the same for each server of a cluster
 *
 * From engine_enter on, the working directory is that of the server, and its files go by their names alone.
 */
#ifndef FERRY_TOOL_ENGINE_H
#define FERRY_TOOL_ENGINE_H

#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "options.h"

enum { ENGINE_HOST = 256, ENGINE_NODES = 7, ENGINE_USER = 64, ENGINE_SECRET = 65, ENGINE_URL = 2048 };

typedef struct engine_address {
    char host[ENGINE_HOST]; /* without the brackets of an IPv6 address */
    unsigned port;          /* 0: any that is free */
} engine_address_t;

/* What a server says of itself when it is ready. */
typedef struct engine_info {
    engine_address_t address; /* where it can be reached from this machine */
    char version[32];
    bool tls, auth, clustered;
    uint64_t max_payload;
} engine_info_t;

typedef struct engine {
    /* what was asked for */
    const usage_t *usage;
    common_t common;
    list_t listen;
    const char *store, *name, *user, *program, *config;
    bool tls, mutual;
    uint64_t memory, disk, max_payload; /* disk: 0: what fits */
    uint64_t cluster, node;             /* 0: not given */
    int64_t timeout;

    /* the place */
    char directory[PATH_MAX]; /* in full */
    const char *file;         /* the configuration, in it */
    int lock;
    engine_address_t listens[ENGINE_NODES]; /* a single server's is the first */
    char password[ENGINE_SECRET];           /* "": none */

    /* the run */
    char server[PATH_MAX]; /* the program */
    sigset_t mask;         /* of signals, as it was when we were started */
    pid_t pid;             /* of the server; 0: there is none */
    int pidfd;
    off_t log_start; /* where in the log this run begins */
    engine_info_t info;
} engine_t;

/* --- engine_store.c: the directory, and small files in it. All return 0, or an exit status, all said --- */

/* Makes the directory of --store (and what is above it, for the usual place) and finds out its full name. */
int engine_find_store(engine_t *e);
/* Goes into the directory and takes its lock; that of a server whose `ferry engine` was killed is waited for a
 * while. */
int engine_enter(engine_t *e);
/* Puts a file in its place as a whole, for nobody else to read. */
int engine_put_file(const char *path, const char *text);
/* Makes a secret: ENGINE_SECRET bytes, letters, digits and _ - only. */
int engine_random(char *secret);
/* Reads the secret in `path`, or makes a new one if it is not there. */
int engine_secret(const char *path, char *secret);
/* Bytes that JetStream may use, below `directory`: three quarters of what is free and of what it has already. */
int engine_room(const char *directory, const char *data, uint64_t *bytes);

/* --- engine_address.c --- */

/* "HOST:PORT", "HOST", "PORT", "[V6]:PORT". */
bool engine_parse_address(const char *text, engine_address_t *address);
/* "HOST:PORT", with brackets where they are due. Returns `text`, of ENGINE_HOST + 16 bytes. */
const char *engine_show_address(const engine_address_t *address, char *text);
bool engine_is_loopback(const char *host);
/* Any address of this machine: no name that others could use. */
bool engine_is_wildcard(const char *host);
/* Where the server of a cluster that has `port` for clients listens for the others. */
unsigned engine_route_port(unsigned port);
/* Gives each of the addresses that has none a port that is free now, as is the one for the other servers. 0, or an exit
 * status. */
int engine_free_ports(engine_address_t *addresses, unsigned n);
/* "process 12 (name)" that listens on `port`, "" if that is not known. */
void engine_who_listens(unsigned port, char *text, size_t cap);

/* --- engine_config.c --- */

/* What stands before the path of the monitor. */
#define ENGINE_MONITOR "http_base_path: "

/* The name of this machine, "localhost" if it has none. */
void engine_hostname(char *name, size_t cap);
/* Writes the configuration of a single server, or, with `node` from 1 on, of one of a cluster, in `directory`. `secret`
 * is what the cluster's servers know each other by. */
int engine_write_config(const engine_t *e, const char *directory, unsigned node, const char *secret);

/* --- engine_tls.c --- */

/* Makes what certificates are missing, too old, or for other names: an authority in `authority`, the rest in
 * `directory`.
 */
int engine_certificates(const engine_t *e, const char *authority, const char *directory,
                        const engine_address_t *listens);

/* --- engine_cluster.c --- */

/* Writes the configurations of --cluster, and prints how to start each. */
int engine_make_cluster(engine_t *e);

/* --- engine_server.c: the child. --- */

/* Finds nats-server. 0, or an exit status. */
int engine_find_server(engine_t *e);
int engine_start(engine_t *e);
bool engine_has_ended(const engine_t *e);
/* Says why it has ended, from its log, and returns the exit status. */
int engine_ended(engine_t *e);
/* Ends it in good order, or else by force. */
void engine_stop(engine_t *e);
/* Waits until it ends, or a signal comes. 0: a signal. */
int engine_attend(engine_t *e);

/* The last line of this run's log that holds `text`, without its date. False, and "": none does. */
bool engine_log_line(const engine_t *e, const char *text, char *line, size_t cap);

/* --- engine_garbage.c --- */

/* Sets what the server, as our child, will find in its environment, unless the user has. */
void engine_set_garbage(void);

/* --- engine_ready.c --- */

/* Waits until the server serves, and fills `info`. 0, or an exit status; after a signal STATUS_FAILED, unsaid. */
int engine_wait_ready(engine_t *e);

/* --- engine_tell.c: what is told when it is ready --- */

/* "nats://" or "nats+tls://" and the address of `info`, in `url` (ENGINE_URL bytes). */
void engine_url(const engine_t *e, char *url);
/* `path` for a shell, in quotes. Allocated; NULL without memory. */
char *engine_quote(const char *path);
/* Writes client.env, then tells. 0, or an exit status. */
int engine_tell(const engine_t *e);
/* Says what is not safe about where the server listens. */
void engine_warn(const engine_t *e, const engine_address_t *address);

#endif
