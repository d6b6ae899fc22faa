/* SPDX-License-Identifier: MIT
 *
 * Services that are called from afar.  A request goes into its service's queue, is run by one of the service's threads,
 * and that thread sends the answer.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/error.h"
#include "net/call_served.h"
#include "platform/clock.h"

#define MOST_REQUESTS 1048576u /* of a service's that wait */

static struct fi_list *bucket_of(fi_calls_t *calls, uint64_t node, uint64_t client, uint64_t id) {
    uint64_t mixed = (node ^ client * UINT64_C(0x9e3779b97f4a7c15) ^ id) * UINT64_C(0xff51afd7ed558ccd);

    return &calls->served[(mixed >> 32) % FI_CALLS_BUCKETS];
}

/* With the lock. `attempt` 0: any. */
fi_served_t *fi_served_find(fi_calls_t *calls, const fi_call_frame_t *q, uint32_t attempt) {
    struct fi_list *at;
    struct fi_list *after;
    struct fi_list *bucket = bucket_of(calls, q->node, q->client, q->id);

    fi_list_each(at, after, bucket) {
        fi_served_t *v = fi_container(at, fi_served_t, link);
        if (v->f.node == q->node && v->f.client == q->client && v->f.head.id == q->id &&
            (attempt == 0 || v->known_as == attempt)) {
            return v;
        }
    }
    return NULL;
}

/* ---- references ---- */

void fi_far_service_unref(void *service) {
    fi_far_service_t *fs = service;

    if (fi_sub32(&fs->refs, 1) > 1) {
        return;
    }
    for (uint32_t i = 0; fs->methods && i < fs->endpoint_count; i++) {
        free(fs->methods[i]);
    }
    free(fs->methods);
    free(fs->endpoints);
    fi_calls_unref(fs->calls);
    free(fs);
}

static void unref_calls(void *calls) {
    fi_calls_unref(calls);
}

/* It is in no list any more. */
void fi_served_free(fi_served_t *v) {
    free(v->whole);
    fi_far_service_unref(v->fs);
    free(v);
}

/* With the lock. */
void fi_served_take_out(fi_served_t *v) {
    fi_list_remove(&v->link);
    v->fs->waiting--;
    if (v->coming) {
        v->calls->coming_bytes -= v->f.size;
    }
}

/* ---- requests ---- */

static fi_endpoint_t *find_method(const fi_far_service_t *fs, const char *word, const char *name) {
    for (uint32_t i = 0; i < fs->endpoint_count; i++) {
        if (name ? strcmp(fs->endpoints[i].name, name) == 0 : strcmp(fs->methods[i], word) == 0) {
            return &fs->endpoints[i];
        }
    }
    return NULL;
}

static int64_t deadline_of(natsMsg *msg) {
    const char *text = fi_calls_header(msg, "Ferry-Deadline-Ns");
    char *end = NULL;

    if (!text || *text < '0' || *text > '9') {
        return FI_NEVER;
    }
    errno = 0;
    long long left = strtoll(text, &end, 10);
    return errno || *end ? FI_NEVER : fi_deadline(left);
}

enum call_field { CALL_VERSION, CALL_NODE, CALL_CLIENT, CALL_ID, CALL_ATTEMPT, CALL_FLAGS, CALL_TOTAL, CALL_FIELDS };

/* With the lock: asks for the next pieces of an argument. */
void fi_served_ask(fi_served_t *v) {
    char result[96];
    fi_far_answer_t a = {.result = result};
    uint64_t most = (uint64_t)fi_calls_piece(v->calls) * FI_CALLS_WINDOW;
    uint64_t len = fi_min(v->f.size - v->have, most);

    snprintf(result, sizeof result, "pull %" PRIx64 " %" PRIx64 " %" PRIx64, v->calls->net->node->id, v->have, len);
    v->asked = v->have + len;
    (void)fi_far_answer_send(v->calls, v->reply, &a);
}

/* With the lock: gives up what does not come any more. */
static void drop_idle(fi_calls_t *calls) {
    int64_t now = fi_now_ns();
    struct fi_list *at;
    struct fi_list *after;

    for (unsigned i = 0; i < FI_CALLS_BUCKETS; i++) {
        fi_list_each(at, after, &calls->served[i]) {
            fi_served_t *v = fi_container(at, fi_served_t, link);
            if (v->coming && now - v->heard_at > FI_CALLS_IDLE_NS) {
                fi_served_take_out(v);
                fi_served_free(v);
            }
        }
    }
}

