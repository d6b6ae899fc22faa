/* SPDX-License-Identifier: MIT
 *
 * wordcount.c - counts the words of a text with a pipeline of producers, workers, a collector and a reader; see
 * wordcount.h.
 *
 * The result is what coreutils say of the same text:
 *     export LC_ALL=C; tr -cs A-Za-z '\n' <TEXT | tr A-Z a-z | sort | uniq -c
 */
#include "wordcount.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PARTS_MOST 64u

/** What differs between the ways. */
static const struct {
    const char *name;
    part_run_t *producer, *worker, *collector;
} ways[WAYS] = {
    [BY_QUEUE] = {"queue", producer, worker, collector},
    [BY_REGION] = {"region", producer_by_region, worker_by_region, collector_by_region},
    [BY_CALLS] = {"calls", producer_by_calls, worker_by_calls, collector_by_calls},
};

ferry_contract_t lines_contract(const job_t *job) {
    return (ferry_contract_t){.type_name = "text/line", .max_size = LINE_LIMIT, .timestamps = 1, .quota = job->quota};
}

ferry_contract_t counts_contract(const job_t *job) {
    return (ferry_contract_t){.type_name = "wordcount.table", .max_size = TABLE_SIZE, .quota = job->quota};
}

int failed_since(const char *who, unsigned number, const char *what, const char *why) {
    if (!interrupt_came()) { /* who interrupts knows why everything stops */
        fprintf(stderr, "wordcount: %s %u: %s: %s\n", who, number, what, why);
    }
    return -1;
}

int failed(const char *who, unsigned number, const char *what) {
    return failed_since(who, number, what, ferry_last_error());
}

static void print_usage(FILE *out) {
    fputs("Usage: wordcount [OPTION]... FILE\n"
          "Counts the words of FILE with several producers and workers that exchange messages, share memory or call "
          "each other.\n"
          "\n"
          "  --with threads|processes  what the parts are (threads)\n"
          "  --by queue|region|calls   how lines and counts get from one to the other (queue)\n"
          "  --run PART,PART...        run only these of producers, workers, collector and reader here (all); the "
          "others\n"
          "                            run elsewhere, with the same options\n"
          "  --space NAME              where they meet; between machines nats://HOST/NAME (wordcount)\n"
          "  --producers N             parts that read FILE, 1 to 64 (2)\n"
          "  --workers N               parts that count, 1 to 64 (2)\n"
          "  --quota SIZE              memory of each sender for unreleased messages, 256KiB to 1024MiB (1MiB); in a\n"
          "                            region, of the buffer of lines for each producer; for calls, of arguments\n"
          "  --figures PATH            write figures of the run to PATH, as JSON\n"
          "  --help                    print this\n",
          out);
}

/** Reads a number from `least` to `most`, or ends the program with status 2. */
static unsigned number_from(const char *option, const char *text, unsigned least, unsigned most) {
    char *end;
    unsigned long n = strtoul(text, &end, 10);
    if (*text < '0' || *text > '9' || *end != '\0' || n < least || n > most) {
        fprintf(stderr, "wordcount: --%s is \"%s\", but must be a number from %u to %u\n", option, text, least, most);
        exit(2);
    }
    return (unsigned)n;
}

/** Reads a size such as 256KiB, 1MiB or 300000, or ends the program with status 2. */
static uint64_t quota_from(const char *text) {
    static const struct {
        const char *name;
        uint64_t bytes;
    } units[] = {{"", 1}, {"KiB", 1 << 10}, {"MiB", 1 << 20}};
    char *unit;
    uint64_t n = strtoul(text, &unit, 10);
    for (size_t i = 0; i < 3 && *text >= '0' && *text <= '9' && n <= 1 << 30; i++) {
        uint64_t bytes = n * units[i].bytes;
        if (strcmp(unit, units[i].name) == 0 && bytes >= 1 << 18 && bytes <= 1 << 30) {
            return bytes;
        }
    }
    fprintf(stderr, "wordcount: --quota is \"%s\", but must be a size from 256KiB to 1024MiB\n", text);
    exit(2);
}

