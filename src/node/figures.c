/* SPDX-License-Identifier: MIT
 *
 * Answering `ferry ls`: the node's ends and their figures.
 */
#include <string.h>

#include "node/node.h"
#include "platform/clock.h"

static void tell_end(const fi_node_t *n, fi_peer_t *p, fi_end_t *e) {
    (void)n;
    fi_frame_t f = fi_frame(FI_LOOK_END, 0, 0);
    if (e->magic == FI_END_SENDER) {
        f.tx = e->id;
    } else {
        f.rx = e->id;
    }
    f.kind = (uint16_t)e->kind;
    f.contract = e->stated;
    f.a = (uint64_t)(fi_now_ns() - e->opened_ns);
    memcpy(f.text, e->channel, sizeof f.text);
    fi_frame_t count = fi_frame(FI_COUNT, 0, 0);
    fi_mail_t *m = fi_mail_new(NULL, &count);
    if (m && e->magic == FI_END_SENDER) {
        fi_end_deliver(e, m);
    } else {
        fi_mail_free(m);
    }
    e->ops->figures(e, &f);
    (void)fi_peer_send(p, &f, NULL);
}

void fi_node_tell(fi_node_t *n, fi_peer_t *p) {
    struct fi_list *at;
    struct fi_list *after;
    fi_frame_t f = fi_frame(FI_LOOK_NODE, 0, 0);

    f.a = n->id;
    f.b = n->peer_count;
    memcpy(f.text, n->name, sizeof f.text);
    (void)fi_peer_send(p, &f, NULL);
    fi_list_each(at, after, &n->ends) {
        fi_end_t *e = fi_container(at, fi_end_t, link);
        if (e->published) {
            tell_end(n, p, e);
        }
    }
    f = fi_frame(FI_LOOK_DONE, 0, 0);
    (void)fi_peer_send(p, &f, NULL);
}
