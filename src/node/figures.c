/* SPDX-License-Identifier: MIT
 *
 * Answering `ferry ls`: the node's ends and their figures.
 */
#include <stdio.h>
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
    f.flags = e->tap ? FI_LOOK_END_TAP : 0;
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

static void tell_object(fi_peer_t *p, const fi_object_t *o) {
    struct fi_list *at;
    struct fi_list *after;
    fi_frame_t f = fi_frame(FI_LOOK_OBJECT, 0, 0);

    memcpy(f.text, o->spec.name, sizeof f.text);
    snprintf(f.contract.type_name, sizeof f.contract.type_name, "%s", o->ops->word);
    f.figures[0] = o->spec.count;
    f.figures[3] = o->spec.size;
    memcpy(&f.figures[4], o->spec.type, sizeof o->spec.type);
    fi_list_each(at, after, &o->handles) {
        f.figures[1]++;
        f.figures[2] += fi_held(fi_container(at, fi_handle_t, link)) != 0;
    }
    (void)fi_peer_send(p, &f, NULL);
}

void fi_node_tell(fi_node_t *n, fi_peer_t *p, bool waits_only) {
    struct fi_list *at;
    struct fi_list *after;
    fi_frame_t f = fi_frame(FI_LOOK_NODE, 0, 0);

    f.a = n->id;
    f.b = n->peer_count;
    f.figures[0] = fi_process_number();
    memcpy(f.text, n->name, sizeof f.text);
    (void)fi_peer_send(p, &f, NULL);
    fi_list_each(at, after, &n->ends) {
        fi_end_t *e = fi_container(at, fi_end_t, link);
        if (e->published && !e->hidden && !waits_only) {
            tell_end(n, p, e);
        }
    }
    fi_list_each(at, after, &n->objects) {
        const fi_object_t *o = fi_container(at, fi_object_t, link);
        if (o->ready && !waits_only && !o->region) {
            tell_object(p, o);
        }
    }
    fi_waits_tell(n, p);
    f = fi_frame(FI_LOOK_DONE, 0, 0);
    (void)fi_peer_send(p, &f, NULL);
}
