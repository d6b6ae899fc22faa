/* SPDX-License-Identifier: MIT
 *
 * The connections to the engine: how they are made, lost and found again.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/error.h"
#include "net/bridge.h"
#include "net/calls.h"
#include "net/lease.h"
#include "net/net.h"
#include "net/shares.h"
#include "platform/clock.h"
#include "platform/process.h"

#define CONNECT_MS 5000
#define RECONNECT_MS 50   /* up to twice that, so that not all come at once */
#define NO_MORE_MS 600000 /* a close ends it */
#define RECONNECT_BYTES                                                                                                \
    (1 << 20) /* what libnats keeps while it is not connected: requests only, channels send again themselves */
#define BULK_BYTES (128 << 10) /* what libnats reads or writes at once there: a batch needs one call, not three */

void fi_net_signals_off(sigset_t *before) {
    sigset_t all;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, before);
}

void fi_net_signals_restore(const sigset_t *before) {
    pthread_sigmask(SIG_SETMASK, before, NULL);
}

/* ---- coming and going ---- */

enum news { LOST, FOUND, DENIED, TORN };

static void tell_one(const fi_net_t *net, const fi_net_watch_t *w, enum news news) {
    if (news == DENIED) {
        if (w->denied) {
            w->denied(w->arg, net->denied);
        }
    } else if (news == TORN) {
        if (w->torn) {
            w->torn(w->arg);
        }
    } else {
        w->changed(w->arg, news == FOUND);
    }
}

/* With the lock. */
static void tell_all(fi_net_t *net, enum news news) {
    struct fi_list *at;
    struct fi_list *after;

    fi_list_each(at, after, &net->watches) {
        tell_one(net, fi_container(at, fi_net_watch_t, link), news);
    }
}

static void tell(fi_net_t *net, enum news news) {
    pthread_mutex_lock(&net->lock);
    tell_all(net, news);
    pthread_mutex_unlock(&net->lock);
}

void fi_net_tell_torn(fi_net_t *net) {
    tell(net, TORN);
}

void fi_net_watch(fi_net_t *net, fi_net_watch_t *w) {
    pthread_mutex_lock(&net->lock);
    fi_list_add_tail(&net->watches, &w->link);
    pthread_mutex_unlock(&net->lock);
}

void fi_net_unwatch(fi_net_t *net, fi_net_watch_t *w) {
    pthread_mutex_lock(&net->lock);
    fi_list_remove(&w->link);
    pthread_mutex_unlock(&net->lock);
}

static fi_handshake_t *again_of(fi_net_t *net, natsConnection *c) {
    return c == net->bulk ? &net->bulk_again : &net->control_again;
}

static void lost(natsConnection *c, void *arg) {
    fi_net_t *net = arg;
    int64_t now = fi_now_ns();

    fi_handshake_begin(again_of(net, c));
    if (c == net->bulk) { /* it subscribes anew */
        pthread_mutex_lock(&net->lock);
        net->deaf[0] = '\0';
        pthread_mutex_unlock(&net->lock);
    }
    if (__atomic_exchange_n(&net->up, 0, __ATOMIC_ACQ_REL)) {
        __atomic_store_n(&net->lost_at, now, __ATOMIC_RELEASE);
        __atomic_store_n(&net->changed_at, now, __ATOMIC_RELAXED);
        fi_add32(&net->times_lost, 1);
        tell(net, LOST);
    }
}

/* One that was never made is not missing. */
bool fi_net_is_connected(natsConnection *c) {
    return !c || fi_nats.natsConnection_Status(c) == NATS_CONN_STATUS_CONNECTED;
}

static void found(natsConnection *c, void *arg) {
    fi_net_t *net = arg;

    fi_handshake_end(again_of(net, c));
    if (fi_net_is_connected(net->control) && fi_net_is_connected(net->bulk) &&
        !__atomic_exchange_n(&net->up, 1, __ATOMIC_ACQ_REL)) {
        __atomic_store_n(&net->lost_at, 0, __ATOMIC_RELEASE);
        __atomic_store_n(&net->changed_at, fi_now_ns(), __ATOMIC_RELAXED);
        fi_add32(&net->times_up, 1);
        tell(net, FOUND);
    }
}

/* The last that is heard of a connection. */
void fi_net_closed(natsConnection *c, void *arg) {
    fi_net_t *net = arg;

    if (c == net->control || c == net->bulk) {
        fi_handshake_end(again_of(net, c));
    }
    pthread_mutex_lock(&net->lock);
    net->open--;
    pthread_cond_broadcast(&net->closed);
    pthread_mutex_unlock(&net->lock);
}

