/* SPDX-License-Identifier: MIT
 *
 * ls.c - `ferry ls`: what is open, where, and how much flows.
 */
#include <inttypes.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "follow.h"
#include "json_look.h"
#include "looks.h"
#include "ls_durable.h"
#include "ls_links.h"
#include "ls_services.h"
#include "options.h"
#include "published.h"
#include "say.h"
#include "table.h"
#include "units.h"

static const char text[] =
    "Lists spaces, the nodes in them, and their ends: senders and receivers of channels, what\n"
    "they have carried, what waits, and how fast it goes; services and their clients; and locks,\n"
    "semaphores, barriers, events, cells and regions. NAME, of any of these, may be a pattern ('cam*').\n"
    "Of a space that spans machines also what is there, the links between its nodes, and their\n"
    "connections to the server.";

static const char examples[] = "ferry ls\n"
                               "ferry ls --space demo lines\n"
                               "ferry ls --json | jq '.spaces[].ends[].depth'\n"
                               "ferry ls --no-rate 'cam*'    one look, no waiting\n"
                               "ferry ls --follow --json | jq -r .event";

static const char *kind_word(const ferry_look_end_t *end) {
    if (end->is_tap)
        return "any";
    return end->kind == FERRY_QUEUE ? "queue" : "topic";
}

static const char *role_word(const ferry_look_end_t *end) {
    return end->is_sender ? "sender" : end->is_tap ? "tap" : "receiver";
}

static const char *published_role(const ferry_look_end_t *end) {
    return end->is_sender ? "writer" : "reader";
}

/* --- for people -------------------------------------------------------------------------------------------------- */

static void user_name(const ferry_look_node_t *node, char *cell) {
    const struct passwd *user = node->host[0] == '\0' ? getpwuid(node->uid) : NULL;

    if (user != NULL)
        snprintf(cell, TABLE_CELL, "%s", user->pw_name);
    else if (node->host[0] != '\0')
        snprintf(cell, TABLE_CELL, "-"); /* users are each machine's own */
    else
        snprintf(cell, TABLE_CELL, "%" PRIu32, node->uid);
}

static const char *node_state(const space_look_t *space, const ferry_look_node_t *node) {
    if (node->starved)
        return node->answered ? TOO_FEW_DESCRIPTORS : "does not answer: " TOO_FEW_DESCRIPTORS;
    if (node->other_version)
        return OTHER_VERSION;
    if (!node->answered)
        return "does not answer";
    return ls_is_connected(space, node) ? "" : "not connected with a server";
}

static int print_nodes(const looks_t *looks, const space_look_t *space) {
    static const char *const heads[] = {"NODE", ">PID", "USER", ">PEERS", ">ROUND TRIP", ""};
    static const char *const near_heads[] = {"NODE", ">PID", "USER", ">PEERS", ""};
    bool far = ferry_look_engines(space->now) > 0;
    table_t table = {.heads = far ? heads : near_heads, .columns = far ? 6 : 5};

    for (size_t i = 0; i < ferry_look_nodes(space->now); i++) {
        const ferry_look_node_t *node = ferry_look_node(space->now, i);
        if (!looks_shows_node(looks, space, node))
            continue;
        table_row_t *row = table_add(&table);
        if (row == NULL)
            return -1;
        snprintf(row->cells[0], TABLE_CELL, "%s", node->name);
        looks_pid_text(node, row->cells[1]);
        user_name(node, row->cells[2]);
        snprintf(row->cells[3], TABLE_CELL, "%" PRIu32, node->peers);
        snprintf(row->cells[4], TABLE_CELL, "%s", far ? "-" : node_state(space, node));
        if (node->round_trip_ns > 0)
            show_duration((double)node->round_trip_ns, row->cells[4]);
        if (far)
            snprintf(row->cells[5], TABLE_CELL, "%s", node_state(space, node));
    }
    table_print(&table, 2);
    table_done(&table);
    return 0;
}

