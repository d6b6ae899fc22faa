/* SPDX-License-Identifier: MIT
 *
 * cell_get.c - `ferry cell get`, `ferry cell wait` and `ferry cell watch`: writing values to standard output.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cell.h"
#include "json.h"
#include "say.h"
#include "stop.h"
#include "transfer.h"

enum { PREFIX = 16, BATCH = 256 };

typedef struct showing {
    cell_run_t run;
    bool version_only, nul, only_new;
    bool after_given;
    uint64_t after;
    uint64_t changes; /* to be shown; 0: no limit */
    uint64_t shown;
    char *buffer; /* PREFIX bytes, the value, and one byte more */
    uint64_t *seen;
    int fd;    /* tells of changes */
    bool over; /* nobody reads the output any more */
} showing_t;

/* --- one value --------------------------------------------------------------------------------------------------- */

static char *value_of(const showing_t *s) {
    return s->buffer + PREFIX;
}

static int make_buffer(showing_t *s) {
    s->buffer = malloc(PREFIX + (size_t)s->run.info.max_bytes + 1);
    if (s->buffer != NULL)
        return 0;
    say("no memory for a value of %" PRIu64 " bytes", s->run.info.max_bytes);
    return STATUS_FAILED;
}

/* A line with a JSON object; `value` may be NULL. */
static int show_json(showing_t *s, uint32_t index, uint64_t version, const char *value, size_t len) {
    char *text = NULL;
    size_t size = 0;
    json_t j = {.out = open_memstream(&text, &size)};

    if (j.out == NULL) {
        say("no memory for a line of JSON");
        return STATUS_FAILED;
    }
    json_open(&j, NULL, '{');
    json_text(&j, "name", s->run.name);
    json_count(&j, "index", index);
    json_count(&j, "version", version);
    if (value != NULL) {
        json_count(&j, "length", len);
        json_bytes(&j, value, len);
    }
    json_close(&j, '}');
    fputc('\n', j.out);
    int status = STATUS_FAILED;
    if (fclose(j.out) == 0)
        status = write_output(text, size, &s->over);
    else
        say("no memory for a line of JSON");
    free(text);
    return status;
}

static int show_value(showing_t *s, uint32_t index, uint64_t version, size_t len) {
    if (s->run.common.json)
        return show_json(s, index, version, value_of(s), len);
    return write_output(value_of(s), len, &s->over);
}

static int get(showing_t *s, uint32_t index, size_t *len, uint64_t *version) {
    int result;

    do
        result = ferry_cell_get_at(s->run.cell, index, value_of(s), (size_t)s->run.info.max_bytes, len, version);
    while (patience_again(result));
    return result;
}

static int get_and_show(showing_t *s) {
    uint64_t version;
    size_t len;
    int result = get(s, (uint32_t)s->run.at, &len, &version);

    return result < 0 ? cell_failed(&s->run, result) : show_value(s, (uint32_t)s->run.at, version, len);
}

static int run_showing(showing_t *s, bool make, int (*act)(cell_run_t *c, void *arg)) {
    int status = cell_do(&s->run, make, act, s);

    free(s->buffer);
    free(s->seen);
    return status;
}

/* --- get --------------------------------------------------------------------------------------------------------- */

static const char get_text[] = "Writes the newest value of the cell NAME to standard output, byte for byte.\n"
                               "Exit status 1: nobody has the cell open, or no value was put yet.";

static const char get_examples[] = "ferry cell get limit\n"
                                   "ferry cell get prices --at 17\n"
                                   "ferry cell get --json limit    version, length, and value or base64";

static int show_version(showing_t *s) {
    uint64_t version;
    char line[32];
    int result = ferry_cell_version(s->run.cell, (uint32_t)s->run.at, &version);

    if (result < 0)
        return cell_failed(&s->run, result);
    int len = snprintf(line, sizeof line, "%" PRIu64 "\n", version);
    int status = s->run.common.json ? show_json(s, (uint32_t)s->run.at, version, NULL, 0)
                                    : write_output(line, (size_t)len, &s->over);
    return status == 0 && version == 0 ? STATUS_NO : status;
}

static int act_get(cell_run_t *c, void *arg) {
    showing_t *s = arg;

    (void)c;
    if (s->version_only)
        return show_version(s);
    int status = make_buffer(s);
    return status != 0 ? status : get_and_show(s);
}

