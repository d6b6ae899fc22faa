/* SPDX-License-Identifier: MIT
 *
 * event.c - `ferry event`: waits until something has happened, or tells that it has.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "options.h"
#include "patience.h"
#include "say.h"
#include "stop.h"

static const char text[] = "The event NAME is set or not, and can be waited for:\n"
                           "  wait   wait until it is set\n"
                           "  set    set it: whoever waits goes on\n"
                           "  reset  take that back\n"
                           "  get    print \"set\" or \"unset\", with exit status 0 or 1\n"
                           "An event exists as long as somebody has it open. So `set` reaches those who wait at that\n"
                           "moment; to reach those who come later too, `set --hold` stays and keeps it set.";

static const char examples[] =
    "ferry event ready wait && ./work\n"
    "./prepare && ferry event ready set --hold    set until Ctrl-C\n"
    "ferry event --timeout 10s ready wait || echo 'not within ten seconds'\n"
    "ferry event --auto-reset next set          lets one `ferry event --auto-reset next wait` go";

static const char *const actions[] = {"wait", "set", "reset", "get"};
enum { ACTION_WAIT, ACTION_SET, ACTION_RESET, ACTION_GET, ACTIONS };

typedef struct happening {
    const usage_t *usage;
    common_t common;
    patience_t patience;
    const char *name;
    int action;
    bool auto_reset, hold;
    ferry_t *node;
    ferry_event_t *event;
} happening_t;

static int wait_for_it(happening_t *h) {
    int result;

    do
        result = ferry_event_wait(h->event, patience_left(&h->patience));
    while (patience_again(result));
    return result < 0 ? patience_over(&h->patience, result, h->name) : STATUS_OK;
}

/* Nothing is waited for but the end; the library's wait is one that a signal ends for certain. */
static int hold_it(happening_t *h) {
    int result;

    do
        result = ferry_event_wait_after(h->event, ferry_event_count(h->event), patience_left(&h->patience));
    while (result >= 0 || patience_again(result));
    return result == -ETIMEDOUT || result == -EAGAIN ? STATUS_OK : patience_over(&h->patience, result, h->name);
}

static int set_it(happening_t *h) {
    int result = ferry_event_set(h->event);

    if (result < 0)
        return library_failed(result);
    return h->hold ? hold_it(h) : STATUS_OK;
}

static int reset_it(happening_t *h) {
    int result = ferry_event_reset(h->event);

    return result < 0 ? library_failed(result) : STATUS_OK;
}

static int get_it(happening_t *h) {
    int result = ferry_event_is_set(h->event);

    if (result < 0)
        return library_failed(result);
    puts(result ? "set" : "unset");
    return result ? STATUS_OK : STATUS_NO;
}

static int act(happening_t *h) {
    static int (*const how[ACTIONS])(happening_t *) = {wait_for_it, set_it, reset_it, get_it};
    const ferry_sync_options_t options = {.size = sizeof options, .auto_reset = h->auto_reset};
    int result;

    do
        result = ferry_event_open(h->node, h->name, &options, &h->event);
    while (patience_opens_again(&h->patience, result));
    return result < 0 ? patience_over(&h->patience, result, NULL) : how[h->action](h);
}

static int run(happening_t *h) {
    int status = 0;

    patience_begin(&h->patience);
    if (common_open(&h->common, "ferry-event", &h->node, &status)) {
        status = act(h);
        (void)ferry_event_close(h->event);
        stop_forget_node();
        ferry_close(h->node);
    }
    return stop_or(finish_output(status));
}

/* --- the command ------------------------------------------------------------------------------------------------- */

static int find_action(happening_t *h, const char *word) {
    for (h->action = 0; h->action < ACTIONS; h->action++) {
        if (strcmp(actions[h->action], word) == 0)
            return 0;
    }
    return usage_error(h->usage, "'%s' is nothing that can be done with an event: give one of wait, set, reset, get",
                       word);
}

static int check(happening_t *h, const operands_t *operands, bool timeout_given) {
    if (operands->n == 0)
        return usage_error(h->usage, "the name of the event is missing");
    if (operands->n == 1)
        return usage_error(h->usage, "what to do with '%s' is missing: give one of wait, set, reset, get",
                           operands->items[0]);
    if (operands->n > 2)
        return usage_error(h->usage, "a name and what to do are enough, but '%s' was given too", operands->items[2]);
    int status = find_action(h, operands->items[1]);
    if (status != 0)
        return status;
    if (h->hold && h->action != ACTION_SET)
        return usage_error(h->usage, "--hold is for `set`");
    if (timeout_given && h->action != ACTION_WAIT && !h->hold)
        return usage_error(h->usage, "--timeout is for `wait` and for `set --hold`: `%s` does not wait",
                           operands->items[1]);
    h->name = operands->items[0];
    return 0;
}

int command_event(int argc, char **argv) {
    const int64_t not_given = INT64_MIN;
    happening_t h = {.patience = {.timeout = not_given, .refused = STATUS_TIMED_OUT, .lack = "is not set"}};
    operands_t operands;
    int status;
    const option_t options[] = {
        {.name = "auto-reset",
         .kind = OPTION_FLAG,
         .target = &h.auto_reset,
         .help = "each set lets one waiter go; the same for all"},
        {.name = "timeout",
         .value = "DURATION",
         .kind = OPTION_DURATION,
         .target = &h.patience.timeout,
         .help = "wait: at most so long (status 124); set --hold: end after so long"},
        {.name = "hold", .kind = OPTION_FLAG, .target = &h.hold, .help = "set: stay, and keep it set until ended"},
    };
    const usage_t usage = {.command = "event",
                           .synopsis = "event [OPTION...] NAME wait|set|reset|get",
                           .text = text,
                           .examples = examples,
                           .options = options,
                           .n_options = sizeof options / sizeof options[0]};

    h.usage = &usage;
    if (!options_parse(&usage, argc, argv, &h.common, &operands, &status))
        return status;
    h.patience.quiet = h.common.quiet;
    status = check(&h, &operands, h.patience.timeout != not_given);
    return status != 0 ? status : run(&h);
}
