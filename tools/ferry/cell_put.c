/* SPDX-License-Identifier: MIT
 *
 * cell_put.c - `ferry cell put` and `ferry cell cas`, and `ferry cell rm`, which ends what `put --detach` has left.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cell.h"
#include "json.h"
#include "keeper.h"
#include "keepers.h"
#include "say.h"
#include "transfer.h"
#include "units.h"

static const uint64_t default_size = 4096; /* as the library's */

/* A value to be put. */
typedef struct putting {
    cell_run_t run;
    keeping_t keeping;
    const char *word; /* as it was given; NULL or "-": standard input */
    const char *data;
    size_t len;
    char *read; /* to be freed */
    uint64_t seen;
    uint64_t token; /* NO_TOKEN: without one */
    bool verbose;
} putting_t;

#define NO_TOKEN UINT64_MAX

/* --- the value --------------------------------------------------------------------------------------------------- */

/* Before there is a node: so nobody is kept waiting by a slow input, and Ctrl-C simply ends it. */
static int take_value(putting_t *p) {
    source_t source;

    if (p->word != NULL && strcmp(p->word, "-") != 0) {
        p->data = p->word;
        p->len = strlen(p->word);
        return 0;
    }
    int status = source_open(&source, "-");
    if (status == 0)
        status = source_read_all(&source, FERRY_MAX_CELL_BYTES, &p->read, &p->len);
    p->data = p->read;
    return status;
}

static int tell(void *arg, const uint64_t *figures) {
    const putting_t *p = arg;

    if (p->run.common.json) {
        json_t j = {.out = stdout};
        json_open(&j, NULL, '{');
        json_text(&j, "name", p->run.name);
        json_count(&j, "index", p->run.at);
        json_count(&j, "version", figures[0]);
        json_close(&j, '}');
        printf("\n");
    } else if (p->verbose) {
        printf("%" PRIu64 "\n", figures[0]);
    }
    return STATUS_OK;
}

/* --- put --------------------------------------------------------------------------------------------------------- */

static const char put_text[] =
    "Puts VALUE, or standard input as a whole, into the cell NAME. The cell exists as long as\n"
    "somebody has it open. If nobody has, say how it shall be kept: --hold or --detach.\n"
    "A new cell has room for 4 KiB, or for VALUE if that is larger, or as --size says.\n"
    "In a space that spans machines (nats://...) the server keeps it.";

static const char put_examples[] = "ferry cell put --detach limit 100\n"
                                   "ferry cell put limit 200\n"
                                   "ferry cell put --detach --size 1MiB page < page.html\n"
                                   "ferry cell put --detach --count 5000 --size 64 --at 17 prices 129.50\n"
                                   "ferry cell put limit -- -1    a value that begins with -";

/*
 * First as it is: only a cell that has to be made gets a size that fits the value; where there is one, its size is no
 * mistake.
 */
static int open_to_put(putting_t *p, ferry_t *node) {
    cell_run_t *c = &p->run;
    bool far = space_is_far(&c->common);
    int result = cell_open(c, node, false);

    if (result == -ENOENT && !p->keeping.hold && !p->keeping.detach && !far) {
        say("nobody has the cell \"%s\" open, so the value would be gone at once; say --hold to stay and keep it, or "
            "--detach to leave a keeper",
            c->name);
        return STATUS_NO;
    }
    if (result == -ENOENT) {
        c->size = c->size == 0 && p->len > default_size ? p->len : c->size;
        result = cell_open(c, node, true);
    }
    return cell_opened(c, result);
}

static int prepare(void *arg, ferry_t *node, uint64_t *figures) {
    putting_t *p = arg;
    int result;

    patience_begin(&p->run.patience);
    int status = open_to_put(p, node);
    if (status != 0)
        return status;
    do
        result = p->token == NO_TOKEN
                     ? ferry_cell_put_at(p->run.cell, (uint32_t)p->run.at, p->data, p->len, &figures[0])
                     : ferry_cell_put_fenced(p->run.cell, (uint32_t)p->run.at, p->token, p->data, p->len, &figures[0]);
    while (patience_again(result));
    if (result == -ESTALE) {
        say("the cell \"%s\" was put into with a token newer than %" PRIu64, p->run.name, p->token);
        return STATUS_NO;
    }
    return result < 0 ? cell_failed(&p->run, result) : 0;
}

static int run_put(putting_t *p) {
    int status = take_value(p);

    if (status != 0)
        return status;
    if (space_is_far(&p->run.common))
        p->keeping.detach = false; /* the engine keeps it */
    if (p->keeping.detach && keepers_has(&p->run.common, "cell", p->run.name))
        p->keeping.detach = false; /* one is enough; should it end in this moment, the value goes with it */
    status = keeper_run(&p->keeping);
    free(p->read);
    return status;
}

static option_t option_token(putting_t *p) {
    return (option_t){.name = "token",
                      .value = "N",
                      .kind = OPTION_COUNT,
                      .target = &p->token,
                      .help = "a lock's fencing token: refuse (1) if a larger one was used on this cell"};
}

