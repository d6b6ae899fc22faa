/* SPDX-License-Identifier: MIT
 *
 * platform/tcp.h - TCP connections of this process that somebody else has made.
 *
 * A descriptor that is another's may be closed at any time, and its number be somebody else's then: it is looked at
 * only, but for fi_tcp_hang_up, which holds on to the connection before it looks. No call here blocks.
 */
#ifndef FI_PLATFORM_TCP_H
#define FI_PLATFORM_TCP_H

#include <stdbool.h>
#include <stdint.h>

typedef struct fi_tcp {
    bool blocks;   /* O_NONBLOCK is not set */
    bool execs;    /* stays open in a program that is executed */
    bool prompt;   /* TCP_NODELAY */
    bool reuses;   /* SO_REUSEADDR */
    bool resets;   /* SO_LINGER with no time: closing it forgets what was not sent */
    uint16_t port; /* the other side's */
    int64_t sent;  /* bytes, ever */
    int64_t rest;  /* ns since something was sent last, or since it was made */
} fi_tcp_t;

/* False: no TCP connection that stands. */
bool fi_tcp_look(int fd, fi_tcp_t *t);

/* Calls `each` for all descriptors of this process; for none if /proc is not mounted. */
void fi_descriptors_each(void (*each)(int fd, void *arg), void *arg);

/* Ends the connection, for both sides and whoever waits for it, if it `is` what is meant. False: it is not. The
 * descriptor stays its owner's. */
bool fi_tcp_hang_up(int fd, bool (*is)(const fi_tcp_t *t, void *arg), void *arg);

#endif
