/* SPDX-License-Identifier: MIT
 *
 * Clients whose calls go far.  What is answered comes by a thread of the library's, which puts it into the client's
 * list and nudges the client's receiver, where its thread waits for answers of this machine, too.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "net/call_client.h"
#include "platform/clock.h"

#define CARDS_NS 30000000ll
#define MOST_HEARD                                                                                                     \
    (UINT64_C(1) << 30) /* bytes of answers that were not taken in; a server that sends more breaks the rules */

/* ---- opening and closing ---- */

static void unref_calls(void *calls) {
    fi_calls_unref(calls);
}

uint64_t fi_far_call_holder(const ferry_call_t *c) {
    const fi_far_call_t *fc = c->far;
    const fi_far_client_t *fk = fi_far_of(c->client);

    return fc && fc->server ? fi_key_of_call(fc->server, fk->calls->net->node->id, fk->number, c->id) : 0;
}

int fi_far_client_open(ferry_client_t *k) {
    fi_calls_t *calls = k->tx->end.node->net->calls;
    fi_far_client_t *fk = calloc(1, sizeof *fk);

    if (!fk) {
        return fi_fail(-ENOMEM, "no memory for a client of \"%s\"", k->service);
    }
    fk->calls = calls;
    fk->k = k;
    fk->number = k->tx->end.id;
    fi_net_subject(calls->net, fk->prefix, "svc", k->service);
    pthread_mutex_lock(&calls->lock);
    fi_list_add_tail(&calls->clients, &fk->link);
    pthread_mutex_unlock(&calls->lock);
    k->far = fk;
    return 0;
}

/* With the lock. */
static fi_heard_t *take_heard(fi_far_client_t *fk) {
    fi_heard_t *h = fk->first;

    fk->first = fk->last = NULL;
    fk->heard_bytes = 0;
    fi_store_relaxed32(&fk->some, 0);
    return h;
}

static void free_heard(fi_heard_t *h) {
    while (h) {
        fi_heard_t *next = h->next;
        fi_nats.natsMsg_Destroy(h->msg);
        free(h);
        h = next;
    }
}

void fi_far_client_close(ferry_client_t *k) {
    fi_far_client_t *fk = fi_far_of(k);

    pthread_mutex_lock(&fk->calls->lock);
    fi_list_remove(&fk->link);
    fi_heard_t *h = take_heard(fk);
    pthread_mutex_unlock(&fk->calls->lock);
    free_heard(h);
    for (uint32_t i = 0; i < k->places; i++) {
        if (k->table[i]->far) {
            fi_far_call_forget(k->table[i]);
        }
    }
    fi_calls_flush(fk->calls, fi_deadline(FI_NET_ASK_MS * 1000000ll)); /* one-way calls are on their way then */
    fi_calls_unsubscribe(fk->calls, fk->direct_sub);
    fi_foreign_free(fk->foreign);
    k->far = NULL;
    free(fk);
}

/* With the lock. */
static int name_inbox(fi_calls_t *calls) {
    natsInbox *inbox = NULL;

    natsStatus s = fi_nats.natsInbox_Create(&inbox);
    if (s != NATS_OK) {
        return fi_net_fail(calls->net, s, "make an inbox in", calls->net->address.space);
    }
    snprintf(calls->inbox, sizeof calls->inbox, "%s", (const char *)inbox);
    fi_nats.natsInbox_Destroy(inbox);
    return 0;
}

/* One thread at a time. */
static int hear_replies(fi_calls_t *calls) {
    char subject[sizeof calls->inbox + 4];
    natsSubscription *sub = NULL;

    snprintf(subject, sizeof subject, "%s.>", calls->inbox);
    fi_calls_ref(calls);
    int r = fi_calls_subscribe(calls, subject, NULL, fi_far_client_hear, calls, unref_calls, &sub);
    fi_store_release_ptr(&calls->replies, sub);
    return r;
}

int fi_far_open_inbox(fi_calls_t *calls) {
    int r = 0;

    if (fi_load_acquire_ptr(&calls->replies)) {
        return 0;
    }
    pthread_mutex_lock(&calls->lock);
    if (!calls->inbox[0]) {
        r = name_inbox(calls);
    }
    pthread_mutex_unlock(&calls->lock);
    if (r == 0 && fi_net_is_up(calls->net)) {
        pthread_mutex_lock(&calls->hearing);
        r = calls->replies ? 0 : hear_replies(calls);
        pthread_mutex_unlock(&calls->hearing);
    }
    return r;
}

