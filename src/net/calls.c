/* SPDX-License-Identifier: MIT
 *
 * What clients and services of a node have in common: subscriptions, frames, and the end.
 */
#include "net/calls.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "platform/clock.h"
#include "platform/condition.h"

/* ---- how long it lives ---- */

void fi_calls_ref(fi_calls_t *calls) {
    (void)fi_add32(&calls->refs, 1);
}

void fi_calls_unref(fi_calls_t *calls) {
    if (fi_sub32(&calls->refs, 1) == 1) {
        fi_kept_done(&calls->kept);
        pthread_cond_destroy(&calls->changed);
        pthread_mutex_destroy(&calls->lock);
        pthread_mutex_destroy(&calls->opening);
        pthread_mutex_destroy(&calls->hearing);
        free(calls);
    }
}

bool fi_calls_enter(fi_calls_t *calls) {
    __atomic_fetch_add(&calls->users, 1, __ATOMIC_SEQ_CST);
    if (__atomic_load_n(&calls->closed, __ATOMIC_SEQ_CST)) {
        fi_calls_leave(calls);
        return false;
    }
    return true;
}

void fi_calls_leave(fi_calls_t *calls) {
    __atomic_fetch_sub(&calls->users, 1, __ATOMIC_SEQ_CST);
}

static void connection_changed(void *arg, bool up) {
    fi_calls_t *calls = arg;

    if (up) {
        __atomic_store_n(&calls->back_at, fi_now_ns(), __ATOMIC_RELEASE);
    }
    pthread_mutex_lock(&calls->lock);
    pthread_cond_broadcast(&calls->changed);
    pthread_mutex_unlock(&calls->lock);
    fi_kept_look(&calls->kept);
}

bool fi_calls_is_settling(const fi_calls_t *calls, int64_t now) {
    int64_t back_at = __atomic_load_n(&calls->back_at, __ATOMIC_ACQUIRE);

    return !fi_net_is_up(calls->net) || (back_at != 0 && now - back_at < FI_NET_DEAD_NS);
}

int fi_calls_open(fi_net_t *net) {
    fi_calls_t *calls = calloc(1, sizeof *calls);

    if (!calls) {
        return fi_fail(-ENOMEM, "no memory for calls between machines");
    }
    calls->net = net;
    calls->refs = 1;
    pthread_mutex_init(&calls->opening, NULL);
    pthread_mutex_init(&calls->hearing, NULL);
    pthread_mutex_init(&calls->lock, NULL);
    fi_condition_init(&calls->changed);
    fi_kept_init(&calls->kept);
    fi_list_init(&calls->clients);
    fi_list_init(&calls->services);
    fi_list_init(&calls->outgoing);
    for (unsigned i = 0; i < FI_CALLS_BUCKETS; i++) {
        fi_list_init(&calls->served[i]);
    }
    calls->watch = (fi_net_watch_t){.changed = connection_changed, .arg = calls};
    fi_net_watch(net, &calls->watch);
    net->calls = calls;
    fi_far_calls = &fi_calls_table;
    return 0;
}

void fi_calls_close(fi_net_t *net) {
    fi_calls_t *calls = net->calls;

    if (!calls) {
        return;
    }
    while (!fi_list_empty(&calls->services)) {
        fi_far_service_ends(fi_container(calls->services.next, fi_far_service_t, link)->service);
    }
    fi_kept_send_last(calls);
    fi_net_unwatch(net, &calls->watch);
    __atomic_store_n(&calls->closed, 1, __ATOMIC_SEQ_CST);
    fi_kept_look(&calls->kept);
    pthread_mutex_lock(&calls->lock);
    pthread_cond_broadcast(&calls->changed);
    pthread_mutex_unlock(&calls->lock);
    fi_calls_unsubscribe(calls, calls->all);
    fi_calls_unsubscribe(calls, calls->mine);
    fi_calls_unsubscribe(calls, calls->srv);
    if (calls->watching) {
        pthread_join(calls->watcher, NULL);
    }
    while (__atomic_load_n(&calls->users, __ATOMIC_SEQ_CST)) {
        usleep(100);
    }
    fi_calls_unsubscribe(calls, calls->replies); /* who sends what was kept may have subscribed to them last of all */
    fi_kept_drop(calls);
    while (!fi_list_empty(&calls->outgoing)) {
        fi_outgoing_t *o = fi_container(calls->outgoing.next, fi_outgoing_t, link);
        fi_list_remove(&o->link);
        free(o->bytes);
        free(o);
    }
    pthread_mutex_lock(&net->lock); /* nobody tells of them any more */
    net->calls = NULL;
    pthread_mutex_unlock(&net->lock);
    fi_calls_unref(calls);
}

int fi_calls_subscribe(fi_calls_t *calls, const char *subject, const char *queue, natsMsgHandler cb, void *arg,
                       void (*give_back)(void *arg), natsSubscription **sub) {
    int r = fi_net_subscribe(calls->net, calls->net->control, subject, queue, cb, arg, sub);

    if (r < 0) {
        give_back(arg);
        return r;
    }
    (void)fi_nats.natsSubscription_SetOnCompleteCB(*sub, give_back, arg);
    return 0;
}

/* ---- what is written and read ---- */

