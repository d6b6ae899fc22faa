/* SPDX-License-Identifier: MIT
 *
 * follow.h - see ferry/watch.h.
 */
#ifndef FI_FOLLOW_H
#define FI_FOLLOW_H

#include <stdbool.h>

#include "ferry/watch.h"

int fi_follow_open(ferry_t *node, ferry_watch_t **out);
bool fi_follow_is_open(const ferry_watch_t *w);
/* Of a watch that is open. */
ferry_t *fi_follow_node(const ferry_watch_t *w);
/* One thread at a time: 0, or -EBUSY. */
int fi_follow_enter(ferry_watch_t *w);
void fi_follow_leave(ferry_watch_t *w);
int fi_follow_next(ferry_watch_t *w, int64_t timeout, ferry_watch_event_t *event);
int fi_follow_fd(const ferry_watch_t *w);
void fi_follow_close(ferry_watch_t *w);

#endif