/* ---- hearing ---- */

/* "CLIENT.ID.ATTEMPT", with ".p" if it is about a probe. */
bool fi_far_read_token(const char *token, uint64_t *client, fi_heard_t *h) {
    char text[80];
    uint64_t numbers[3];
    size_t n = strlen(token);

    h->probe = n > 2 && strcmp(token + n - 2, ".p") == 0;
    n -= h->probe ? 2 : 0;
    if (n + 2 > sizeof text) {
        return false;
    }
    text[0] = ' ';
    for (size_t i = 0; i < n; i++) {
        text[i + 1] = token[i] == '.' ? ' ' : token[i];
    }
    text[n + 1] = '\0';
    if (!fi_calls_parse(text, "", numbers, 3)) {
        return false;
    }
    *client = numbers[0];
    h->id = numbers[1];
    h->attempt = (uint32_t)numbers[2];
    return true;
}

static fi_far_client_t *find_client(const fi_calls_t *calls, uint64_t number) {
    struct fi_list *at;
    struct fi_list *after;

    fi_list_each(at, after, &calls->clients) {
        fi_far_client_t *fk = fi_container(at, fi_far_client_t, link);
        if (fk->number == number) {
            return fk;
        }
    }
    return NULL;
}

/* With the lock. False: nobody waits for it. */
static bool hand_over(fi_calls_t *calls, uint64_t client, const fi_heard_t *what) {
    fi_far_client_t *fk = find_client(calls, client);
    uint64_t size = (uint64_t)fi_nats.natsMsg_GetDataLength(what->msg) + sizeof *what;

    if (!fk || fk->heard_bytes + size > MOST_HEARD) {
        return false;
    }
    fi_heard_t *h = malloc(sizeof *h);
    if (!h) {
        return false;
    }
    *h = *what;
    h->next = NULL;
    fk->heard_bytes += size;
    if (fk->first) {
        fk->last->next = h;
    } else {
        fk->first = h;
    }
    fk->last = h;
    fi_store_release32(&fk->some, 1);
    fi_receiver_t *rx = fi_load_acquire_ptr(&fk->k->rx);
    if (fk->waits) {
        pthread_cond_broadcast(&calls->changed);
    } else if (rx) {
        fi_receiver_nudge(rx);
    }
    return true;
}

void fi_far_client_hear(natsConnection *c, natsSubscription *sub, natsMsg *msg, void *arg) {
    fi_calls_t *calls = arg;
    fi_heard_t h = {.msg = msg};
    uint64_t client = 0;
    bool taken = false;

    (void)c;
    (void)sub;
    const char *subject = fi_nats.natsMsg_GetSubject(msg);
    size_t n = strlen(calls->inbox) + 1;
    if (strlen(subject) > n && fi_far_read_token(subject + n, &client, &h)) {
        pthread_mutex_lock(&calls->lock);
        taken = hand_over(calls, client, &h);
        pthread_mutex_unlock(&calls->lock);
    }
    if (!taken) {
        fi_nats.natsMsg_Destroy(msg);
    }
}

bool fi_far_client_take_in(ferry_client_t *k) {
    fi_far_client_t *fk = fi_far_of(k);

    if (!fi_load_acquire32(&fk->some)) {
        return false;
    }
    pthread_mutex_lock(&fk->calls->lock);
    fi_heard_t *list = take_heard(fk);
    pthread_mutex_unlock(&fk->calls->lock);
    fi_far_client_look_direct(fk); /* what is in there came before */
    for (const fi_heard_t *h = list; h; h = h->next) {
        fi_far_client_take_one(fk, h);
    }
    free_heard(list);
    return true;
}

/* ---- for programs that poll ---- */