/* The figures of an end: MESSAGES, RATE, DEPTH, MEMORY, LOST, LINKS, AGE from `cells` on. */
static void figures(const space_look_t *space, const ferry_look_end_t *end, char (*cells)[TABLE_CELL]) {
    const ferry_look_node_t *node = looks_node_of(space, end);
    double messages;
    double bytes;

    if (node == NULL || node->answered == 0) {
        for (int i = 0; i < 7; i++)
            snprintf(cells[i], TABLE_CELL, "?");
        return;
    }
    show_count(end->messages, cells[0]);
    if (looks_rate(space, end, &messages, &bytes)) {
        char count[UNITS_TEXT];
        snprintf(cells[1], TABLE_CELL, "%s/s", show_count((uint64_t)messages, count));
    } else {
        snprintf(cells[1], TABLE_CELL, "-");
    }
    show_count(end->depth, cells[2]);
    snprintf(cells[3], TABLE_CELL, "-");
    snprintf(cells[4], TABLE_CELL, "-");
    if (end->is_sender)
        show_bytes((double)end->memory, cells[3]);
    else
        show_count(end->lost, cells[4]);
    show_count(end->links, cells[5]);
    show_duration((double)end->age_ns, cells[6]);
}

static int print_ends(const space_look_t *space) {
    static const char *const heads[] = {"CHANNEL", "KIND",   "END",     "TYPE",  ">PID",   ">MESSAGES",
                                        ">RATE",   ">DEPTH", ">MEMORY", ">LOST", ">LINKS", ">AGE"};
    table_t table = {.heads = heads, .columns = 12};

    for (size_t i = 0; i < space->n_ends; i++) {
        const ferry_look_end_t *end = space->ends[i];
        if (published_is(end))
            continue;
        table_row_t *row = table_add(&table);
        if (row == NULL)
            return -1;
        snprintf(row->cells[0], TABLE_CELL, "%s", end->channel);
        snprintf(row->cells[1], TABLE_CELL, "%s", kind_word(end));
        snprintf(row->cells[2], TABLE_CELL, "%s", role_word(end));
        snprintf(row->cells[3], TABLE_CELL, "%s", end->type_name[0] != '\0' ? end->type_name : "-");
        looks_pid_text(looks_node_of(space, end), row->cells[4]);
        figures(space, end, row->cells + 5);
    }
    table_print_below(&table);
    return 0;
}

/* The figures of a published region's end: VERSION, SIZE, MEMORY, AGE from `cells` on. */
static void published_figures(const space_look_t *space, const ferry_look_end_t *end, char (*cells)[TABLE_CELL]) {
    const ferry_look_node_t *node = looks_node_of(space, end);

    for (int i = 0; i < 4; i++)
        snprintf(cells[i], TABLE_CELL, "%s", node == NULL || node->answered == 0 ? "?" : "-");
    if (node == NULL || node->answered == 0)
        return;
    show_duration((double)end->age_ns, cells[3]);
    if (!end->is_sender)
        return;
    show_count(end->messages, cells[0]);
    show_bytes((double)end->type_size, cells[1]);
    show_bytes((double)end->memory, cells[2]);
}

static int print_published(const space_look_t *space) {
    static const char *const heads[] = {"PUBLISHED", "END", "TYPE", ">PID", ">VERSION", ">SIZE", ">MEMORY", ">AGE"};
    table_t table = {.heads = heads, .columns = 8};

    for (size_t i = 0; i < space->n_ends; i++) {
        const ferry_look_end_t *end = space->ends[i];
        if (!published_is(end))
            continue;
        table_row_t *row = table_add(&table);
        if (row == NULL)
            return -1;
        snprintf(row->cells[0], TABLE_CELL, "%s", published_name(end));
        snprintf(row->cells[1], TABLE_CELL, "%s", published_role(end));
        snprintf(row->cells[2], TABLE_CELL, "%s", end->type_name[0] != '\0' ? end->type_name : "-");
        looks_pid_text(looks_node_of(space, end), row->cells[3]);
        published_figures(space, end, row->cells + 4);
    }
    table_print_below(&table);
    return 0;
}