/* Does it keep this node from hearing what others say about channels? */
static bool makes_deaf(const fi_net_t *net, const char *words) {
    char all[FI_SUBJECT_MAX];
    char own[FI_SUBJECT_MAX];
    char replies[FI_SUBJECT_MAX];

    fi_net_subject(net, all, "all", NULL);
    fi_net_node_subject(net, own, net->node->id, NULL);
    fi_net_node_subject(net, replies, net->node->id, "r.*");
    return strstr(words, "Subscription") &&
           (fi_net_denies(words, all) || fi_net_denies(words, own) || fi_net_denies(words, replies));
}

/* With the lock. */
static void tell_of_denial(fi_net_t *net) {
    if (makes_deaf(net, net->denied)) {
        memcpy(net->deaf, net->denied, sizeof net->deaf);
    }
    tell_all(net, DENIED);
}

/* Permissions are denied after the fact, by a message of the server's. */
static void failed(natsConnection *c, natsSubscription *sub, natsStatus s, void *arg) {
    fi_net_t *net = arg;
    const char *words = NULL;

    (void)sub;
    if (s != NATS_NOT_PERMITTED) {
        return;
    }
    pthread_mutex_lock(&net->lock);
    if (fi_nats.natsConnection_GetLastError(c, &words) != NATS_OK && words) {
        snprintf(net->denied, sizeof net->denied, "%s", words);
    } else {
        snprintf(net->denied, sizeof net->denied, "the server denies permission");
    }
    tell_of_denial(net);
    pthread_mutex_unlock(&net->lock);
    fi_add32(&net->denials, 1);
}

/*
 * Before all servers are tried again.  libnats holds the connection's lock while one does not answer, but not now: who
 * leaves, and has nothing more to say, shall not have to wait for the next one, and not for each connection in turn.
 */
static int64_t pause_ms(natsConnection *c, int attempts, void *arg) {
    const fi_net_t *net = arg;
    int64_t by = __atomic_load_n(&net->leave_by, __ATOMIC_ACQUIRE);

    (void)c;
    (void)attempts;
    return by && fi_now_ns() >= by ? NO_MORE_MS : RECONNECT_MS + (int64_t)(fi_random64() % RECONNECT_MS);
}

/* ---- options ---- */

static const char *or_environment(const char *given, const char *variable) {
    const char *value = given ? given : getenv(variable);

    return value && *value ? value : NULL;
}

/* libnats says only that something is wrong with "a file". */
static int check_file(const char *path, const char *what) {
    struct stat st;

    if (path && (stat(path, &st) < 0 || !S_ISREG(st.st_mode))) {
        return fi_fail(-EINVAL, "%s: \"%s\" is not a file that can be read", what, path);
    }
    return 0;
}

/* libnats compares the name in the certificate with a host in brackets, which is none. */
static natsStatus expect_host(const fi_net_t *net, natsOptions *opts) {
    char host[64];

    if (net->address.server_count != 1 || sscanf(net->address.servers[0], "nats://[%63[^]]", host) != 1) {
        return NATS_OK;
    }
    return fi_nats.natsOptions_SetExpectedHostname(opts, host);
}

static natsStatus set_tls(const fi_net_t *net, natsOptions *opts, const ferry_options_t *o, int *error) {
    const char *ca = or_environment(o ? o->tls_ca : NULL, "FERRY_TLS_CA");
    const char *cert = or_environment(o ? o->tls_cert : NULL, "FERRY_TLS_CERT");
    const char *key = or_environment(o ? o->tls_key : NULL, "FERRY_TLS_KEY");

    if (!!cert != !!key) {
        *error =
            fi_fail(-EINVAL, "tls_cert and tls_key (FERRY_TLS_CERT, FERRY_TLS_KEY) come together: give both or none");
        return NATS_INVALID_ARG;
    }
    if ((*error = check_file(ca, "tls_ca")) < 0 || (*error = check_file(cert, "tls_cert")) < 0 ||
        (*error = check_file(key, "tls_key")) < 0) {
        return NATS_INVALID_ARG;
    }
    natsStatus s = fi_nats.natsOptions_SetSecure(opts, true);
    s = s == NATS_OK ? expect_host(net, opts) : s;
    if (s == NATS_OK && ca) {
        s = fi_nats.natsOptions_LoadCATrustedCertificates(opts, ca);
    }
    if (s == NATS_OK && cert) {
        s = fi_nats.natsOptions_LoadCertificatesChain(opts, cert, key);
    }
    return s;
}

