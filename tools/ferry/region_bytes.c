/* SPDX-License-Identifier: MIT
 *
 * region_bytes.c - `ferry region cat` and `ferry region put`: what stands in a region.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>

#include "region.h"
#include "say.h"
#include "stop.h"

/* How long a version that was published already may take to come to us. */
static const int64_t view_patience_ns = INT64_C(10) * 1000 * 1000 * 1000;

typedef struct copying {
    region_run_t run;
    uint64_t length;
    bool shared, published;
    const char *file;
} copying_t;

static option_t option_offset(copying_t *c) {
    return (option_t){.name = "offset",
                      .value = "BYTES",
                      .kind = OPTION_SIZE,
                      .target = &c->run.offset,
                      .help = "begin so many bytes behind the region's first one (default: 0)"};
}

/* --- cat --------------------------------------------------------------------------------------------------------- */

static const char cat_text[] =
    "Writes the bytes of the region NAME to standard output: the root object of a shared region,\n"
    "or the newest version of a published one. A shared region may change while it is read; a\n"
    "version does not.";

static const char cat_examples[] = "ferry region cat model | sha256sum\n"
                                   "ferry region cat --offset 4KiB --length 16 index | xxd\n"
                                   "ferry region cat --published frame > frame.ppm";

static int write_part(const copying_t *c, const char *data, uint64_t bytes) {
    int status = region_check_offset(&c->run, bytes);
    uint64_t rest = bytes - c->run.offset;

    if (status != 0)
        return status;
    return write_output(data + c->run.offset, (size_t)(c->length < rest ? c->length : rest), NULL);
}

static int cat_shared(region_run_t *r, void *arg) {
    return write_part(arg, r->root, r->root_bytes);
}

static int no_version(const copying_t *c, int result) {
    if (stop_signal() != 0)
        return STATUS_FAILED;
    if (result != -EPIPE && result != -EAGAIN && result != -ETIMEDOUT)
        return library_failed(result);
    say("no version of \"%s\" can be had: %s", c->run.name, ferry_last_error());
    return STATUS_NO;
}

static int view_and_write(const copying_t *c, ferry_region_reader_t *reader) {
    ferry_region_view_t *view;
    int64_t left = view_patience_ns;
    int result;

    do
        result = ferry_region_view(reader, left, &view);
    while (patience_again(result));
    if (result < 0)
        return no_version(c, result);
    int status = write_part(c, ferry_view_data(view), ferry_view_size(view));
    (void)ferry_view_release(view);
    return status;
}

static int cat_published(copying_t *c) {
    ferry_region_reader_t *reader = NULL;
    int status = 0;

    signal(SIGPIPE, SIG_IGN); /* a closed output ends the command in good order */
    if (common_open(&c->run.common, "ferry-region", &c->run.node, &status)) {
        int result = ferry_region_reader_open(c->run.node, c->run.name, NULL, &reader);
        status = result < 0 ? no_version(c, result) : view_and_write(c, reader);
        (void)ferry_region_reader_close(reader);
        stop_forget_node();
        ferry_close(c->run.node);
    }
    return stop_or(status);
}

/* Which one is meant. Returns 0 or an exit status, all said. */
static int choose(copying_t *c) {
    region_kinds_t kinds;
    int status = c->shared ? 0 : region_kinds(&c->run, &kinds);

    if (status != 0 || c->shared)
        return status;
    if (kinds.shared && kinds.published && !c->published)
        return usage_error(
            c->run.usage, "there are a shared and a published region \"%s\": say --shared or --published", c->run.name);
    if (c->published && !kinds.published) {
        say("nobody publishes a region \"%s\"", c->run.name);
        return STATUS_NO;
    }
    c->published = kinds.published;
    if (c->published && !kinds.any_version) {
        say("no version of \"%s\" was published yet", c->run.name);
        return STATUS_NO;
    }
    return 0;
}

int region_cat(int argc, char **argv) {
    copying_t c = {.length = UINT64_MAX};
    operands_t operands;
    int status;
    const option_t options[] = {
        option_offset(&c),
        {.name = "length",
         .value = "BYTES",
         .kind = OPTION_SIZE,
         .target = &c.length,
         .help = "at most so many bytes (default: all)"},
        {.name = "shared", .kind = OPTION_FLAG, .target = &c.shared, .help = "the shared region of this name"},
        {.name = "published", .kind = OPTION_FLAG, .target = &c.published, .help = "the published region of this name"},
    };
    const usage_t usage = {.command = "region cat",
                           .synopsis = "region cat [OPTION...] NAME",
                           .text = cat_text,
                           .examples = cat_examples,
                           .options = options,
                           .n_options = sizeof options / sizeof options[0]};

    c.run.usage = &usage;
    if (!options_parse(&usage, argc, argv, &c.run.common, &operands, &status))
        return status;
    status = region_check(&c.run, &operands, 1);
    if (status == 0 && c.shared && c.published)
        status = usage_error(&usage, "only one of --shared and --published can hold");
    if (status == 0)
        status = choose(&c);
    if (status != 0)
        return status;
    return c.published ? cat_published(&c) : region_do(&c.run, true, cat_shared, &c);
}

/* --- put --------------------------------------------------------------------------------------------------------- */

static const char put_text[] =
    "Writes FILE, or standard input, into the root object of the shared region NAME, in place.\n"
    "Others see the bytes while they are being written: who must not see half of it takes a lock\n"
    "that all agree on, or publishes versions. What is behind the last byte stays as it is.";

static const char put_examples[] = "ferry region put model new.bin\n"
                                   "ferry lock model -- ferry region put model new.bin\n"
                                   "printf '\\1' | ferry region put --offset 4KiB index";

static int put_shared(region_run_t *r, void *arg) {
    const copying_t *c = arg;
    source_t source;
    int status = source_open(&source, c->file);

    if (status == 0) {
        status = region_fill(r, &source);
        source_close(&source);
    }
    return status;
}

static int refuse_published(const copying_t *c) {
    region_kinds_t kinds;
    int status = region_kinds(&c->run, &kinds);

    if (status == 0 && kinds.published && !kinds.shared) {
        say("\"%s\" is a published region: nobody but its writer can change it", c->run.name);
        status = STATUS_NO;
    }
    return status;
}

int region_put(int argc, char **argv) {
    copying_t c = {.file = "-"};
    operands_t operands;
    int status;
    const option_t options[] = {option_offset(&c)};
    const usage_t usage = {.command = "region put",
                           .synopsis = "region put [OPTION...] NAME [FILE|-]",
                           .text = put_text,
                           .examples = put_examples,
                           .options = options,
                           .n_options = 1};

    c.run.usage = &usage;
    if (!options_parse(&usage, argc, argv, &c.run.common, &operands, &status))
        return status;
    status = region_check(&c.run, &operands, 2);
    if (status == 0)
        status = refuse_published(&c);
    if (status != 0)
        return status;
    c.file = operands.n > 1 ? operands.items[1] : "-";
    return region_do(&c.run, false, put_shared, &c);
}
