/* SPDX-License-Identifier: MIT
 *
 * region.c - `ferry region`: memory that several processes see at once.
 */
#include "region.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <string.h>

#include "actions.h"
#include "holders.h"
#include "published.h"
#include "say.h"
#include "stop.h"
#include "units.h"

static const char text[] =
    "A shared region is memory that all who have it open see, and write, at once. It exists as\n"
    "long as somebody has it open: a program, one of these commands, or a keeper. What cat, put\n"
    "and create are about is its root object: bytes, or what a program has laid out there.\n"
    "A published region has one writer; others see whole versions of it.";

static const char examples[] = "ferry region create --detach --from model.bin model    and leave a keeper\n"
                               "ferry region cat model | sha256sum\n"
                               "ferry region ls\n"
                               "ferry region rm model";

int command_region(int argc, char **argv) {
    static const action_t items[] = {
        {"create", region_create, "make a shared region, and fill it from a file"},
        {"cat", region_cat, "write a region's bytes to standard output"},
        {"put", region_put, "write bytes into a shared region"},
        {"publish", region_publish, "publish a file as the versions of a region"},
        {"ls", region_ls, "list the regions of the space"},
        {"rm", region_rm, "end a shared region's keepers"},
    };
    static const actions_t actions = {
        .command = "region", .text = text, .examples = examples, .items = items, .n = sizeof items / sizeof items[0]};

    return actions_run(&actions, argc, argv);
}

int region_check(region_run_t *r, const operands_t *operands, size_t most) {
    if (operands->n == 0)
        return usage_error(r->usage, "the name of the region is missing");
    if (operands->n > most)
        return usage_error(r->usage, "'%s' is a word too many", operands->items[most]);
    r->name = operands->items[0];
    return 0;
}

int region_kinds(const region_run_t *r, region_kinds_t *kinds) {
    ferry_look_t *look;
    int status = 0;

    *kinds = (region_kinds_t){0};
    if (!look_at_space(&r->common, &look, &status))
        return status;
    kinds->shared = holders_any(look, "region", r->name);
    for (size_t i = 0; i < ferry_look_ends(look); i++) {
        const ferry_look_end_t *end = ferry_look_end(look, i);
        if (!published_is(end) || !end->is_sender || strcmp(published_name(end), r->name) != 0)
            continue;
        kinds->published = true;
        kinds->any_version |= end->messages > 0;
    }
    ferry_look_close(look);
    return 0;
}

/* --- opening a shared one ---------------------------------------------------------------------------------------- */

int region_open(region_run_t *r, uint64_t bytes, const ferry_region_options_t *options) {
    int result;

    do
        result = ferry_region_open(r->node, r->name, bytes, options, &r->region);
    while (patience_opens_again(&r->patience, result));
    return result;
}

static int no_region(const region_run_t *r) {
    say("nobody has the region \"%s\" open; `ferry region create --detach --size BYTES %s` makes one that stays",
        r->name, r->name);
    return STATUS_NO;
}

/* The root object, as far as it really is in the region. */
static int find_root(region_run_t *r) {
    ferry_region_info_t info = {.size = sizeof info};
    int result = ferry_region_info(r->region, &info);

    if (result < 0)
        return library_failed(result);
    void *root = ferry_region_root(r->region);
    if (root == NULL || info.type_size == 0) {
        say("the region \"%s\" has no root object: only the programs that use it know what is where", r->name);
        return STATUS_NO;
    }
    r->root = ferry_region_span(r->region, ferry_region_ref(r->region, root), info.type_size);
    if (r->root == NULL) {
        say("the region \"%s\" is damaged: its root object reaches beyond its end", r->name);
        return STATUS_FAILED;
    }
    r->root_bytes = info.type_size;
    return 0;
}

int region_opened(region_run_t *r, int result) {
    if (result == 0)
        return find_root(r);
    if (stop_signal() != 0)
        return STATUS_FAILED; /* stop_or makes the signal of it */
    if (result == -ENOENT)
        return no_region(r);
    return result == -ETIMEDOUT ? patience_over(&r->patience, result, NULL) : library_failed(result);
}

int region_do(region_run_t *r, bool read_only, int (*act)(region_run_t *r, void *arg), void *arg) {
    const ferry_region_options_t options = {.size = sizeof options, .read_only = read_only};
    int status = 0;

    signal(SIGPIPE, SIG_IGN); /* a closed output ends the command in good order */
    r->patience = (patience_t){.timeout = FERRY_FOREVER, .quiet = r->common.quiet};
    patience_begin(&r->patience);
    if (common_open(&r->common, "ferry-region", &r->node, &status)) {
        status = region_opened(r, region_open(r, 0, &options));
        if (status == 0)
            status = act(r, arg);
        (void)ferry_region_close(r->region);
        stop_forget_node();
        ferry_close(r->node);
    }
    return stop_or(status);
}

/* --- its bytes --------------------------------------------------------------------------------------------------- */

int region_check_offset(const region_run_t *r, uint64_t bytes) {
    if (r->offset <= bytes)
        return 0;
    say("--offset %" PRIu64 " is behind the end of \"%s\", which has %" PRIu64 " bytes", r->offset, r->name, bytes);
    return STATUS_NO;
}

static int too_long(const region_run_t *r, const source_t *source, uint64_t room) {
    say("%s has %" PRId64 " bytes, more than the %" PRIu64 " that \"%s\" has room for; nothing was written",
        source->name, source->size, room, r->name);
    return STATUS_NO;
}

int region_fill(const region_run_t *r, const source_t *source) {
    int status = region_check_offset(r, r->root_bytes);
    uint64_t room = r->root_bytes - r->offset;
    char more;

    if (status != 0)
        return status;
    if (source->size > 0 && (uint64_t)source->size > room)
        return too_long(r, source, room);
    ssize_t n = source_read(source, r->root + r->offset, (size_t)room);
    if (n < 0)
        return STATUS_FAILED;
    if ((uint64_t)n < room)
        return 0;
    n = source_read(source, &more, 1);
    if (n > 0)
        say("%s is longer than the %" PRIu64 " bytes that \"%s\" has room for; so many were written", source->name,
            room, r->name);
    return n == 0 ? 0 : n < 0 ? STATUS_FAILED : STATUS_NO;
}

int region_size_of(const char *file, uint64_t *size, char **read) {
    source_t source;
    size_t len = 0;
    int status = source_open(&source, file);

    if (status != 0)
        return status;
    if (source.size > 0)
        len = (size_t)source.size;
    else
        status = source_read_all(&source, (size_t)FERRY_MAX_REGION, read, &len);
    if (status == 0 && len == 0) {
        say("%s is empty, and --size does not say how large the region shall be", source.name);
        status = STATUS_NO;
    }
    *size = len;
    source_close(&source);
    return status;
}