static start_t *starter_named(const char *name) {
    if (strcmp(name, "threads") == 0) {
        return start_threads;
    }
    if (strcmp(name, "processes") == 0) {
        return start_processes;
    }
    fprintf(stderr, "wordcount: --with is \"%s\", but must be threads or processes\n", name);
    exit(2);
}

static unsigned way_named(const char *name) {
    for (unsigned way = 0; way < WAYS; way++) {
        if (strcmp(name, ways[way].name) == 0) {
            return way;
        }
    }
    fprintf(stderr, "wordcount: --by is \"%s\", but must be queue, region or calls\n", name);
    exit(2);
}

/** Parts that --run can name. */
enum { RUN_PRODUCERS, RUN_WORKERS, RUN_COLLECTOR, RUN_READER, RUN_KINDS };

/** Which of them the text names, or ends the program with status 2. `text` is cut to pieces. */
static void runs_from(char *text, bool runs[RUN_KINDS]) {
    static char *const names[] = {"producers", "workers", "collector", "reader", NULL};
    memset(runs, 0, RUN_KINDS * sizeof(*runs));
    do {
        char *value, *piece = text;
        int kind = getsubopt(&text, names, &value);
        if (kind < 0 || value != NULL) {
            fprintf(stderr, "wordcount: --run has \"%s\", but must list producers, workers, collector and reader\n",
                    piece);
            exit(2);
        }
        runs[kind] = true;
    } while (*text != '\0');
}

static start_t *read_options(int argc, char **argv, job_t *job, bool runs[RUN_KINDS]) {
    static const struct option options[] = {
        {"with", required_argument, NULL, 'w'},
        {"by", required_argument, NULL, 'b'},
        {"run", required_argument, NULL, 'r'},
        {"space", required_argument, NULL, 's'},
        {"producers", required_argument, NULL, 'p'},
        {"workers", required_argument, NULL, 'n'},
        {"quota", required_argument, NULL, 'q'},
        {"figures", required_argument, NULL, 'f'},
        {"help", no_argument, NULL, 'h'},
        {0},
    };
    start_t *start = start_threads;
    int c;
    while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (c) {
        case 'w':
            start = starter_named(optarg);
            break;
        case 'b':
            job->by = way_named(optarg);
            break;
        case 'r':
            runs_from(optarg, runs);
            break;
        case 's':
            job->space = optarg;
            break;
        case 'p':
            job->producers = number_from("producers", optarg, 1, PARTS_MOST);
            break;
        case 'n':
            job->workers = number_from("workers", optarg, 1, PARTS_MOST);
            break;
        case 'q':
            job->quota = quota_from(optarg);
            break;
        case 'f':
            job->figures = optarg;
            break;
        case 'h':
            print_usage(stdout);
            exit(0);
        default:
            print_usage(stderr);
            exit(2);
        }
    }
    if (optind + 1 != argc) {
        print_usage(stderr);
        exit(2);
    }
    job->input = argv[optind];
    return start;
}

/** Lists the parts that run here. Returns how many. */
static size_t list_parts(job_t *job, const bool runs[RUN_KINDS], part_t *parts) {
    size_t n = 0;
    for (unsigned i = 0; runs[RUN_PRODUCERS] && i < job->producers; i++) {
        parts[n++] = (part_t){ways[job->by].producer, "producer", i};
    }
    for (unsigned i = 0; runs[RUN_WORKERS] && i < job->workers; i++) {
        parts[n++] = (part_t){ways[job->by].worker, "worker", i};
    }
    if (runs[RUN_COLLECTOR]) {
        parts[n++] = (part_t){ways[job->by].collector, "collector", 0};
    }
    if (runs[RUN_READER]) {
        parts[n++] = (part_t){reader, "reader", 0};
    }
    job->elsewhere = n < (size_t)job->producers + job->workers + 2;
    return n;
}

int main(int argc, char **argv) {
    job_t job = {.space = "wordcount", .quota = 1 << 20, .producers = 2, .workers = 2};
    bool runs[RUN_KINDS] = {true, true, true, true};
    start_t *start = read_options(argc, argv, &job, runs);
    part_t parts[2 * PARTS_MOST + 2];
    size_t n = list_parts(&job, runs, parts);
    return start(&job, parts, n) == 0 ? 0 : 1;
}
