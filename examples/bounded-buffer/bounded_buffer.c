/* SPDX-License-Identifier: MIT
 *
 * bounded_buffer.c - the problem of producers and consumers, solved in three ways; see bounded_buffer.h.
 */
#include "ring.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#define WAYS 3u

static const way_t *const ways[WAYS] = {&semaphores, &events, &queue};

static void print_usage(FILE *out) {
    fputs("Usage: bounded-buffer [OPTION]...\n"
          "Processes produce and consume items, with a few places between them.\n"
          "\n"
          "  --semaphores    a ring in shared memory, with two semaphores and two mutexes\n"
          "  --events        the same ring, with a mutex and two events\n"
          "  --queue         a queue of Ferry\n"
          "                  several may be given; without any of them: all three, one after the other\n"
          "  --producers N   1 to 32 (2)\n"
          "  --consumers N   1 to 32 (2)\n"
          "  --items N       of each producer, 1 to 1000000 (200000)\n"
          "  --slots N       places between producers and consumers, 1 to 65536 (64)\n"
          "  --help          print this\n"
          "\n"
          "Ends with status 0 when every item came exactly once, and those of each producer in order.\n",
          out);
}

/** Fills `job`, and `chosen` with the ways that shall be tried. */
static void read_options(int argc, char **argv, job_t *job, bool chosen[WAYS]) {
    static const struct option options[] = {
        {"semaphores", no_argument, NULL, 0}, /* the place in `ways` */
        {"events", no_argument, NULL, 1},
        {"queue", no_argument, NULL, 2},
        {"producers", required_argument, NULL, 'p'},
        {"consumers", required_argument, NULL, 'c'},
        {"items", required_argument, NULL, 'i'},
        {"slots", required_argument, NULL, 's'},
        {"help", no_argument, NULL, 'h'},
        {0},
    };
    int c;
    while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (c) {
        case 0:
        case 1:
        case 2:
            chosen[c] = true;
            break;
        case 'p':
            job->producers = crew_number("producers", optarg, 1, CREW_MOST / 2);
            break;
        case 'c':
            job->consumers = crew_number("consumers", optarg, 1, CREW_MOST / 2);
            break;
        case 'i':
            job->items = crew_number("items", optarg, 1, 1000000);
            break;
        case 's':
            job->slots = crew_number("slots", optarg, 1, 65536);
            break;
        default:
            print_usage(c == 'h' ? stdout : stderr);
            exit(c == 'h' ? 0 : 2);
        }
    }
    if (optind != argc) {
        print_usage(stderr);
        exit(2);
    }
    if (!chosen[0] && !chosen[1] && !chosen[2]) {
        chosen[0] = chosen[1] = chosen[2] = true;
    }
}

/** From the first member's first step to the last one's last. */
static double seconds(const results_t *r, unsigned members) {
    int64_t began = r->began[0], ended = r->ended[0];
    for (unsigned i = 1; i < members; i++) {
        began = r->began[i] < began ? r->began[i] : began;
        ended = r->ended[i] > ended ? r->ended[i] : ended;
    }
    return (double)(ended - began) / 1e9;
}

/** Prints what came of it. 0 when all is well. */
static int report(const job_t *job) {
    const results_t *r = job->results;
    unsigned wrong = count_wrong(job);
    double took = seconds(r, job->producers + job->consumers);
    printf("%-10s %12.0f items/s   every item exactly once: %-3s   in order for each producer: %s\n", job->way->name,
           (double)job->producers * job->items / took, wrong == 0 && r->broken == 0 ? "yes" : "NO",
           r->late == 0 ? "yes" : "NO");
    if (wrong + r->broken + r->late > 0) {
        printf("    %u items did not come exactly once, %u were broken, %u came late\n", wrong, r->broken, r->late);
    }
    return wrong + r->broken + r->late == 0 ? 0 : -1;
}

/** Lets the items go one way, and reports. */
static int run(job_t *job, const way_t *way) {
    size_t ring = ring_size(job), results = sizeof(results_t) + (size_t)job->producers * job->items;
    job->way = way;
    job->ring = crew_memory(ring);
    job->results = crew_memory(results);
    ring_init(job->ring, job);
    crew_t crew = {.work = producer_or_consumer, .job = job, .members = job->producers + job->consumers};
    int r = crew_run(&crew) < 0 ? -1 : report(job);
    munmap(job->results, results);
    munmap(job->ring, ring);
    return r;
}

int main(int argc, char **argv) {
    job_t job = {.producers = 2, .consumers = 2, .items = 200000, .slots = 64};
    bool chosen[WAYS] = {false};
    read_options(argc, argv, &job, chosen);
    printf("%u producers, %u consumers, %u items of %zu bytes from each producer, %u places between them\n\n",
           job.producers, job.consumers, job.items, sizeof(item_t), job.slots);
    int status = 0;
    for (unsigned i = 0; i < WAYS && status == 0; i++) {
        status = chosen[i] && run(&job, ways[i]) < 0 ? 1 : 0;
    }
    return status;
}
