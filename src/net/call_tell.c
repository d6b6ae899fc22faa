/* SPDX-License-Identifier: MIT
 *
 * Which thread runs which call from afar, for who looks: the client's wait names the call.
 */
#include "net/call_served.h"
#include "node/waits.h"

#define MOST_CALLS 4096u /* that are told of */

typedef struct fi_calls_told {
    fi_peer_t *peer;
    fi_frame_t frame;
    uint32_t count;
} fi_calls_told_t;

static void send(fi_calls_told_t *t) {
    (void)fi_peer_send(t->peer, &t->frame, NULL);
    t->frame = fi_frame(FI_LOOK_KEYS, 0, 0);
}

/* With the lock. One that waits in the queue has no thread. */
static void tell(fi_calls_told_t *t, uint64_t node, const fi_served_t *v) {
    const ferry_service_t *s = v->fs->service;
    int32_t tid = s ? fi_far_thread(v->fs->service, &v->f) : 0;

    if (!v->ours || t->count++ >= MOST_CALLS) {
        return;
    }
    if (t->frame.rx + 2 > FI_KEYS_IN_FRAME) {
        send(t);
    }
    t->frame.figures[t->frame.rx++] = fi_key_of_call(node, v->f.node, v->f.client, v->f.head.id);
    t->frame.figures[t->frame.rx++] = (uint32_t)tid;
}

void fi_calls_tell(fi_net_t *net, fi_peer_t *p) {
    fi_calls_told_t t = {.peer = p, .frame = fi_frame(FI_LOOK_KEYS, 0, 0)};
    struct fi_list *at;
    struct fi_list *after;

    pthread_mutex_lock(&net->lock);
    fi_calls_t *calls = net->calls;
    if (calls) {
        pthread_mutex_lock(&calls->lock);
        for (unsigned i = 0; i < FI_CALLS_BUCKETS; i++) {
            fi_list_each(at, after, &calls->served[i]) {
                tell(&t, net->node->id, fi_container(at, fi_served_t, link));
            }
        }
        pthread_mutex_unlock(&calls->lock);
    }
    pthread_mutex_unlock(&net->lock);
    send(&t);
}