/* With the lock. 0, or why not. */
static int admit(fi_served_t *v) {
    fi_calls_t *calls = v->calls;
    const ferry_service_t *s = v->fs->service;
    uint64_t quota = s && s->quota ? s->quota : FI_CALLS_USUAL_QUOTA;

    if (calls->closed || !s || v->fs->refuses) {
        return -ESHUTDOWN;
    }
    if (v->fs->waiting >= MOST_REQUESTS) {
        return -EBUSY;
    }
    if (v->ours && v->fs->waiting >= s->queue) {
        uint32_t count = 0;
        struct fi_list *at;
        struct fi_list *after;
        for (unsigned i = 0; i < FI_CALLS_BUCKETS; i++) {
            fi_list_each(at, after, &calls->served[i]) {
                const fi_served_t *u = fi_container(at, fi_served_t, link);
                count += u->f.node == v->f.node && u->f.client == v->f.client && u->fs == v->fs;
            }
        }
        if (count >= s->queue) {
            return -EBUSY;
        }
    }
    if (!v->coming) {
        return 0;
    }
    drop_idle(calls);
    if (v->f.size > quota) {
        return -EMSGSIZE;
    }
    if (calls->coming_bytes + v->f.size > FI_CALLS_MOST_COMING) {
        return -EBUSY;
    }
    v->whole = aligned_alloc(64, (v->f.size + 63) / 64 * 64);
    return v->whole ? 0 : -EBUSY;
}

static fi_served_t *new_served(fi_far_service_t *fs, natsMsg *msg, uint64_t size, bool coming) {
    uint64_t room = (sizeof(fi_served_t) + 63) / 64 * 64;
    const char *reply = fi_nats.natsMsg_GetReply(msg);
    uint64_t body = coming ? 0 : size;
    fi_served_t *v = aligned_alloc(64, room + (body + 63) / 64 * 64 + 64);

    if (!v) {
        return NULL;
    }
    memset(v, 0, sizeof *v);
    unsigned char *data = (unsigned char *)v + room;
    if (body > 0) {
        memcpy(data, fi_nats.natsMsg_GetData(msg), body);
    }
    fi_list_init(&v->link);
    v->calls = fs->calls;
    v->fs = fs;
    (void)fi_add32(&fs->refs, 1);
    v->f.data = data;
    v->f.size = size;
    v->f.attempt = 1;
    v->coming = coming;
    v->begun = v->heard_at = fi_now_about();
    if (reply && strlen(reply) < sizeof v->reply) {
        strcpy(v->reply, reply);
    }
    return v;
}

/* With the lock. */
static void take_in(fi_served_t *v) {
    fi_calls_t *calls = v->calls;

    v->fs->waiting++;
    if (v->ours) {
        fi_list_add_head(bucket_of(calls, v->f.node, v->f.client, v->f.head.id), &v->link);
    }
    if (v->coming) {
        v->f.data = v->whole;
        calls->coming_bytes += v->f.size;
        fi_served_ask(v);
    } else {
        fi_far_push(v->fs->service, &v->f);
    }
}

static void take_request(fi_far_service_t *fs, natsMsg *msg) {
    fi_calls_t *calls = fs->calls;
    const char *subject = fi_nats.natsMsg_GetSubject(msg);
    const char *text = fi_calls_header(msg, "Ferry-Call");
    const char *reply = fi_nats.natsMsg_GetReply(msg);
    uint64_t field[CALL_FIELDS] = {0};
    uint64_t size = (uint64_t)fi_nats.natsMsg_GetDataLength(msg);

    reply = reply ? reply : "";
    if (strlen(reply) >= FI_SUBJECT_MAX || strlen(subject) <= fs->prefix) {
        return;
    }
    if (text && (!fi_calls_parse(text, "1", field + 1, CALL_FIELDS - 1) || field[CALL_NODE] == 0)) {
        (void)fi_far_answer_refuse(calls, reply, true, -EPROTO);
        return;
    }
    fi_endpoint_t *e = find_method(fs, subject + fs->prefix, fi_calls_header(msg, "Ferry-Method"));
    if (!e) {
        (void)fi_far_answer_refuse(calls, reply, text != NULL, -ENOSYS);
        return;
    }
    bool coming = field[CALL_TOTAL] > 0 && reply[0];
    fi_served_t *v = new_served(fs, msg, coming ? field[CALL_TOTAL] : size, coming);
    if (!v) {
        (void)fi_far_answer_refuse(calls, reply, text != NULL, -EBUSY);
        return;
    }
    v->ours = text != NULL;
    v->endpoint = e;
    v->f.head = (fi_call_head_t){.id = field[CALL_ID], .deadline = deadline_of(msg), .method = e->hash};
    v->f.head.flags = (uint32_t)field[CALL_FLAGS] & (FI_CALL_ONE_WAY | FI_CALL_STREAMS);
    v->f.head.flags |= reply[0] ? 0 : FI_CALL_ONE_WAY;
    if (v->f.head.flags & FI_CALL_ONE_WAY) {
        v->f.head.flags &= ~FI_CALL_STREAMS;
    }
    if (text) {
        v->f.node = field[CALL_NODE];
        v->f.client = field[CALL_CLIENT];
        v->f.attempt = field[CALL_ATTEMPT] > 0 && field[CALL_ATTEMPT] < 1000 ? (uint32_t)field[CALL_ATTEMPT] : 1;
        v->known_as = v->f.attempt;
    }
    pthread_mutex_lock(&calls->lock);
    bool is_again = fi_served_is_again(calls, v);
    int r = is_again ? 0 : admit(v);
    if (r == 0 && !is_again) {
        take_in(v);
    }
    pthread_mutex_unlock(&calls->lock);
    if (r < 0) {
        (void)fi_far_answer_refuse(calls, reply, text != NULL, r);
    }
    if (r < 0 || is_again) {
        fi_served_free(v);
    }
}