int cell_get(int argc, char **argv) {
    showing_t s = {.run = {.patience = {.timeout = FERRY_FOREVER}, .size = CELL_NOT_SAID, .count = CELL_NOT_SAID}};
    operands_t operands;
    int status;
    const option_t options[] = {
        cell_option_at(&s.run),
        {.name = "version-only",
         .kind = OPTION_FLAG,
         .target = &s.version_only,
         .help = "write the version instead (0, and exit status 1: none was put yet)"},
    };
    const usage_t usage = {.command = "cell get",
                           .synopsis = "cell get [OPTION...] NAME",
                           .text = get_text,
                           .examples = get_examples,
                           .options = options,
                           .n_options = sizeof options / sizeof options[0],
                           .json = true};

    s.run.usage = &usage;
    if (!options_parse(&usage, argc, argv, &s.run.common, &operands, &status))
        return status;
    status = cell_check(&s.run, &operands, 1);
    return status != 0 ? status : run_showing(&s, false, act_get);
}

/* --- wait -------------------------------------------------------------------------------------------------------- */

static const char wait_text[] =
    "Waits until the cell NAME has a newer version than V, and writes that value to standard\n"
    "output. The cell is made if nobody has it: so `wait` may come before the first `put`.";

static const char wait_examples[] = "ferry cell wait --timeout 10s limit || echo 'no change within ten seconds'\n"
                                    "ferry cell wait --after 0 limit    the value, as soon as there is one";

static int act_wait(cell_run_t *c, void *arg) {
    showing_t *s = arg;
    int status = make_buffer(s);
    int result = 0;

    if (status != 0)
        return status;
    if (!s->after_given)
        result = ferry_cell_version(c->cell, (uint32_t)c->at, &s->after);
    if (result < 0)
        return cell_failed(c, result);
    do
        result = ferry_cell_wait_at(c->cell, (uint32_t)c->at, s->after, patience_left(&c->patience));
    while (patience_again(result));
    if (result == -EAGAIN || result == -ETIMEDOUT)
        return patience_over(&c->patience, result, c->name);
    return result < 0 ? cell_failed(c, result) : get_and_show(s);
}

static option_t option_timeout(showing_t *s) {
    return (option_t){.name = "timeout",
                      .value = "DURATION",
                      .kind = OPTION_DURATION,
                      .target = &s->run.patience.timeout,
                      .help = "give up after so long, with exit status 124"};
}

static showing_t waiting(void) {
    return (showing_t){
        .run = {.patience = {.timeout = FERRY_FOREVER, .refused = STATUS_TIMED_OUT, .lack = "got no newer value"},
                .size = CELL_NOT_SAID,
                .count = CELL_NOT_SAID},
        .after = UINT64_MAX};
}

int cell_wait(int argc, char **argv) {
    showing_t s = waiting();
    operands_t operands;
    int status;
    const option_t options[] = {
        {.name = "after",
         .value = "V",
         .kind = OPTION_COUNT,
         .target = &s.after,
         .help = "newer than this version (default: than the one it has now)"},
        cell_option_at(&s.run),
        option_timeout(&s),
        cell_option_size(&s.run),
        cell_option_count(&s.run),
    };
    const usage_t usage = {.command = "cell wait",
                           .synopsis = "cell wait [OPTION...] NAME",
                           .text = wait_text,
                           .examples = wait_examples,
                           .options = options,
                           .n_options = sizeof options / sizeof options[0],
                           .json = true};

    s.run.usage = &usage;
    if (!options_parse(&usage, argc, argv, &s.run.common, &operands, &status))
        return status;
    s.run.patience.quiet = s.run.common.quiet;
    s.after_given = s.after != UINT64_MAX;
    status = cell_check(&s.run, &operands, 1);
    return status != 0 ? status : run_showing(&s, true, act_wait);
}

/* --- watch ------------------------------------------------------------------------------------------------------- */

static const char watch_text[] =
    "Writes the value of the cell NAME, and then each newer one as it comes, a line each; with\n"
    "several cells under this name, their index first. Of values that come faster than they can\n"
    "be written only the newest is. Ends when it is interrupted, or nobody reads the output.";

static const char watch_examples[] = "ferry cell watch limit\n"
                                     "ferry cell watch prices | while read -r index price; do ...; done\n"
                                     "ferry cell watch --new --count-of-changes 1 limit";

static int show_change(showing_t *s, uint32_t index) {
    uint64_t version;
    char prefix[PREFIX];
    size_t len;
    int result = get(s, index, &len, &version);

    if (result == -ENODATA)
        return 0;
    if (result < 0)
        return cell_failed(&s->run, result);
    s->seen[index] = version; /* perhaps newer than the one we were told of */
    s->shown++;
    if (s->run.common.json)
        return show_json(s, index, version, value_of(s), len);
    int before = s->run.info.count > 1 ? snprintf(prefix, sizeof prefix, "%" PRIu32 " ", index) : 0;
    memcpy(value_of(s) - before, prefix, (size_t)before);
    value_of(s)[len] = s->nul ? '\0' : '\n';
    return write_output(value_of(s) - before, (size_t)before + len + 1, &s->over);
}