static int print_objects(const looks_t *looks, const space_look_t *space) {
    static const char *const heads[] = {"OBJECT", "KIND", "TYPE", ">PID", ">COUNT", ">SIZE", ">HANDLES", ">HOLDING"};
    table_t table = {.heads = heads, .columns = 8};

    for (size_t i = 0; i < ferry_look_objects(space->now); i++) {
        const ferry_look_object_t *object = ferry_look_object(space->now, i);
        if (!looks_asks_for(looks, object->name))
            continue;
        table_row_t *row = table_add(&table);
        if (row == NULL)
            return -1;
        snprintf(row->cells[0], TABLE_CELL, "%s", object->name);
        snprintf(row->cells[1], TABLE_CELL, "%s", object->kind);
        snprintf(row->cells[2], TABLE_CELL, "%s", object->type[0] != '\0' ? object->type : "-");
        looks_pid_text(looks_node(space, object->node), row->cells[3]);
        if (object->node == 0)
            snprintf(row->cells[3], TABLE_CELL, "server");
        snprintf(row->cells[4], TABLE_CELL, "%" PRIu32, object->count);
        snprintf(row->cells[5], TABLE_CELL, "-");
        if (object->bytes > 0)
            show_bytes((double)object->bytes, row->cells[5]);
        snprintf(row->cells[6], TABLE_CELL, "%" PRIu32, object->handles);
        snprintf(row->cells[7], TABLE_CELL, "%" PRIu32, object->holding);
    }
    table_print_below(&table);
    return 0;
}

static int print_text(const looks_t *looks) {
    for (size_t i = 0; i < looks->n; i++) {
        const space_look_t *space = &looks->spaces[i];
        printf("%sSpace %s\n\n", i > 0 ? "\n" : "", space->name);
        if (print_nodes(looks, space) < 0 || print_ends(space) < 0 || print_services(looks, space) < 0 ||
            print_objects(looks, space) < 0 || print_published(space) < 0 || print_links(looks, space) < 0 ||
            print_engines(looks, space) < 0) {
            say("no memory for the table");
            return STATUS_FAILED;
        }
    }
    return 0;
}

/* --- for scripts ------------------------------------------------------------------------------------------------- */

static void json_end(json_t *j, const space_look_t *space, const ferry_look_end_t *end) {
    double messages;
    double bytes;

    json_open(j, NULL, '{');
    json_text(j, "channel", end->channel);
    json_text(j, "kind", kind_word(end));
    json_text(j, "role", role_word(end));
    json_id(j, "node", end->node);
    json_count(j, "end", end->end);
    json_text(j, "type", end->type_name);
    json_count(j, "type_size", end->type_size);
    json_count(j, "messages", end->messages);
    json_count(j, "bytes", end->bytes);
    if (looks_rate(space, end, &messages, &bytes)) {
        json_number(j, "messages_per_s", messages);
        json_number(j, "bytes_per_s", bytes);
    }
    json_count(j, "copies_made", end->copies_made);
    json_count(j, "copies_avoided", end->copies_avoided);
    json_count(j, "depth", end->depth);
    json_count(j, "lost", end->lost);
    json_count(j, "memory", end->memory);
    json_count(j, "quota", end->quota);
    json_count(j, "age_ns", end->age_ns);
    json_count(j, "links", end->links);
    json_close(j, '}');
}

static void json_published(json_t *j, const ferry_look_end_t *end) {
    json_open(j, NULL, '{');
    json_text(j, "region", published_name(end));
    json_text(j, "role", published_role(end));
    json_id(j, "node", end->node);
    json_count(j, "end", end->end);
    json_text(j, "type", end->type_name);
    if (end->is_sender) {
        json_count(j, "version", end->messages);
        json_count(j, "bytes", end->type_size);
        json_count(j, "memory", end->memory);
        json_count(j, "quota", end->quota);
    }
    json_count(j, "age_ns", end->age_ns);
    json_close(j, '}');
}

static void json_object(json_t *j, const ferry_look_object_t *object) {
    json_open(j, NULL, '{');
    json_text(j, "name", object->name);
    json_text(j, "kind", object->kind);
    json_id(j, "node", object->node);
    json_count(j, "count", object->count);
    json_text(j, "type", object->type);
    json_count(j, "bytes", object->bytes);
    json_count(j, "handles", object->handles);
    json_count(j, "holding", object->holding);
    json_close(j, '}');
}

static void json_space(json_t *j, const looks_t *looks, const space_look_t *space) {
    json_open(j, NULL, '{');
    json_text(j, "name", space->name);
    json_open(j, "nodes", '[');
    for (size_t k = 0; k < ferry_look_nodes(space->now); k++) {
        if (looks_shows_node(looks, space, ferry_look_node(space->now, k)))
            json_node(j, ferry_look_node(space->now, k));
    }
    json_close(j, ']');
    json_open(j, "ends", '[');
    for (size_t k = 0; k < space->n_ends; k++) {
        if (!published_is(space->ends[k]))
            json_end(j, space, space->ends[k]);
    }
    json_close(j, ']');
    json_services(j, looks, space);
    json_open(j, "objects", '[');
    for (size_t k = 0; k < ferry_look_objects(space->now); k++) {
        if (looks_asks_for(looks, ferry_look_object(space->now, k)->name))
            json_object(j, ferry_look_object(space->now, k));
    }
    json_close(j, ']');
    json_open(j, "published", '[');
    for (size_t k = 0; k < space->n_ends; k++) {
        if (published_is(space->ends[k]))
            json_published(j, space->ends[k]);
    }
    json_close(j, ']');
    json_links(j, looks, space);
    json_engines(j, looks, space);
    json_close(j, '}');
}