/* With the lock. Whether any client waits for something. */
static bool nudge_polled(const fi_calls_t *calls, bool nudges) {
    struct fi_list *at;
    struct fi_list *after;
    bool any = false;

    fi_list_each(at, after, &calls->clients) {
        const fi_far_client_t *fk = fi_container(at, fi_far_client_t, link);
        fi_receiver_t *rx = fi_load_acquire_ptr(&fk->k->rx);
        if (fk->polled && rx && fi_load_acquire32(&fk->open) > 0) {
            any = true;
            if (nudges) {
                fi_receiver_nudge(rx);
            }
        }
    }
    return any;
}

/* Its program sleeps in poll, and must be woken to ask after its calls. */
static void *watch(void *arg) {
    fi_calls_t *calls = arg;

    (void)pthread_setname_np(pthread_self(), "ferry-calls");
    pthread_mutex_lock(&calls->lock);
    while (!calls->closed) {
        calls->resting = !nudge_polled(calls, false);
        while (!calls->closed && calls->resting) {
            pthread_cond_wait(&calls->changed, &calls->lock);
        }
        int64_t until = fi_now_ns() + FI_CALLS_ASK_AGAIN_NS;
        struct timespec moment = fi_timespec(until);
        while (!calls->closed && fi_now_ns() < until) {
            (void)pthread_cond_timedwait(&calls->changed, &calls->lock, &moment);
        }
        (void)nudge_polled(calls, true);
    }
    pthread_mutex_unlock(&calls->lock);
    return NULL;
}

int fi_far_client_watch(ferry_client_t *k) {
    fi_far_client_t *fk = fi_far_of(k);
    fi_calls_t *calls = fk->calls;
    sigset_t before;
    int error = 0;

    pthread_mutex_lock(&calls->lock);
    fk->polled = true;
    if (!calls->watching) {
        fi_net_signals_off(&before);
        error = pthread_create(&calls->watcher, NULL, watch, calls);
        fi_net_signals_restore(&before);
        calls->watching = error == 0;
    }
    pthread_mutex_unlock(&calls->lock);
    return error
               ? fi_fail_errno(error, "no thread can be started that looks after calls of \"%s\" " FI_SEE_THREAD_LIMITS,
                               k->service)
               : 0;
}

/* ---- who is there ---- */

int64_t fi_far_client_expected(ferry_client_t *k) {
    fi_far_client_t *fk = fi_far_of(k);
    int64_t now = fi_now_ns();
    char reply[FI_SUBJECT_MAX];

    (void)fi_far_client_take_in(k);
    if (!fi_net_is_up(fk->calls->net)) {
        return -1;
    }
    if (now - fk->known_at > FI_CALLS_KNOWN_NS / 2 && now - fk->sought_at > FI_CALLS_KNOWN_NS / 4 &&
        fi_far_open_inbox(fk->calls) == 0) {
        fi_call_frame_t f = {.type = FI_FRAME_CARD};
        fk->sought_at = now;
        fi_far_reply_subject(fk, FI_CALLS_CLIENTS_OWN, 0, true, reply);
        (void)fi_calls_send_frame(fk->calls, fk->calls->net->control, 0, &f, reply, k->service, strlen(k->service));
    }
    bool known = fk->known_at != 0 && now - fk->known_at <= FI_CALLS_KNOWN_NS && fk->usual > 0;
    return known ? fk->usual * (1 + (int64_t)fk->open) : -1;
}

struct counting {
    fi_net_t *net;
    unsigned threads;
};

static void count(const fi_call_card_t *card, void *arg) {
    struct counting *n = arg;

    if (!fi_net_is_near(n->net, card->node) && card->threads <= FI_WORKERS) {
        n->threads += card->threads;
    }
}

unsigned fi_far_client_servers(ferry_client_t *k, int64_t deadline) {
    fi_far_client_t *fk = fi_far_of(k);
    struct counting n = {.net = fk->calls->net};

    fk->unknown = false;
    if (!fi_net_is_up(fk->calls->net)) {
        return 0;
    }
    (void)fi_calls_each_card(fk->calls, k->service, CARDS_NS, count, &n);
    if (n.threads == 0) {
        fi_foreign_free(fk->foreign);
        fk->unknown = !fi_foreign_find(fk->calls, k->service, deadline, &fk->foreign);
        n.threads = fk->foreign != NULL;
    }
    if (n.threads > 0) {
        fk->nobody = false;
        fk->known_at = fi_now_ns();
    }
    return n.threads;
}