static natsStatus set_identity(natsOptions *opts, const ferry_options_t *o, int *error) {
    const char *credentials = or_environment(o ? o->credentials : NULL, "FERRY_CREDENTIALS");
    const char *user = or_environment(o ? o->user : NULL, "FERRY_USER");
    const char *password = or_environment(o ? o->password : NULL, "FERRY_PASSWORD");
    const char *token = or_environment(o ? o->token : NULL, "FERRY_TOKEN");

    if ((*error = check_file(credentials, "credentials")) < 0) {
        return NATS_INVALID_ARG;
    }
    if (credentials) {
        return fi_nats.natsOptions_SetUserCredentialsFromFiles(opts, credentials, NULL);
    }
    if (user) {
        return fi_nats.natsOptions_SetUserInfo(opts, user, password ? password : "");
    }
    return token ? fi_nats.natsOptions_SetToken(opts, token) : NATS_OK;
}

static natsStatus set_connection(fi_net_t *net, natsOptions *opts) {
    const char *servers[FI_ADDRESS_SERVERS];
    natsStatus s;

    for (unsigned i = 0; i < net->address.server_count; i++) {
        servers[i] = net->address.servers[i];
    }
#define TRY(call)                                                                                                      \
    if ((s = (call)) != NATS_OK)                                                                                       \
    return s
    TRY(fi_nats.natsOptions_SetServers(opts, servers, (int)net->address.server_count));
    TRY(fi_nats.natsOptions_SetName(opts, net->node->name));
    TRY(fi_nats.natsOptions_SetSendAsap(opts, true));
    TRY(fi_nats.natsOptions_SetTimeout(opts, CONNECT_MS));
    TRY(fi_nats.natsOptions_SetMaxReconnect(opts, -1));
    TRY(fi_nats.natsOptions_SetReconnectWait(opts, RECONNECT_MS));
    TRY(fi_nats.natsOptions_SetCustomReconnectDelay(opts, pause_ms, net));
    TRY(fi_nats.natsOptions_SetReconnectBufSize(opts, RECONNECT_BYTES));
    TRY(fi_nats.natsOptions_SetPingInterval(opts, FI_NET_PING_MS));
    TRY(fi_nats.natsOptions_SetMaxPingsOut(opts, FI_NET_PINGS));
    TRY(fi_nats.natsOptions_SetWriteDeadline(opts, FI_NET_WRITE_MS));
    TRY(fi_nats.natsOptions_SetNoEcho(opts, true));
    TRY(fi_nats.natsOptions_SetFailRequestsOnDisconnect(opts, true));
    TRY(fi_nats.natsOptions_SetErrorHandler(opts, failed, net));
    TRY(fi_nats.natsOptions_SetDisconnectedCB(opts, lost, net));
    TRY(fi_nats.natsOptions_SetReconnectedCB(opts, found, net));
    TRY(fi_nats.natsOptions_SetClosedCB(opts, fi_net_closed, net));
#undef TRY
    return NATS_OK;
}

/* ---- connecting ---- */

/*
 * Is it a NATS server that was too late, or too busy? It greeted, and where the library expected PONG there was
 *   nothing     PONG came after CONNECT_MS (the library forgets that it may wait no longer, reads on, and takes each
 *               read in vain for a zero byte of the answer), or the server hung up;
 *   PING        the server was held up between CONNECT and PING for 2 s, after which it asks itself;
 *   a refusal   because CONNECT came later than it waits for that (`auth_timeout`).
 */
static bool is_unfinished(natsStatus s) {
    static const char answer[] = "Expected 'PONG', got '";
    const char *words = fi_net_words(s);

    if (s == NATS_PROTOCOL_ERROR && strncmp(words, answer, sizeof answer - 1) == 0) {
        words += sizeof answer - 1;
        return *words == '\'' || strncmp(words, "PING", 4) == 0;
    }
    return s == NATS_ERR && strstr(words, "Authentication Timeout");
}

/* The first server, in the words of a sentence, and what stands for the others. */
static const char *server_of(const fi_net_t *net) {
    return net->address.servers[0] + strlen("nats://");
}

static const char *others_of(const fi_net_t *net) {
    return net->address.server_count > 1 ? " or the others named" : "";
}