static void hear_request(natsConnection *c, natsSubscription *sub, natsMsg *msg, void *service) {
    fi_far_service_t *fs = service;

    (void)c;
    (void)sub;
    if (fi_calls_enter(fs->calls)) {
        take_request(fs, msg);
        fi_calls_leave(fs->calls);
    }
    fi_nats.natsMsg_Destroy(msg);
}

void fi_far_service_done(fi_far_request_t *f) {
    fi_served_t *v = fi_served_of(f);
    fi_calls_t *calls = v->calls;

    pthread_mutex_lock(&calls->lock);
    fi_served_take_out(v);
    if (v->endpoint) {
        v->endpoint->calls++;
        v->endpoint->errors += f->failed;
        v->endpoint->ns += (uint64_t)(fi_now_ns() - v->begun);
    }
    pthread_mutex_unlock(&calls->lock);
    fi_served_free(v);
}

/* ---- beginning and end ---- */

/* The node serves its first service. */
static int serve_frames(fi_calls_t *calls) {
    char subject[FI_SUBJECT_MAX];
    int r = 0;

    if (!calls->all) {
        fi_net_subject(calls->net, subject, "calls", NULL);
        fi_calls_ref(calls);
        r = fi_calls_subscribe(calls, subject, NULL, fi_far_service_hear, calls, unref_calls, &calls->all);
    }
    if (r == 0 && !calls->mine) {
        fi_net_node_subject(calls->net, subject, calls->net->node->id, "calls");
        fi_calls_ref(calls);
        r = fi_calls_subscribe(calls, subject, NULL, fi_far_service_hear, calls, unref_calls, &calls->mine);
    }
    if (r == 0 && !calls->srv) {
        fi_calls_ref(calls);
        r = fi_calls_subscribe(calls, "$SRV.*", NULL, fi_srv_hear_all, calls, unref_calls, &calls->srv);
    }
    return r;
}

static int by_name(const void *a, const void *b) {
    return strcmp(((const fi_endpoint_t *)a)->name, ((const fi_endpoint_t *)b)->name);
}

static int list_methods(fi_far_service_t *fs, const ferry_service_t *s) {
    fs->endpoints = calloc(s->method_count, sizeof *fs->endpoints);
    fs->methods = calloc(s->method_count, sizeof *fs->methods);
    if (!fs->endpoints || !fs->methods) {
        return -ENOMEM;
    }
    for (uint32_t i = 0; i < s->room; i++) {
        const fi_method_t *m = s->methods[i];
        if (m) {
            fi_endpoint_t *e = &fs->endpoints[fs->endpoint_count++];
            *e = (fi_endpoint_t){.method = m, .hash = m->hash};
            memcpy(e->name, m->name, sizeof e->name);
        }
    }
    qsort(fs->endpoints, fs->endpoint_count, sizeof *fs->endpoints, by_name);
    for (uint32_t i = 0; i < fs->endpoint_count; i++) {
        char word[FI_METHOD_NAME_MAX + 1];
        fi_calls_method(fs->endpoints[i].name, word, sizeof word);
        fs->methods[i] = strdup(word);
        if (!fs->methods[i]) {
            return -ENOMEM;
        }
    }
    return 0;
}

static fi_far_service_t *new_service(ferry_service_t *s) {
    fi_calls_t *calls = s->node->net->calls;
    fi_far_service_t *fs = calloc(1, sizeof *fs);

    if (!fs) {
        return NULL;
    }
    fs->calls = calls;
    fi_calls_ref(calls);
    fs->refs = 1;
    fs->service = s;
    fs->since = fi_now_ns();
    fs->wall_since = (int64_t)time(NULL);
    fi_list_init(&fs->link);
    if (list_methods(fs, s) < 0) {
        fi_far_service_unref(fs);
        return NULL;
    }
    fi_net_subject(calls->net, fs->subject, "svc", s->name);
    fs->prefix = strlen(fs->subject) + 1;
    pthread_mutex_lock(&calls->lock);
    fs->number = ++calls->last_service;
    pthread_mutex_unlock(&calls->lock);
    return fs;
}

