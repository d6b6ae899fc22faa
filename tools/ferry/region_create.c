/* SPDX-License-Identifier: MIT
 *
 * region_create.c - `ferry region create`, and `ferry region rm`, which ends the keepers that it has left.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "json.h"
#include "keeper.h"
#include "keepers.h"
#include "region.h"
#include "say.h"
#include "units.h"

static const char create_text[] =
    "Makes the shared region NAME, whose root object has SIZE bytes: those of a file, then zeros.\n"
    "Without --size it is as long as the file. The region itself is 64 KiB larger, rounded up to\n"
    "pages: for the allocator's notes. It exists as long as somebody has it open, so say how it\n"
    "shall be kept: --hold or --detach.";

static const char create_examples[] = "ferry region create --detach --size 64MiB --limit 1GiB index\n"
                                      "ferry region create --detach --from model.bin model\n"
                                      "zcat model.gz | ferry region create --hold --from - --prefault model";

static const uint64_t for_notes = 64 * 1024;
static const uint64_t page = 4096;

typedef struct creating {
    region_run_t run;
    keeping_t keeping;
    uint64_t size; /* of the root object; 0: as long as what it is filled from */
    uint64_t limit;
    const char *from;
    const char *type;
    bool huge_pages, prefault, verbose;
    char *read; /* standard input, when only reading it tells its length */
} creating_t;

/* The figures that tell what was made. */
enum { MADE_BYTES, MADE_LIMIT, MADE_HUGE };

static uint64_t region_bytes(const creating_t *c) {
    return (c->size + for_notes + page - 1) / page * page;
}

/* --- making it --------------------------------------------------------------------------------------------------- */

static int refuse_existing(const creating_t *c) {
    say("the region \"%s\" is there already; `ferry region put %s` writes into it", c->run.name, c->run.name);
    return STATUS_NO;
}

static int make(creating_t *c) {
    const ferry_region_options_t any = {.size = sizeof any, .read_only = 1};
    const ferry_region_options_t options = {.size = sizeof options,
                                            .limit = c->limit,
                                            .type_name = c->type,
                                            .type_size = c->size,
                                            .prefault = c->prefault,
                                            .huge_pages = c->huge_pages};
    int result = region_open(&c->run, 0, &any);

    if (result == 0) {
        (void)ferry_region_close(c->run.region);
        return refuse_existing(c);
    }
    if (result == -ENOENT)
        result = region_open(&c->run, region_bytes(c), &options);
    return region_opened(&c->run, result);
}

static int fill(creating_t *c) {
    source_t source;

    if (c->read != NULL)
        memcpy(c->run.root, c->read, (size_t)c->size);
    if (c->read != NULL || c->from == NULL)
        return 0;
    int status = source_open(&source, c->from);
    if (status == 0) {
        status = region_fill(&c->run, &source);
        source_close(&source);
    }
    return status;
}

static int prepare(void *arg, ferry_t *node, uint64_t *figures) {
    creating_t *c = arg;
    ferry_region_info_t info = {.size = sizeof info};

    c->run.node = node;
    patience_begin(&c->run.patience);
    int status = make(c);
    if (status == 0)
        status = fill(c);
    if (status != 0)
        return status;
    int result = ferry_region_info(c->run.region, &info);
    if (result < 0)
        return library_failed(result);
    figures[MADE_BYTES] = info.bytes;
    figures[MADE_LIMIT] = info.limit;
    figures[MADE_HUGE] = info.huge_bytes;
    return 0;
}

static int tell(void *arg, const uint64_t *figures) {
    const creating_t *c = arg;
    char root[UNITS_TEXT];
    char bytes[UNITS_TEXT];
    char limit[UNITS_TEXT];
    char huge[UNITS_TEXT];

    if (c->run.common.json) {
        json_t j = {.out = stdout};
        json_open(&j, NULL, '{');
        json_text(&j, "name", c->run.name);
        json_count(&j, "root_bytes", c->size);
        json_count(&j, "bytes", figures[MADE_BYTES]);
        json_count(&j, "limit", figures[MADE_LIMIT]);
        json_count(&j, "huge_bytes", figures[MADE_HUGE]);
        json_close(&j, '}');
        printf("\n");
    } else if (c->verbose) {
        printf("root object %s, region %s, limit %s, %s in huge pages\n", show_bytes((double)c->size, root),
               show_bytes((double)figures[MADE_BYTES], bytes), show_bytes((double)figures[MADE_LIMIT], limit),
               show_bytes((double)figures[MADE_HUGE], huge));
    }
    return STATUS_OK;
}

/* --- its size ---------------------------------------------------------------------------------------------------- */

