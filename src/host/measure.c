/* SPDX-License-Identifier: MIT
 *
 * host/measure.c - see measure.h.
 *
 * Lines and wake-ups are measured with a helper, a thread on another processor:
 *
 *   lines     both spin; each stores into its own line what it saw in the other's, so a round is two transfers
 *   wake-ups  the helper says that it goes to sleep on its doorbell; we wait until it surely does, ring, and it notes
 *             how long ago that was when it runs
 */
#include "host/measure.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/atomic.h"
#include "base/bits.h"
#include "base/error.h"
#include "host/profile.h"
#include "platform/bell.h"
#include "platform/clock.h"
#include "platform/cpu.h"
#include "platform/memfd.h"

#define PAIR_NS 50000000ll /* for lines and wake-ups, which depend on when two threads run; copying ends by itself */
#define COPY_NS 40000      /* for one try of a size */
#define COPY_TRIES 3
#define PAGES 32u
#define PAGE_TRIES 2
#define ROUNDS 100u /* of one try */
#define LINE_TRIES 8
#define LOOKS_PER_CLOCK 64u
#define WAKES 15
#define WAKES_ENOUGH 5
#define FALL_ASLEEP_NS 30000ll

typedef struct line {
    _Alignas(2 * FI_CACHE_LINE) uint64_t value; /* two: processors fetch lines in pairs */
} line_t;

typedef struct pair {
    line_t ours;
    line_t helpers;
    line_t asleep; /* number of the helper's sleep */
    line_t rung;   /* ns: when we rang for it */
    line_t quit;
    fi_bell_t bell;
    int64_t deadline;
    int64_t wakes[WAKES];
    uint32_t wake_count;
} pair_t;

/* What a profile can say: a host that was stopped in the middle shows other figures. */
static uint64_t between(uint64_t least, uint64_t value, uint64_t most) {
    return fi_min(fi_max(value, least), most);
}

/* --- copying, pages ---------------------------------------------------------------------------------------------- */

static uint64_t copy_once(unsigned char *to, const unsigned char *from, size_t bytes) {
    uint64_t copied = 0;
    int64_t start = fi_now_ns();
    int64_t gone;

    do {
        for (int i = 0; i < 8; i++) {
            memcpy(to, from, bytes);
            fi_compiler_barrier(); /* each of them counts */
        }
        copied += 8 * (uint64_t)bytes;
        gone = fi_now_ns() - start;
    } while (gone < COPY_NS);
    return copied * 1000 / (uint64_t)gone;
}

