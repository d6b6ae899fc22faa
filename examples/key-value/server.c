/* SPDX-License-Identifier: MIT
 *
 * server.c - `key-value-server [THREADS]`: serves until somebody presses Ctrl-C, or SIGTERM comes.
 */
#include "key_value.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#define LINGER ((int64_t)5 * 1000 * 1000 * 1000)

static int failed(const char *what) {
    fprintf(stderr, "key-value-server: %s: %s\n", what, ferry_last_error());
    return 1;
}

/** The service has threads of its own, so this one only waits for the signal. */
static int serve_until_signal(ferry_service_t *service, unsigned threads, const sigset_t *signals) {
    int which;
    if (ferry_service_start(service, threads) < 0) {
        return failed("starting its threads");
    }
    printf("key-value-server: %u threads serve\n", threads);
    fflush(stdout);
    while (sigwait(signals, &which) != 0) {
    }
    ferry_service_stats_t stats = {0};
    /* What was accepted is finished first. */
    if (ferry_service_stats(service, &stats) < 0 || ferry_service_close(service, LINGER) < 0) {
        return failed("closing its service");
    }
    printf("key-value-server: %llu calls, of which %llu were answered with an error\n", (unsigned long long)stats.calls,
           (unsigned long long)stats.errors);
    return 0;
}

static int run(unsigned threads, const sigset_t *signals) {
    store_t *store = store_new();
    ferry_t *node;
    ferry_service_t *service;
    int status = 1;
    if (store == NULL || ferry_open(KEY_VALUE, NULL, &node) < 0) {
        free(store);
        return failed("opening the space");
    }
    if (key_value_open(node, store, &service) < 0) {
        failed("opening its service");
    } else {
        status = serve_until_signal(service, threads, signals);
    }
    ferry_close(node);
    store_free(store);
    return status;
}

int main(int argc, char **argv) {
    int threads = argc == 2 ? atoi(argv[1]) : 4;
    if (argc > 2 || threads < 1 || threads > 64) {
        fputs("Usage: key-value-server [THREADS, 1 to 64 (4)]\n", stderr);
        return 2;
    }
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    sigprocmask(SIG_BLOCK, &signals, NULL); /* sigwait takes them */
    return run((unsigned)threads, &signals);
}