static int check_size(const creating_t *c) {
    char text[UNITS_TEXT];

    if (c->size > FERRY_MAX_REGION - for_notes - page)
        return usage_error(c->run.usage, "%s is too large: a region has at most %" PRIu64 " bytes",
                           show_bytes((double)c->size, text), FERRY_MAX_REGION);
    if (c->limit != 0 && c->limit < region_bytes(c))
        return usage_error(c->run.usage, "--limit is less than the %" PRIu64 " bytes that the region begins with",
                           region_bytes(c));
    return 0;
}

static int check(creating_t *c, const operands_t *operands, bool size_given) {
    int status = region_check(&c->run, operands, 1);

    if (status != 0)
        return status;
    if (!size_given && c->from == NULL)
        return usage_error(c->run.usage, "--size or --from is missing: how large it shall be");
    if (size_given && c->size == 0)
        return usage_error(c->run.usage, "--size 0 would hold nothing");
    if (c->keeping.hold == c->keeping.detach)
        return usage_error(c->run.usage,
                           "say how \"%s\" shall be kept: --hold stays until interrupted, --detach leaves a "
                           "keeper; nobody else would have it open, and it would be gone at once",
                           c->run.name);
    return 0;
}

static int run_create(creating_t *c, bool size_given) {
    int status = size_given ? 0 : region_size_of(c->from, &c->size, &c->read);

    if (status == 0)
        status = check_size(c);
    if (status == 0)
        status = keeper_run(&c->keeping);
    free(c->read);
    return status;
}

int region_create(int argc, char **argv) {
    enum { OWN = 7 };
    const uint64_t not_given = UINT64_MAX;
    creating_t c = {.run = {.patience = {.timeout = FERRY_FOREVER}}, .size = not_given, .type = "bytes"};
    operands_t operands;
    int status;
    option_t options[OWN + KEEPER_OPTIONS] = {
        {.name = "size", .value = "SIZE", .kind = OPTION_SIZE, .target = &c.size, .help = "bytes of the root object"},
        {.name = "limit",
         .value = "SIZE",
         .kind = OPTION_SIZE,
         .target = &c.limit,
         .help = "bytes up to which the region may grow in all (default: it does not)"},
        {.name = "from",
         .value = "FILE",
         .kind = OPTION_TEXT,
         .target = &c.from,
         .help = "fill it with this file's bytes; - is standard input"},
        {.name = "type",
         .value = "NAME",
         .kind = OPTION_TEXT,
         .target = &c.type,
         .help = "of the root object, which all openers must share (default: bytes)"},
        {.name = "huge-pages", .kind = OPTION_FLAG, .target = &c.huge_pages, .help = "ask for huge pages"},
        {.name = "prefault",
         .kind = OPTION_FLAG,
         .target = &c.prefault,
         .help = "map every page at once, so that no first access takes longer"},
        option_verbose(&c.verbose),
    };
    const usage_t usage = {.command = "region create",
                           .synopsis = "region create --size SIZE|--from FILE --hold|--detach [OPTION...] NAME",
                           .text = create_text,
                           .examples = create_examples,
                           .options = options,
                           .n_options = OWN + KEEPER_OPTIONS,
                           .json = true};

    c.keeping = (keeping_t){.common = &c.run.common, .kind = "region", .prepare = prepare, .tell = tell, .arg = &c};
    keeper_options(&c.keeping, options + OWN);
    c.run.usage = &usage;
    if (!options_parse(&usage, argc, argv, &c.run.common, &operands, &status))
        return status;
    bool size_given = c.size != not_given;
    status = check(&c, &operands, size_given);
    if (status != 0)
        return status;
    c.run.patience.quiet = c.run.common.quiet;
    c.keeping.name = c.run.name;
    return run_create(&c, size_given);
}

/* --- rm ---------------------------------------------------------------------------------------------------------- */

static const char rm_text[] =
    "Ends the keepers of the shared region NAME that are yours, and waits until they have gone.\n"
    "If others have the region open it stays: they are named, and the exit status is 1.";

int region_rm(int argc, char **argv) {
    region_run_t r = {0};
    region_kinds_t kinds;
    operands_t operands;
    int status;
    const usage_t usage = {.command = "region rm",
                           .synopsis = "region rm [OPTION...] NAME",
                           .text = rm_text,
                           .examples = "ferry region rm model"};

    r.usage = &usage;
    if (!options_parse(&usage, argc, argv, &r.common, &operands, &status))
        return status;
    status = region_check(&r, &operands, 1);
    if (status == 0)
        status = region_kinds(&r, &kinds);
    if (status != 0)
        return status;
    if (kinds.published && !kinds.shared) {
        say("\"%s\" is a published region: it ends with its writer, which `ferry region ls` shows", r.name);
        return STATUS_NO;
    }
    return keepers_end(&r.common, "region", r.name);
}
