/* SPDX-License-Identifier: MIT */
#include "history.h"

#include <stdlib.h>

#include "objects.h"

#define HOLDS_MAX 20000

typedef struct hold {
    uint64_t token;
    int64_t begin, end; /* of the monotonic clock, which one machine's processes share; end 0: killed meanwhile */
} hold_t;

struct history {
    atomic_uint count;
    atomic_uint writers;
    atomic_uint enough;
    hold_t holds[HOLDS_MAX];
};

history_t *history_new(void) {
    return share(sizeof(history_t));
}

/* What was seen while it was held is within the time that it was held. */
static void write_one(history_t *history, ferry_mutex_t *mutex) {
    int r = ferry_mutex_lock(mutex, PATIENCE);
    check(r == 0 || r == FERRY_OWNER_DIED);
    unsigned i = atomic_fetch_add(&history->count, 1);
    check(i < HOLDS_MAX);
    hold_t *hold = &history->holds[i];
    hold->token = ferry_mutex_token(mutex);
    hold->begin = monotonic();
    if (r == FERRY_OWNER_DIED)
        check_is(ferry_mutex_repaired(mutex), 0);
    hold->end = monotonic();
    r = ferry_mutex_unlock(mutex);
    check(r == 0 || r == -ESTALE); /* -ESTALE: the machine, or the server, stood still for seconds */
}

void history_write(history_t *history, ferry_t *node, int64_t pause) {
    ferry_mutex_t *mutex = open_mutex(node, "history");
    atomic_fetch_add(&history->writers, 1);
    while (!atomic_load(&history->enough)) {
        write_one(history, mutex);
        if (pause > 0)
            nap(pause);
    }
    check_is(ferry_mutex_close(mutex), 0);
}

void history_end(history_t *history) {
    atomic_store(&history->enough, 1);
}

unsigned history_writers(history_t *history) {
    return atomic_load(&history->writers);
}

unsigned history_count(history_t *history) {
    return atomic_load(&history->count);
}

static int by_token(const void *a, const void *b) {
    const hold_t *x = a, *y = b;
    return x->token < y->token ? -1 : x->token > y->token;
}

/* Independent of everything above. */
void history_check(history_t *history) {
    unsigned count = history_count(history);
    hold_t *holds = history->holds;
    qsort(holds, count, sizeof *holds, by_token);
    for (unsigned i = 1; i < count; i++) {
        check(holds[i].token > holds[i - 1].token);
        check(holds[i].begin >= holds[i - 1].begin && holds[i].begin >= holds[i - 1].end);
    }
}