static int subscribe(fi_far_service_t *fs) {
    char subject[FI_SUBJECT_MAX + 2];

    snprintf(subject, sizeof subject, "%s.*", fs->subject);
    (void)fi_add32(&fs->refs, 1);
    int r = fi_calls_subscribe(fs->calls, subject, "q", hear_request, fs, fi_far_service_unref, &fs->requests);
    return r < 0 ? r : fi_srv_open(fs);
}

int fi_far_service_begins(ferry_service_t *s) {
    fi_calls_t *calls = s->node->net->calls;

    if (fi_load_acquire_ptr(&s->reach)) {
        return 0;
    }
    fi_far_service_t *fs = new_service(s);
    if (!fs) {
        return fi_fail(-ENOMEM, "no memory for the service \"%s\"", s->name);
    }
    void *none = NULL;
    if (!__atomic_compare_exchange_n(&s->reach, &none, (void *)fs, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) {
        fi_far_service_unref(fs); /* another thread was first */
        return 0;
    }
    pthread_mutex_lock(&calls->lock);
    fi_list_add_tail(&calls->services, &fs->link);
    pthread_mutex_unlock(&calls->lock);
    pthread_mutex_lock(&calls->opening);
    int r = serve_frames(calls);
    pthread_mutex_unlock(&calls->opening);
    r = r == 0 ? subscribe(fs) : r;
    if (r == 0 && fi_net_is_up(calls->net)) { /* else it will be, and then the subscriptions are made */
        (void)fi_nats.natsConnection_FlushTimeout(calls->net->control, FI_NET_ASK_MS);
    }
    if (r < 0) {
        fi_far_service_ends(s);
        return fi_fail(r, "the service \"%s\" cannot be served: %s", s->name, fi_error_text());
    }
    return 0;
}

#define DRAIN_SLICE_MS 20
#define LEAST_SLICES 5u /* also if the close has no time left: who is refused now need not wait */

/* What the NATS server has sent, or will have until it hears of this, is taken in. */
static void drain(const ferry_service_t *s, natsSubscription *sub) {
    bool is_up = fi_net_is_up(s->node->net); /* else nothing comes */

    if (sub && is_up && fi_net_drain(sub)) {
        natsStatus status = NATS_TIMEOUT;
        for (unsigned i = 0; status == NATS_TIMEOUT && (i < LEAST_SLICES || !fi_load_acquire32(&s->hurry)); i++) {
            status = fi_nats.natsSubscription_WaitForDrainCompletion(sub, DRAIN_SLICE_MS);
        }
    }
}

void fi_far_service_drains(ferry_service_t *s) {
    fi_calls_t *calls = s->node->net->calls;

    pthread_mutex_lock(&calls->lock);
    fi_far_service_t *fs = fi_load_acquire_ptr(&s->reach);
    bool drains = fs && !fs->drained;
    if (drains) {
        fs->drained = true;
        (void)fi_add32(&fs->refs, 1);
    }
    pthread_mutex_unlock(&calls->lock);
    if (drains) {
        drain(s, fs->requests);
        fi_far_service_unref(fs);
    }
}

void fi_far_service_ends(ferry_service_t *s) {
    fi_calls_t *calls = s->node->net->calls;
    fi_far_request_t *f;

    pthread_mutex_lock(&calls->lock);
    fi_far_service_t *fs = __atomic_exchange_n(&s->reach, NULL, __ATOMIC_ACQ_REL);
    bool drains = fs && !fs->drained;
    if (fs) {
        fs->refuses = fs->drained = true;
    }
    pthread_mutex_unlock(&calls->lock);
    if (!fs) {
        return;
    }
    if (drains) {
        drain(s, fs->requests);
    }
    fi_calls_unsubscribe(calls, fs->requests);
    fi_calls_unsubscribe(calls, fs->srv_name);
    fi_calls_unsubscribe(calls, fs->srv_id);
    pthread_mutex_lock(&calls->lock);
    fs->service = NULL;
    fi_list_remove(&fs->link);
    pthread_mutex_unlock(&calls->lock);
    while ((f = fi_far_take(s, NULL)) != NULL) {
        fi_served_t *v = fi_served_of(f);
        if (fi_calls_enter(calls)) {
            (void)fi_far_answer_refuse(calls, v->reply, v->ours, -ESHUTDOWN);
            fi_calls_leave(calls);
        }
        v->endpoint = NULL;
        fi_far_service_done(f);
    }
    fi_calls_flush(calls, fi_deadline(FI_NET_ASK_MS * 1000000ll)); /* the last answers are on their way then */
    fi_far_service_unref(fs);
}