static int measure_copies(ferry_host_t *h) {
    size_t most = fi_host_copy_bytes[FERRY_HOST_COPIES - 1];
    unsigned char *m = mmap(NULL, 2 * most, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

    if (m == MAP_FAILED) {
        return fi_fail(-ENOMEM, "no memory to measure how fast it is copied");
    }
    for (unsigned i = 0; i < FERRY_HOST_COPIES; i++) {
        uint64_t best = 1;
        for (int k = 0; k < COPY_TRIES; k++) {
            best = fi_max(best, copy_once(m + most, m, fi_host_copy_bytes[i]));
        }
        h->copy_mbps[i] = between(1, best, 10000000);
    }
    (void)munmap(m, 2 * most);
    return 0;
}

/* As a sender's pool grows: pages that are there, sealed and mapped. */
static int measure_pages(ferry_host_t *h) {
    size_t bytes = PAGES * fi_page_size();
    int64_t best = INT64_MAX;

    for (int i = 0; i < PAGE_TRIES; i++) {
        void *map;
        int fd;
        int64_t start = fi_now_ns();
        int r = fi_memfd_create("ferry-measure", bytes, &fd, &map);
        if (r < 0) {
            return r;
        }
        best = fi_earlier(best, fi_now_ns() - start);
        close(fd);
        fi_memfd_unmap(map, bytes);
    }
    h->page_ns = between(1, (uint64_t)best / PAGES, 1000000);
    return 0;
}

/* --- lines, wake-ups --------------------------------------------------------------------------------------------- */

/* Waits until the word is `value`. False: it took too long. */
static bool see(const line_t *word, uint64_t value, const pair_t *p) {
    for (uint32_t looks = 1; fi_load_acquire64(&word->value) != value; looks++) {
        if (looks % LOOKS_PER_CLOCK == 0 && (fi_now_ns() >= p->deadline || fi_load_acquire64(&p->quit.value))) {
            return false;
        }
        fi_cpu_relax();
    }
    return true;
}

static void answer_lines(pair_t *p) {
    for (uint64_t i = 1; i <= (uint64_t)LINE_TRIES * ROUNDS && see(&p->ours, i, p); i++) {
        fi_store_release64(&p->helpers.value, i);
    }
}

static void sleep_and_wake(pair_t *p) {
    for (uint64_t i = 1; i <= WAKES && !fi_load_acquire64(&p->quit.value); i++) {
        fi_store_release64(&p->asleep.value, i);
        if (fi_bell_wait(p->bell.rd, p->deadline) != 1) {
            return;
        }
        int64_t now = fi_now_ns();
        fi_bell_drain(p->bell.rd);
        p->wakes[p->wake_count++] = now - (int64_t)fi_load_acquire64(&p->rung.value);
    }
}

static void *help(void *arg) {
    pair_t *p = arg;

    answer_lines(p);
    sleep_and_wake(p);
    return NULL;
}

/* False: not in time. */
static bool measure_lines(pair_t *p, ferry_host_t *h) {
    int64_t best = INT64_MAX;
    uint64_t number = 0;

    for (int k = 0; k < LINE_TRIES; k++) {
        int64_t start = fi_now_ns();
        for (unsigned i = 0; i < ROUNDS; i++) {
            fi_store_release64(&p->ours.value, ++number);
            if (!see(&p->helpers, number, p)) {
                fi_store_release64(&p->quit.value, 1);
                return false;
            }
        }
        best = fi_earlier(best, fi_now_ns() - start);
    }
    h->line_ns = between(1, (uint64_t)best / ROUNDS / 2, 100000);
    return true;
}

static void measure_wakes(pair_t *p) {
    for (uint64_t i = 1; i <= WAKES && see(&p->asleep, i, p); i++) {
        int64_t until = fi_now_ns() + FALL_ASLEEP_NS;
        while (fi_now_ns() < until) {
            fi_cpu_relax();
        }
        fi_store_release64(&p->rung.value, (uint64_t)fi_now_ns());
        fi_bell_ring(p->bell.wr);
    }
    fi_store_release64(&p->quit.value, 1);
    fi_bell_ring(p->bell.wr);
}

/* On a processor other than ours, if we may choose. */
static void place_elsewhere(pthread_attr_t *attr) {
    cpu_set_t allowed;
    int here = sched_getcpu();

    if (here >= 0 && here < CPU_SETSIZE && sched_getaffinity(0, sizeof allowed, &allowed) == 0) {
        CPU_CLR((size_t)here, &allowed);
        if (CPU_COUNT(&allowed) > 0) {
            (void)pthread_attr_setaffinity_np(attr, sizeof allowed, &allowed);
        }
    }
}

static int start_helper(pair_t *p, pthread_t *thread) {
    pthread_attr_t attr;
    sigset_t all;
    sigset_t before;

    sigfillset(&all); /* signals belong to the program's own threads */
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, 256 * 1024);
    place_elsewhere(&attr);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int err = pthread_create(thread, &attr, help, p);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attr);
    return err ? fi_fail_errno(err, "cannot start a thread to measure wake-ups with " FI_SEE_THREAD_LIMITS) : 0;
}

static int by_length(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a;
    int64_t y = *(const int64_t *)b;

    return (x > y) - (x < y);
}

static int measure_pair(pair_t *p, ferry_host_t *h, bool *whole) {
    pthread_t helper;
    int r = fi_bell_init(&p->bell);

    p->deadline = fi_now_ns() + PAIR_NS;
    if (r < 0) {
        return r;
    }
    r = start_helper(p, &helper);
    if (r == 0) {
        *whole = measure_lines(p, h);
        measure_wakes(p);
        (void)pthread_join(helper, NULL);
        *whole &= p->wake_count >= WAKES_ENOUGH;
        if (*whole) {
            qsort(p->wakes, p->wake_count, sizeof p->wakes[0], by_length);
            h->wake_ns = between(100, (uint64_t)p->wakes[p->wake_count / 2], 10000000);
        }
    }
    fi_bell_done(&p->bell);
    return r;
}

int fi_host_measure(const uint32_t *stop, ferry_host_t *host, bool *whole) {
    ferry_host_t h = fi_host_assumed();
    pair_t p = {0};
    int r = measure_copies(&h);
    r = r == 0 ? measure_pages(&h) : r;
    if (r == 0 && stop && fi_load_acquire32(stop)) {
        r = fi_fail(-ECANCELED, "measuring this host was given up");
    }
    *whole = true;
    if (r == 0 && fi_cpu_count() > 1) {
        r = measure_pair(&p, &h, whole);
    } else if (fi_cpu_online() == 1) {
        h.line_ns = 0;
    } else {
        *whole = false; /* who may run on one core only can measure no pair, but whom it waits for may run on another */
    }
    if (r == 0) {
        h.source = FERRY_HOST_MEASURED;
        *host = h;
    }
    return r;
}
