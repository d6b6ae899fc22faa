/* SPDX-License-Identifier: MIT
 *
 * daemon.h - a program that another library needs beside the processes that talk.
 */
#ifndef FERRY_BENCH_DAEMON_H
#define FERRY_BENCH_DAEMON_H

#include <stdbool.h>
#include <sys/types.h>

typedef struct bench_daemon {
    pid_t pid;  /* 0: it does not run */
    int output; /* kept open, or writing would end it */
} bench_daemon_t;

/* Starts it, and waits until it has written `ready`. False: it did not (said). It ends with this process at the
 * latest. */
bool bench_daemon_start(bench_daemon_t *daemon, const char *program, const char *ready) __attribute__((nonnull));

void bench_daemon_stop(bench_daemon_t *daemon);

#endif
