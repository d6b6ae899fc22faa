/* SPDX-License-Identifier: MIT
 *
 * cell.c - `ferry cell`: named, versioned values.
 */
#include "cell.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>

#include "actions.h"
#include "say.h"
#include "stop.h"
#include "units.h"

static const char text[] =
    "A cell holds a value and its version, which grows by one with each put. It exists as long as\n"
    "somebody has it open: a program, one of these commands that waits or holds it, or a keeper.\n"
    "One name may stand for many cells (put --count), told apart by their index (--at).";

static const char examples[] = "ferry cell put --detach limit 100     and leave a keeper, so that it stays\n"
                               "ferry cell get limit\n"
                               "ferry cell watch limit                each value as it comes\n"
                               "ferry cell rm limit                   the keeper ends, and the cell with it";

int command_cell(int argc, char **argv) {
    static const action_t items[] = {
        {"put", cell_put, "put a value"},
        {"get", cell_get, "write the newest value to standard output"},
        {"cas", cell_cas, "put a value if the version is still the one that was seen"},
        {"wait", cell_wait, "wait for a newer value, and write it"},
        {"watch", cell_watch, "write each newer value as it comes"},
        {"ls", cell_ls, "list the cells of the space"},
        {"rm", cell_rm, "end a cell's keepers, or remove it from the server"},
    };
    static const actions_t actions = {
        .command = "cell", .text = text, .examples = examples, .items = items, .n = sizeof items / sizeof items[0]};

    return actions_run(&actions, argc, argv);
}

/* --- options ----------------------------------------------------------------------------------------------------- */

option_t cell_option_at(cell_run_t *c) {
    return (option_t){.name = "at",
                      .value = "INDEX",
                      .kind = OPTION_COUNT,
                      .target = &c->at,
                      .help = "which of several cells under this name, from 0 (default: 0)"};
}

option_t cell_option_size(cell_run_t *c) {
    return (option_t){.name = "size",
                      .value = "MAX",
                      .kind = OPTION_SIZE,
                      .target = &c->size,
                      .help = "largest value, if the cell is to be made (default: 4KiB)"};
}

option_t cell_option_count(cell_run_t *c) {
    return (option_t){.name = "count",
                      .value = "N",
                      .kind = OPTION_COUNT,
                      .target = &c->count,
                      .help = "how many cells under this name, if they are to be made (default: 1)"};
}

int cell_check(cell_run_t *c, const operands_t *operands, size_t most) {
    char largest[UNITS_TEXT];

    if (operands->n == 0)
        return usage_error(c->usage, "the name of the cell is missing");
    if (operands->n > most)
        return usage_error(c->usage, "'%s' is a word too many", operands->items[most]);
    if (c->size == 0 || c->count == 0)
        return usage_error(c->usage, "--size 0 or --count 0 would hold nothing");
    c->size = c->size == CELL_NOT_SAID ? 0 : c->size;
    c->count = c->count == CELL_NOT_SAID ? 0 : c->count;
    if (c->size > FERRY_MAX_CELL_BYTES)
        return usage_error(c->usage, "--size is too large; a value has at most %s",
                           show_bytes((double)FERRY_MAX_CELL_BYTES, largest));
    if (c->count > FERRY_MAX_CELLS)
        return usage_error(c->usage, "--count %" PRIu64 " is too many; %u are allowed", c->count, FERRY_MAX_CELLS);
    if (c->at >= FERRY_MAX_CELLS)
        return usage_error(c->usage, "--at %" PRIu64 " is no index; they end before %u", c->at, FERRY_MAX_CELLS);
    c->name = operands->items[0];
    return 0;
}

/* --- the run ----------------------------------------------------------------------------------------------------- */

static int nobody_has_it(const cell_run_t *c) {
    if (space_is_far(&c->common)) {
        say("there is no cell \"%s\" in this space; `ferry cell put %s VALUE` makes one", c->name, c->name);
        return STATUS_NO;
    }
    say("nobody has the cell \"%s\" open, so it holds nothing; `ferry cell put --detach %s VALUE` makes one that stays",
        c->name, c->name);
    return STATUS_NO;
}

int cell_failed(const cell_run_t *c, int result) {
    if (stop_signal() != 0)
        return STATUS_FAILED; /* stop_or makes the signal of it */
    switch (result) {
    case -ENOENT:
        return nobody_has_it(c);
    case -ENODATA:
        if (c->info.count > 1)
            say("no value was put into the cell \"%s\" at %" PRIu64 " yet", c->name, c->at);
        else
            say("no value was put into the cell \"%s\" yet", c->name);
        return STATUS_NO;
    case -ERANGE:
        say("there is no cell \"%s\" at %" PRIu64 ": the last one is at %" PRIu32, c->name, c->at, c->info.count - 1);
        return STATUS_NO;
    case -EMSGSIZE:
        (void)library_failed(result);
        return STATUS_NO;
    default:
        return library_failed(result);
    }
}

int cell_open(cell_run_t *c, ferry_t *node, bool make) {
    const ferry_cell_options_t options = {
        .size = sizeof options, .max_bytes = c->size, .count = (uint32_t)c->count, .must_exist = !make};
    int result;

    do
        result = ferry_cell_open(node, c->name, &options, &c->cell);
    while (patience_opens_again(&c->patience, result));
    return result;
}

int cell_opened(cell_run_t *c, int result) {
    if (result == -ETIMEDOUT)
        return patience_over(&c->patience, result, NULL);
    c->info.size = sizeof c->info;
    if (result == 0)
        result = ferry_cell_info(c->cell, &c->info);
    return result < 0 ? cell_failed(c, result) : 0;
}

int cell_do(cell_run_t *c, bool make, int (*act)(cell_run_t *c, void *arg), void *arg) {
    int status = 0;

    signal(SIGPIPE, SIG_IGN); /* a closed output ends the command in good order */
    patience_begin(&c->patience);
    if (common_open(&c->common, "ferry-cell", &c->node, &status)) {
        status = cell_opened(c, cell_open(c, c->node, make));
        if (status == 0)
            status = act(c, arg);
        (void)ferry_cell_close(c->cell);
        stop_forget_node();
        ferry_close(c->node);
    }
    return stop_or(status);
}
