/* SPDX-License-Identifier: MIT
 *
 * report.c - see report.h.
 */
#include "report.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

uint64_t report_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* Values below 32 have a bucket each; above, every power of two is divided into 32 equal buckets. */
static unsigned bucket_of(uint64_t ns) {
    if (ns < 32) {
        return (unsigned)ns;
    }
    unsigned power = 63u - (unsigned)__builtin_clzll(ns);
    unsigned bucket = (power - 4) * 32 + (unsigned)(ns >> (power - 5) & 31);
    return bucket < LATENCY_BUCKETS ? bucket : LATENCY_BUCKETS - 1;
}

static uint64_t lowest_of(unsigned bucket) {
    if (bucket < 32) {
        return bucket;
    }
    unsigned power = bucket / 32 + 4;
    return (uint64_t)(32 + bucket % 32) << (power - 5);
}

void report_latency(report_t *r, uint64_t ns) {
    r->latency[bucket_of(ns)]++;
}

int report_sender(report_t *r, ferry_sender_t *tx) {
    ferry_sender_stats_t s = {0};
    int err = ferry_sender_stats(tx, &s);
    if (err == 0) {
        r->copies_made += s.copies_made;
        r->copied_bytes += s.copied_bytes;
        r->copies_avoided += s.copies_avoided;
        r->avoided_bytes += s.avoided_bytes;
    }
    return err;
}

int report_receiver(report_t *r, ferry_receiver_t *rx) {
    ferry_receiver_stats_t s = {0};
    int err = ferry_receiver_stats(rx, &s);
    if (err == 0) {
        r->copies_made += s.copies_made;
        r->copied_bytes += s.copied_bytes;
        r->copies_avoided += s.copies_avoided;
        r->avoided_bytes += s.avoided_bytes;
    }
    return err;
}

ferry_contract_t reports_contract(void) {
    /* A fixed size makes the library refuse a sender that was built with another layout. */
    return (ferry_contract_t){.type_name = "wordcount.report", .type_size = sizeof(report_t), .quota = 1 << 20};
}

void report_add(report_t *to, const report_t *from) {
    to->lines_sent += from->lines_sent;
    to->bytes_sent += from->bytes_sent;
    to->lines_received += from->lines_received;
    to->bytes_received += from->bytes_received;
    to->tables_sent += from->tables_sent;
    to->tables_received += from->tables_received;
    to->table_bytes += from->table_bytes;
    to->same_node += from->same_node;
    to->other_node += from->other_node;
    to->copies_made += from->copies_made;
    to->copied_bytes += from->copied_bytes;
    to->copies_avoided += from->copies_avoided;
    to->avoided_bytes += from->avoided_bytes;
    for (unsigned i = 0; i < LATENCY_BUCKETS; i++) {
        to->latency[i] += from->latency[i];
    }
}

/** The latency that the part `share` of all lines did not exceed by more than one bucket. */
static uint64_t percentile(const report_t *r, double share) {
    uint64_t all = 0;
    for (unsigned i = 0; i < LATENCY_BUCKETS; i++) {
        all += r->latency[i];
    }
    uint64_t seen = 0;
    for (unsigned i = 0; i < LATENCY_BUCKETS; i++) {
        seen += r->latency[i];
        if ((double)seen >= share * (double)all) {
            return lowest_of(i);
        }
    }
    return lowest_of(LATENCY_BUCKETS - 1);
}

static void print_count(FILE *out, const char *key, uint64_t value) {
    fprintf(out, "  \"%s\": %" PRIu64 ",\n", key, value);
}

/** Lines that came from the receiver's own node took the thread route, others that of shared memory. */
static const char *route_of(const report_t *r, const job_t *job) {
    if (job->by == BY_REGION) {
        return "region";
    }
    if (job->elsewhere && r->same_node == 0 && strncmp(job->space, "nats", 4) == 0) {
        return "nats"; /* as far as the collector can tell: those elsewhere may be on this machine */
    }
    return r->other_node == 0 ? "thread" : r->same_node == 0 ? "shm" : "both";
}

static void print_figures(FILE *out, const report_t *r, const job_t *job, double seconds) {
    fprintf(out, "{\n  \"route\": \"%s\",\n", route_of(r, job));
    print_count(out, "producers", job->producers);
    print_count(out, "workers", job->workers);
    print_count(out, "quota_bytes", job->quota * job->producers);
    print_count(out, "messages", r->lines_received + r->tables_received);
    print_count(out, "lines", r->lines_received);
    print_count(out, "line_bytes", r->bytes_received);
    print_count(out, "tables", r->tables_received);
    print_count(out, "table_bytes", r->table_bytes);
    print_count(out, "copies_made", r->copies_made);
    print_count(out, "copied_bytes", r->copied_bytes);
    print_count(out, "copies_avoided", r->copies_avoided);
    print_count(out, "avoided_bytes", r->avoided_bytes);
    print_count(out, "p50_ns", percentile(r, 0.50));
    print_count(out, "p99_ns", percentile(r, 0.99));
    fprintf(out, "  \"seconds\": %.6f\n}\n", seconds);
}

int report_figures(const report_t *r, const job_t *job, double seconds) {
    if (job->figures == NULL) {
        return 0;
    }
    FILE *out = fopen(job->figures, "w");
    if (out != NULL) {
        print_figures(out, r, job, seconds);
    }
    if (out == NULL || fclose(out) != 0) {
        return failed_since("collector", 0, job->figures, strerror(errno));
    }
    return 0;
}

int report_check(const report_t *r) {
    if (r->lines_sent != r->lines_received || r->bytes_sent != r->bytes_received ||
        r->tables_sent != r->tables_received) {
        fprintf(stderr,
                "wordcount: collector: sent were %" PRIu64 " lines, %" PRIu64 " bytes and %" PRIu64
                " tables, but received %" PRIu64 ", %" PRIu64 " and %" PRIu64 "\n",
                r->lines_sent, r->bytes_sent, r->tables_sent, r->lines_received, r->bytes_received, r->tables_received);
        return -1;
    }
    return 0;
}