int cell_put(int argc, char **argv) {
    enum { OWN = 5 };
    putting_t p = {.run = {.patience = {.timeout = FERRY_FOREVER}, .size = CELL_NOT_SAID, .count = CELL_NOT_SAID},
                   .token = NO_TOKEN};
    operands_t operands;
    int status;
    option_t options[OWN + KEEPER_OPTIONS] = {cell_option_at(&p.run), cell_option_size(&p.run),
                                              cell_option_count(&p.run), option_verbose(&p.verbose), option_token(&p)};
    const usage_t usage = {.command = "cell put",
                           .synopsis = "cell put [OPTION...] NAME [VALUE|-]",
                           .text = put_text,
                           .examples = put_examples,
                           .options = options,
                           .n_options = OWN + KEEPER_OPTIONS,
                           .json = true};

    p.keeping = (keeping_t){.common = &p.run.common, .kind = "cell", .prepare = prepare, .tell = tell, .arg = &p};
    keeper_options(&p.keeping, options + OWN);
    p.run.usage = &usage;
    if (!options_parse(&usage, argc, argv, &p.run.common, &operands, &status))
        return status;
    status = cell_check(&p.run, &operands, 2);
    if (status == 0 && p.keeping.hold && p.keeping.detach)
        status = usage_error(&usage, "only one of --hold and --detach can hold");
    if (status == 0 && p.token == 0)
        status = usage_error(&usage, "0 is no token; they begin with 1");
    if (status != 0)
        return status;
    p.keeping.name = p.run.name;
    p.word = operands.n > 1 ? operands.items[1] : NULL;
    return run_put(&p);
}

/* --- cas --------------------------------------------------------------------------------------------------------- */

static const char cas_text[] =
    "Puts VALUE, or for - standard input as a whole, into the cell NAME if its version is still\n"
    "VERSION (0: if none was put yet), and prints the new version. If it is another one by now,\n"
    "nothing is changed, the exit status is 1, and the version that it has is told.";

static const char cas_examples[] =
    "version=$(ferry cell get --version-only count)\n"
    "ferry cell cas count $version $((1 + $(ferry cell get count))) || echo 'somebody was faster'\n"
    "ferry cell cas leader 0 $HOSTNAME    the first one wins";

static int tell_version_now(cell_run_t *c) {
    uint64_t now;
    int result = ferry_cell_version(c->cell, (uint32_t)c->at, &now);

    if (result < 0)
        return cell_failed(c, result);
    if (now == 0)
        say("\"%s\" has no version yet: none was put", c->name);
    else
        say("\"%s\" has version %" PRIu64 " now", c->name, now);
    return STATUS_NO;
}

static int compare_and_put(cell_run_t *c, void *arg) {
    putting_t *p = arg;
    uint64_t figures[KEEPER_FIGURES] = {0};
    int result;

    do
        result = ferry_cell_cas_at(c->cell, (uint32_t)c->at, p->seen, p->data, p->len, &figures[0]);
    while (patience_again(result));
    if (result == -ESTALE)
        return tell_version_now(c);
    return result < 0 ? cell_failed(c, result) : finish_output(tell(p, figures));
}

static int check_cas(putting_t *p, const operands_t *operands) {
    int status = cell_check(&p->run, operands, 3);

    if (status != 0)
        return status;
    if (operands->n < 2)
        return usage_error(p->run.usage, "the version is missing: `ferry cell get --version-only %s` shows it",
                           p->run.name);
    if (!parse_count(operands->items[1], &p->seen))
        return usage_error(p->run.usage, "'%s' is no version: give a whole number", operands->items[1]);
    if (operands->n < 3)
        return usage_error(p->run.usage, "the value is missing; - takes it from standard input");
    p->word = operands->items[2];
    return 0;
}

int cell_cas(int argc, char **argv) {
    putting_t p = {.run = {.patience = {.timeout = FERRY_FOREVER}, .size = CELL_NOT_SAID, .count = CELL_NOT_SAID},
                   .verbose = true};
    operands_t operands;
    int status;
    const option_t options[] = {cell_option_at(&p.run)};
    const usage_t usage = {.command = "cell cas",
                           .synopsis = "cell cas [OPTION...] NAME VERSION VALUE|-",
                           .text = cas_text,
                           .examples = cas_examples,
                           .options = options,
                           .n_options = 1,
                           .json = true};

    p.run.usage = &usage;
    if (!options_parse(&usage, argc, argv, &p.run.common, &operands, &status))
        return status;
    status = check_cas(&p, &operands);
    if (status == 0)
        status = take_value(&p);
    if (status == 0)
        status = cell_do(&p.run, false, compare_and_put, &p);
    free(p.read);
    return status;
}

/* --- rm ---------------------------------------------------------------------------------------------------------- */

static const char rm_text[] =
    "Ends the keepers of the cell NAME that are yours, and waits until they have gone. If others have\n"
    "the cell open it stays: they are named, and the exit status is 1.\n"
    "In a space that spans machines (nats://...) it removes the cell, which the server keeps.";

int cell_rm(int argc, char **argv) {
    cell_run_t c = {.size = CELL_NOT_SAID, .count = CELL_NOT_SAID};
    operands_t operands;
    int status;
    const usage_t usage = {.command = "cell rm",
                           .synopsis = "cell rm [OPTION...] NAME",
                           .text = rm_text,
                           .examples = "ferry cell rm limit"};

    c.usage = &usage;
    if (!options_parse(&usage, argc, argv, &c.common, &operands, &status))
        return status;
    status = cell_check(&c, &operands, 1);
    if (status == 0 && space_is_far(&c.common))
        return cell_far_remove(&c.common, c.name);
    return status != 0 ? status : keepers_end(&c.common, "cell", c.name);
}