static void print_json(const looks_t *looks, const durables_t *durables, const char *base) {
    json_t j = {.out = stdout};

    json_open(&j, NULL, '{');
    json_text(&j, "directory", base);
    json_open(&j, "spaces", '[');
    for (size_t i = 0; i < looks->n; i++)
        json_space(&j, looks, &looks->spaces[i]);
    json_close(&j, ']');
    json_durables(&j, durables);
    json_close(&j, '}');
    printf("\n");
}

/* --- the command ------------------------------------------------------------------------------------------------- */

static void say_nothing_found(const looks_t *looks, const char *space, const char *base) {
    const char *where = space != NULL ? " in space " : "";
    const char *name = space != NULL ? space : "";

    if (looks->nobody[0] != '\0' && !looks->all)
        say("%s", looks->nobody);
    else if (looks->channel != NULL)
        say("nothing called '%s' is open%s%s (base directory %s)", looks->channel, where, name, base);
    else
        say("nothing is open%s%s (base directory %s)", where, name, base);
}

static int run(looks_t *looks, const char *space) {
    const common_t *common = looks->common;
    ferry_options_t options = common_options(common, NULL);
    char base[4096];
    int result = ferry_base_directory(&options, base, sizeof base);

    if (result < 0)
        return library_failed(result);
    int status = looks_take(looks, space);
    durables_t durables = {.looks = looks};
    if (status == STATUS_OK)
        status = durables_take(&durables, looks);
    else if (looks->all)
        (void)durables_take(&durables, looks); /* of the space that is named it was just said what is wrong */
    if (common->json)
        print_json(looks, &durables, base);
    else if (status != STATUS_FAILED || looks->n > 0)
        status = print_text(looks) != 0 || print_durables(&durables) != 0 ? STATUS_FAILED : status;
    bool nothing = looks->n == 0 && durables.n == 0;
    durables_done(&durables);
    if (status == 0 && nothing) {
        status = STATUS_NO;
        if (!common->quiet)
            say_nothing_found(looks, space, base);
    }
    return finish_output(status);
}

int command_ls(int argc, char **argv) {
    common_t common = {0};
    bool no_rate = false;
    bool all = false;
    bool follow = false;
    operands_t operands;
    int status;
    const option_t options[] = {
        {.letter = 'a',
         .name = "all",
         .kind = OPTION_FLAG,
         .target = &all,
         .help = "all spaces, even if $FERRY_SPACE names one"},
        {.name = "no-rate", .kind = OPTION_FLAG, .target = &no_rate, .help = "look once only: no rates, no waiting"},
        {.letter = 'f',
         .name = "follow",
         .kind = OPTION_FLAG,
         .target = &follow,
         .help = "show who comes and goes, as it happens"},
    };
    const usage_t usage = {.command = "ls",
                           .synopsis = "ls [OPTION...] [NAME]",
                           .text = text,
                           .examples = examples,
                           .options = options,
                           .n_options = 3,
                           .json = true};

    if (!options_parse(&usage, argc, argv, &common, &operands, &status))
        return status;
    if (operands.n > 1)
        return usage_error(&usage, "one channel is enough, but '%s' was given too", operands.items[1]);
    if (follow && (operands.n > 0 || all || no_rate))
        return usage_error(&usage,
                           "--follow shows who comes to one space and goes; give it no name of a channel, nor --%s",
                           all ? "all" : "no-rate");
    if (follow)
        return follow_run(&common);
    looks_t looks = {.common = &common, .channel = operands.n > 0 ? operands.items[0] : NULL, .rates = !no_rate};
    const char *space = common.space != NULL || getenv("FERRY_SPACE") != NULL ? common_space(&common) : NULL;
    status = run(&looks, all ? NULL : space);
    looks_done(&looks);
    return status;
}