int fi_net_explain(const fi_net_t *net, natsStatus s) {
    const char *words = fi_net_words(s);
    const char *server = server_of(net);
    const char *more = others_of(net);

    if (is_unfinished(s)) {
        return fi_fail(-ETIMEDOUT,
                       "the NATS server at %s greets and does not finish the handshake: it answers too late, or hangs "
                       "up. It is too busy, or this machine is",
                       server);
    }
    if (s == NATS_SSL_ERROR && !net->address.tls) {
        s = NATS_SECURE_CONNECTION_REQUIRED; /* the library has tried, without what FERRY_TLS_CA says */
    }
    switch (s) {
    case NATS_NO_SERVER:
    case NATS_IO_ERROR:
        return fi_fail(-ECONNREFUSED,
                       "no NATS server answers at %s%s: start one there (`ferry engine`), or check the address", server,
                       more);
    case NATS_TIMEOUT:
        return fi_fail(-ETIMEDOUT, "no NATS server answers at %s%s within %d s", server, more, CONNECT_MS / 1000);
    case NATS_CONNECTION_AUTH_FAILED:
    case NATS_NOT_PERMITTED:
        return fi_fail(-EACCES,
                       "the server at %s refuses these credentials (%s): set FERRY_CREDENTIALS, FERRY_USER and "
                       "FERRY_PASSWORD, or FERRY_TOKEN",
                       server, words);
    case NATS_SECURE_CONNECTION_REQUIRED:
        return fi_fail(-EKEYREJECTED, "the server at %s insists on TLS: write nats+tls:// instead of nats://", server);
    case NATS_SECURE_CONNECTION_WANTED:
        return fi_fail(-EKEYREJECTED, "the server at %s does not offer TLS: nothing was sent to it", server);
    case NATS_SSL_ERROR:
        return fi_fail(-EKEYREJECTED,
                       "TLS with the server at %s fails (%s): set FERRY_TLS_CA to the file of those who sign "
                       "its certificate",
                       server, words);
    default:
        return fi_fail(s == NATS_NO_MEMORY ? -ENOMEM : -EIO, "cannot connect to the server at %s: %s", server, words);
    }
}

/* Asks a server that answers too late again, if it does not take too long. Returns how many were silent altogether. */
static unsigned connect_in_time(fi_net_t *net, natsConnection **made, unsigned handshakes, natsStatus *s) {
    fi_handshake_t h;
    int64_t end = fi_now_ns() + FI_GREETED_OPEN_NS;

    fi_handshake_init(&h, &net->address, &net->leaves, true);
    h.hurried = net->silent;
    fi_handshake_begin(&h);
    while ((*s = fi_nats.natsConnection_Connect(made, net->options)) != NATS_OK && is_unfinished(*s) &&
           --handshakes > 0 && fi_now_ns() < end) {
        fi_sleep_until(fi_now_ns() + RECONNECT_MS * 1000000ll);
    }
    return fi_handshake_end(&h);
}

int fi_net_connect(fi_net_t *net, natsConnection **c, unsigned handshakes) {
    natsConnection *made = NULL;
    natsStatus s;

    unsigned silent = connect_in_time(net, &made, handshakes, &s);
    net->silent |= silent > 0;
    if (s != NATS_OK && silent > 0) {
        return fi_fail(-ETIMEDOUT,
                       "the server at %s%s greets and does not finish the handshake within %d s: it stands still, or "
                       "is no NATS server. Restart it, or check the address",
                       server_of(net), others_of(net), CONNECT_MS / 1000);
    }
    if (s != NATS_OK) {
        return fi_net_explain(net, s);
    }
    pthread_mutex_lock(&net->lock);
    net->open++;
    pthread_mutex_unlock(&net->lock);
    __atomic_store_n(c, made, __ATOMIC_RELEASE);
    return 0;
}

static int connect_one(fi_net_t *net, const ferry_options_t *o, natsConnection **c) {
    natsOptions *opts = NULL;
    int error = 0;

    natsStatus s = fi_nats.natsOptions_Create(&opts);
    s = s == NATS_OK ? set_connection(net, opts) : s;
    s = s == NATS_OK ? set_identity(opts, o, &error) : s;
    s = s == NATS_OK && net->address.tls ? set_tls(net, opts, o, &error) : s;
    if (s == NATS_OK) {
        net->options = opts;
        return fi_net_connect(net, c, FI_NET_HANDSHAKES);
    }
    fi_nats.natsOptions_Destroy(opts);
    return error < 0 ? error : fi_net_explain(net, s);
}