const char *fi_calls_header(natsMsg *msg, const char *name) {
    const char *value = NULL;

    return fi_nats.natsMsgHeader_Get(msg, name, &value) == NATS_OK ? value : NULL;
}

bool fi_calls_parse(const char *text, const char *word, uint64_t *numbers, unsigned count) {
    size_t n = strlen(word);

    if (strncmp(text, word, n) != 0) {
        return false;
    }
    text += n;
    for (unsigned i = 0; i < count; i++) {
        unsigned digits = 0;
        if (*text++ != ' ') {
            return false;
        }
        numbers[i] = 0;
        for (; digits < 16; digits++, text++) {
            unsigned d = *text >= '0' && *text <= '9'   ? (unsigned)(*text - '0')
                         : *text >= 'a' && *text <= 'f' ? (unsigned)(*text - 'a' + 10)
                                                        : 16;
            if (d == 16) {
                break;
            }
            numbers[i] = numbers[i] << 4 | d;
        }
        if (digits == 0) {
            return false;
        }
    }
    return *text == '\0';
}

void fi_calls_method(const char *method, char *out, size_t cap) {
    size_t i = 0;

    for (; method[i] && i + 1 < cap; i++) {
        out[i] = method[i] == '.' || method[i] == '*' || method[i] == '>' ? '~' : method[i];
    }
    out[i] = '\0';
}

int fi_calls_send_frame(fi_calls_t *calls, natsConnection *c, uint64_t to, fi_call_frame_t *f, const char *reply,
                        const void *bytes, size_t size) {
    char subject[FI_SUBJECT_MAX];
    unsigned char small[sizeof *f + 256];
    unsigned char *whole = size <= 256 ? small : malloc(sizeof *f + size);

    if (!whole) {
        return fi_fail(-ENOMEM, "no memory for a piece of a call");
    }
    f->version = FI_CALLS_VERSION;
    memcpy(whole, f, sizeof *f);
    if (size > 0) {
        memcpy(whole + sizeof *f, bytes, size);
    }
    if (to) {
        fi_net_node_subject(calls->net, subject, to, "calls");
    } else {
        fi_net_subject(calls->net, subject, "calls", NULL);
    }
    natsStatus s = fi_calls_publish(calls, c, subject, reply, whole, sizeof *f + size);
    if (whole != small) {
        free(whole);
    }
    return s == NATS_OK ? 0 : fi_net_fail(calls->net, s, "send to", subject);
}

/* ---- who serves ---- */

static bool take_card(natsMsg *msg, fi_call_card_t *card) {
    if (fi_nats.natsMsg_GetDataLength(msg) < (int)sizeof *card) {
        return false;
    }
    memcpy(card, fi_nats.natsMsg_GetData(msg), sizeof *card);
    card->name[sizeof card->name - 1] = '\0';
    return card->version == FI_CALLS_VERSION && card->node != 0;
}

#define MOST_CARDS 100000

/* Not kept: the answers are waited for, and a question that comes late is of no use. */
static natsStatus ask_for_cards(const fi_calls_t *calls, const char *service, const char *inbox) {
    struct {
        fi_call_frame_t frame;
        char service[FI_SERVICE_NAME_MAX + 1];
    } question = {.frame = {.version = FI_CALLS_VERSION, .type = FI_FRAME_CARD, .node = calls->net->node->id}};
    size_t length = service ? strnlen(service, FI_SERVICE_NAME_MAX) : 0;
    char subject[FI_SUBJECT_MAX];

    if (length > 0) {
        memcpy(question.service, service, length);
    }
    fi_net_subject(calls->net, subject, "calls", NULL);
    return fi_nats.natsConnection_PublishRequest(calls->net->control, subject, inbox, &question,
                                                 (int)(sizeof question.frame + length));
}

int fi_calls_each_card(fi_calls_t *calls, const char *service, int64_t patience,
                       void (*each)(const fi_call_card_t *card, void *arg), void *arg) {
    natsSubscription *sub = NULL;
    natsInbox *inbox = NULL;
    natsMsg *msg = NULL;
    fi_call_card_t card;
    int count = 0;

    natsStatus s = fi_net_is_up(calls->net) ? fi_nats.natsInbox_Create(&inbox) : NATS_CONNECTION_DISCONNECTED;
    s = s == NATS_OK ? fi_nats.natsConnection_SubscribeSync(&sub, calls->net->control, inbox) : s;
    s = s == NATS_OK ? ask_for_cards(calls, service, inbox) : s;
    int r = s == NATS_OK ? 0 : fi_net_fail(calls->net, s, "ask for the services of", calls->net->address.space);
    while (r == 0 && count < MOST_CARDS && fi_nats.natsSubscription_NextMsg(&msg, sub, patience / 1000000) == NATS_OK) {
        bool alone = fi_nats.natsMsg_IsNoResponders(msg);
        if (!alone && take_card(msg, &card)) {
            each(&card, arg);
            count++;
        }
        fi_nats.natsMsg_Destroy(msg);
        if (alone) {
            break;
        }
    }
    fi_calls_unsubscribe(calls, sub);
    fi_nats.natsInbox_Destroy(inbox);
    return r < 0 ? r : count;
}