/* Looks at all cells once. Returns 0 or an exit status; `*any` tells whether something was new. */
static int show_changes(showing_t *s, bool *any) {
    uint32_t changed[BATCH];
    int n = ferry_cell_rearm(s->run.cell);
    int status = 0;

    if (n == 0)
        n = ferry_cell_watch(s->run.cell, s->seen, changed, BATCH, FERRY_NOW);
    *any = n > 0;
    if (n < 0 && n != -EAGAIN && n != -ETIMEDOUT && n != -EINTR)
        return cell_failed(&s->run, n);
    for (int i = 0; i < n && status == 0 && !s->over && (s->changes == 0 || s->shown < s->changes); i++)
        status = show_change(s, changed[i]);
    return status;
}

/* Until something was put, or nobody reads the output any more: its descriptor is watched for errors only. */
static int wait_for_change(showing_t *s) {
    ferry_pollitem_t items[2] = {{.fd = s->fd, .events = FERRY_POLL_IN}, {.fd = STDOUT_FILENO}};
    int result = ferry_poll(items, 2, patience_left(&s->run.patience));
    s->over = result > 0 && (items[1].revents & (FERRY_POLL_ERR | FERRY_POLL_END)) != 0;
    if (result > 0 || patience_again(result))
        return 0;
    if (result == 0)
        result = -ETIMEDOUT;
    return result == -ETIMEDOUT ? patience_over(&s->run.patience, result, s->run.name) : cell_failed(&s->run, result);
}

/* What is there already shall not be shown. */
static int skip_old(showing_t *s) {
    for (uint32_t i = 0; i < s->run.info.count; i++) {
        int result = ferry_cell_version(s->run.cell, i, &s->seen[i]);
        if (result < 0)
            return cell_failed(&s->run, result);
    }
    return 0;
}

static int act_watch(cell_run_t *c, void *arg) {
    showing_t *s = arg;
    int status = make_buffer(s);
    bool any;

    if (status != 0)
        return status;
    s->seen = calloc(c->info.count, sizeof *s->seen);
    if (s->seen == NULL) {
        say("no memory for the versions of %" PRIu32 " cells", c->info.count);
        return STATUS_FAILED;
    }
    s->fd = ferry_cell_fd(c->cell);
    if (s->fd < 0)
        return cell_failed(c, s->fd);
    if (s->only_new)
        status = skip_old(s);
    while (status == 0 && !s->over && (s->changes == 0 || s->shown < s->changes)) {
        if (stop_signal() != 0)
            return STATUS_FAILED;
        status = show_changes(s, &any);
        if (status == 0 && !any)
            status = wait_for_change(s);
    }
    return status;
}

int cell_watch(int argc, char **argv) {
    const uint64_t no_limit = UINT64_MAX;
    showing_t s = waiting();
    operands_t operands;
    int status;
    const option_t options[] = {
        {.name = "count-of-changes",
         .value = "N",
         .kind = OPTION_COUNT,
         .target = &s.changes,
         .help = "end after so many values"},
        {.name = "new",
         .kind = OPTION_FLAG,
         .target = &s.only_new,
         .help = "do not begin with the values that are there already"},
        {.letter = '0',
         .name = "null",
         .kind = OPTION_FLAG,
         .target = &s.nul,
         .help = "end each value with a NUL byte, not a newline"},
        option_timeout(&s),
        cell_option_size(&s.run),
        cell_option_count(&s.run),
    };
    const usage_t usage = {.command = "cell watch",
                           .synopsis = "cell watch [OPTION...] NAME",
                           .text = watch_text,
                           .examples = watch_examples,
                           .options = options,
                           .n_options = sizeof options / sizeof options[0],
                           .json = true};

    s.run.usage = &usage;
    s.changes = no_limit;
    if (!options_parse(&usage, argc, argv, &s.run.common, &operands, &status))
        return status;
    if (s.changes == 0)
        return usage_error(&usage, "--count-of-changes 0 would show nothing");
    s.changes = s.changes == no_limit ? 0 : s.changes;
    s.run.patience.quiet = s.run.common.quiet;
    status = cell_check(&s.run, &operands, 1);
    return status != 0 ? status : run_showing(&s, true, act_watch);
}
