/* SPDX-License-Identifier: MIT
 *
 * net/out.h - what out.c, flow.c and send.c share: the flows of an outward.
 */
#ifndef FI_NET_OUT_H
#define FI_NET_OUT_H

#include "net/bridge.h"

static inline fi_kept_t *fi_flow_at(const fi_flow_t *f, uint64_t number) {
    return &f->kept[number & (f->kept_cap - 1)];
}

/* flow.c. The outward's end is held. */
int fi_flow_make_room(fi_flow_t *f); /* for one more; -ENOMEM */
void fi_flow_keep(fi_flow_t *f, ferry_msg_t *m);
void fi_flow_let_go(fi_flow_t *f, fi_kept_t *k);
/* Releases what all arms have. */
void fi_flow_release(fi_bridge_t *b, fi_flow_t *f);
/* Nobody who comes late gets what is kept for that. */
void fi_flow_forget_history(fi_flow_t *f);
void fi_flow_free(fi_flow_t *f);
/* An arm for `d`, which is asked for it. False: no memory. */
bool fi_arm_add(fi_bridge_t *b, fi_flow_t *f, fi_dest_t *d);
void fi_arm_open(fi_bridge_t *b, fi_flow_t *f, const fi_arm_t *arm);
void fi_arm_remove(fi_arm_t *arm);

fi_dest_t *fi_outward_dest(const fi_outward_t *o, const fi_far_node_t *n);

/* What the arm's node has not received is to be sent to it again. */
void fi_flow_send_again(fi_flow_t *f, fi_arm_t *arm);

/* flow_window.c: how much may be on its way: little, at first and after a lost connection. */
void fi_flow_narrow(fi_flow_t *f);
/* Something was sent; and some of it has arrived, perhaps. */
void fi_flow_time(fi_flow_t *f);
void fi_flow_adapt(const fi_bridge_t *b, fi_flow_t *f);
/* What live arms have of the message that is in pieces, at least. */
uint64_t fi_flow_got_by_all(const fi_flow_t *f);
bool fi_flow_window_is_open(const fi_flow_t *f);

/* Sends what the window lets, to all arms that are live, and to those that lack something; tells them of the end. */
void fi_flow_send(fi_bridge_t *b, fi_flow_t *f);

#endif