static void warn(fi_net_t *net) {
    if (fi_net_is_exposed(net)) {
        snprintf(net->warning, sizeof net->warning,
                 "the connection to %s is not encrypted: whoever is on the way can read and change what it carries; "
                 "write nats+tls:// (`ferry engine --tls` starts such a server), or see to it that the way is your own",
                 net->address.servers[0] + strlen("nats://"));
    }
}

static int connect_both(fi_net_t *net, const ferry_options_t *o) {
    int r = connect_one(net, o, &net->control);

    if (r == 0) {
        natsStatus s = fi_nats.natsOptions_SetIOBufSize(net->options, BULK_BYTES);
        r = s == NATS_OK ? fi_net_connect(net, &net->bulk, FI_NET_HANDSHAKES) : fi_net_explain(net, s);
    }
    net->silent = false;
    if (r == 0) {
        net->max_payload = (size_t)fi_nats.natsConnection_GetMaxPayload(net->bulk);
        (void)fi_nats.natsConnection_JetStream(&net->js, net->control, NULL);
        (void)fi_nats.natsConnection_GetRTT(net->control, &net->round_trip);
        found(net->control, net);
    }
    return r;
}

/* What the library calls back looks at both connections: so they are freed when nothing is heard of any. */
static void disconnect(fi_net_t *net) {
    natsConnection *all[] = {net->way.connection, net->bulk, net->control};

    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        fi_nats.natsConnection_Close(all[i]);
    }
    pthread_mutex_lock(&net->lock);
    while (net->open > 0) {
        pthread_cond_wait(&net->closed, &net->lock);
    }
    pthread_mutex_unlock(&net->lock);
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        fi_nats.natsConnection_Destroy(all[i]);
    }
}

static void free_net(fi_net_t *net) {
    fi_nats.jsCtx_Destroy(net->js);
    disconnect(net);
    fi_net_destroy_all(net);
    fi_nats.natsOptions_Destroy(net->options);
    pthread_cond_destroy(&net->closed);
    fi_way_destroy(&net->way);
    pthread_mutex_destroy(&net->lock);
    pthread_mutex_destroy(&net->ended_lock);
    free(net);
}

int fi_net_open(fi_node_t *n, const fi_address_t *a, const ferry_options_t *o, fi_net_t **out) {
    sigset_t before;

    fi_net_signals_off(&before);
    int r = fi_nats_load();
    fi_net_t *net = r == 0 ? calloc(1, sizeof *net) : NULL;
    if (r == 0 && !net) {
        r = fi_fail(-ENOMEM, "no memory for a networked space");
    }
    if (net) {
        net->node = n;
        net->address = *a;
        fi_list_init(&net->watches);
        fi_list_init(&net->ended);
        fi_handshake_init(&net->control_again, &net->address, &net->leaves, false);
        fi_handshake_init(&net->bulk_again, &net->address, &net->leaves, false);
        pthread_mutex_init(&net->lock, NULL);
        pthread_mutex_init(&net->ended_lock, NULL);
        pthread_cond_init(&net->closed, NULL);
        fi_way_init(&net->way);
        fi_net_word(a->space, net->space, sizeof net->space);
        warn(net);
        r = fi_shares_open(net);
        r = r == 0 ? connect_both(net, o) : r;
        r = r == 0 ? fi_net_present(net) : r;
        r = r == 0 ? fi_calls_open(net) : r;
        r = r == 0 ? fi_bridge_open(net) : r;
        if (r < 0) {
            fi_calls_close(net);
            fi_net_absent(net);
            fi_shares_close(net);
            free_net(net);
        }
    }
    fi_net_signals_restore(&before);
    *out = r == 0 ? net : *out;
    return r;
}

void fi_net_leave(fi_net_t *net) {
    fi_store_release32(&net->leaves, 1);
    fi_handshake_look();
}

/* From then on no connection is made any more. */
static void leave_by(fi_net_t *net, int64_t at) {
    __atomic_store_n(&net->leave_by, at, __ATOMIC_RELEASE);
}

static bool has_last_words(const fi_net_t *net) {
    return fi_load_acquire32(&net->bridge->node_count) > 0 || fi_kept_any(net->calls);
}

void fi_net_close(fi_net_t *net) {
    leave_by(net, fi_now_ns() + (has_last_words(net) ? FI_NET_DEAD_NS : 0));
    fi_calls_close(net);
    fi_leases_close(net);
    fi_bridge_close(net);
    leave_by(net, fi_now_ns());
    fi_net_absent(net);
    fi_shares_close(net);
    free_net(net);
}
