/* SPDX-License-Identifier: MIT
 *
 * region_publish.c - `ferry region publish`: a file as the versions of a published region.
 */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "json.h"
#include "region.h"
#include "say.h"
#include "stop.h"
#include "units.h"

static const char text[] =
    "Publishes the bytes of FILE, or of standard input, as a version of the region NAME, and stays\n"
    "until it is interrupted: a published region ends with its writer. On SIGUSR1 it reads FILE\n"
    "again and publishes the next version, for which only what differs is copied.";

static const char examples[] = "ferry region publish --size 1MiB prices prices.bin &\n"
                               "./make-prices > prices.bin && kill -USR1 $!\n"
                               "ferry region cat prices | sha256sum";

enum { CHUNK = 64 * 1024 };

typedef struct publishing {
    region_run_t run;
    const char *file;
    const char *type;
    uint64_t size; /* of a version; 0: as long as FILE */
    uint64_t quota;
    bool verbose;
    char *read; /* standard input, when only reading it tells its length */
    ferry_region_writer_t *writer;
} publishing_t;

/* --- one version ------------------------------------------------------------------------------------------------- */

/* Brings one piece up to date. */
static int take_piece(publishing_t *p, char *at, const char *fresh, size_t len) {
    if (memcmp(at, fresh, len) == 0)
        return 0;
    memcpy(at, fresh, len);
    int result = ferry_region_touch(p->writer, at, len);
    return result < 0 ? library_failed(result) : 0;
}

static int too_long(const publishing_t *p, const source_t *source) {
    say("%s is longer than the %" PRIu64 " bytes of \"%s\"; it is not published", source->name, p->size, p->run.name);
    return STATUS_NO;
}

/* What is behind the end of the file becomes zero. */
static int take_stream(publishing_t *p, const source_t *source) {
    char *data = ferry_region_writer_data(p->writer);
    char piece[CHUNK];
    int status = 0;

    if (source->size > 0 && (uint64_t)source->size > p->size)
        return too_long(p, source);
    for (uint64_t at = 0; at < p->size && status == 0; at += CHUNK) {
        size_t want = p->size - at < CHUNK ? (size_t)(p->size - at) : CHUNK;
        ssize_t n = source_read(source, piece, want);
        if (n < 0)
            return STATUS_FAILED;
        memset(piece + n, 0, want - (size_t)n);
        status = take_piece(p, data + at, piece, want);
    }
    ssize_t more = status == 0 ? source_read(source, piece, 1) : 0;
    if (more != 0)
        return more < 0 ? STATUS_FAILED : too_long(p, source);
    return status;
}

static int take_file(publishing_t *p) {
    source_t source;

    if (p->read != NULL)
        return take_piece(p, ferry_region_writer_data(p->writer), p->read, (size_t)p->size);
    int status = source_open(&source, p->file);
    if (status == 0) {
        status = take_stream(p, &source);
        source_close(&source);
    }
    return status;
}

static void tell(const publishing_t *p, uint64_t version) {
    ferry_region_writer_stats_t stats = {.size = sizeof stats};

    (void)ferry_region_writer_stats(p->writer, &stats);
    if (p->run.common.json) {
        json_t j = {.out = stdout};
        json_open(&j, NULL, '{');
        json_text(&j, "name", p->run.name);
        json_count(&j, "version", version);
        json_count(&j, "bytes", p->size);
        json_count(&j, "copied", stats.last_copied);
        json_count(&j, "readers", stats.readers);
        json_close(&j, '}');
        printf("\n");
    } else if (p->verbose) {
        printf("%" PRIu64 "\n", version);
    }
}

static int publish(publishing_t *p) {
    uint64_t version = 0;
    int status = take_file(p);
    int result;

    if (status != 0)
        return status;
    do
        result = ferry_region_publish(p->writer, FERRY_FOREVER, &version);
    while (patience_again(result));
    if (result < 0)
        return stop_signal() != 0 ? STATUS_FAILED : library_failed(result);
    tell(p, version);
    return finish_output(0);
}

/* --- the run ----------------------------------------------------------------------------------------------------- */

/* A file that cannot be published later on, because it is just being written, leaves the version before. */
static void publish_again(publishing_t *p) {
    if (strcmp(p->file, "-") == 0)
        say("standard input cannot be read again; \"%s\" stays as it was", p->run.name);
    else if (publish(p) != 0 && stop_signal() == 0)
        say("\"%s\" stays as it was", p->run.name);
}

static int serve(publishing_t *p) {
    int status = publish(p);

    if (status == 0 && !p->run.common.quiet)
        say("\"%s\" is published until this is interrupted", p->run.name);
    while (status == 0 && stop_wait_or_again())
        publish_again(p);
    return status;
}

static int run(publishing_t *p) {
    const ferry_region_writer_options_t options = {.size = sizeof options, .type_name = p->type, .quota = p->quota};
    int status = 0;

    signal(SIGPIPE, SIG_IGN);
    if (common_open(&p->run.common, "ferry-region", &p->run.node, &status)) {
        int result;
        stop_note_again();
        do
            result = ferry_region_writer_open(p->run.node, p->run.name, p->size, &options, &p->writer);
        while (patience_again(result));
        status = result == 0 ? serve(p) : stop_signal() != 0 ? STATUS_FAILED : library_failed(result);
        (void)ferry_region_writer_close(p->writer);
        stop_forget_node();
        ferry_close(p->run.node);
    }
    free(p->read);
    return stop_or(status);
}

int region_publish(int argc, char **argv) {
    const uint64_t not_given = UINT64_MAX;
    publishing_t p = {.size = not_given};
    operands_t operands;
    int status;
    const option_t options[] = {
        {.name = "size",
         .value = "SIZE",
         .kind = OPTION_SIZE,
         .target = &p.size,
         .help = "bytes of each version (default: those of FILE)"},
        {.name = "type",
         .value = "NAME",
         .kind = OPTION_TEXT,
         .target = &p.type,
         .help = "of what stands in it, which all readers must share"},
        {.name = "quota",
         .value = "SIZE",
         .kind = OPTION_SIZE,
         .target = &p.quota,
         .help = "memory for versions that readers hold (default: four times the region's size)"},
        option_verbose(&p.verbose),
    };
    const usage_t usage = {.command = "region publish",
                           .synopsis = "region publish [OPTION...] NAME [FILE|-]",
                           .text = text,
                           .examples = examples,
                           .options = options,
                           .n_options = sizeof options / sizeof options[0],
                           .json = true};

    p.run.usage = &usage;
    if (!options_parse(&usage, argc, argv, &p.run.common, &operands, &status))
        return status;
    status = region_check(&p.run, &operands, 2);
    if (status == 0 && p.size == 0)
        status = usage_error(&usage, "--size 0 would hold nothing");
    if (status != 0)
        return status;
    p.file = operands.n > 1 ? operands.items[1] : "-";
    if (p.size == not_given)
        status = region_size_of(p.file, &p.size, &p.read);
    return status != 0 ? status : run(&p);
}
