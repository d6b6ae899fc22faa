/* SPDX-License-Identifier: MIT
 *
 * net_cells.c - cells in a space that spans machines: processes that share no directory, and a server that goes and
 * comes back.
 */
#include "cells.h"
#include "relay.h"
#include "stranger.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* What the processes of a test share. */
typedef struct common {
    engine_t *engine;
    atomic_uint ready;
    atomic_uint go;
    atomic_ullong done;
    atomic_uint doubtful; /* changes of which it is not known whether they were made */
} common_t;

static common_t *common_new(void) {
    common_t *c = share(sizeof *c);
    c->engine = engine_start();
    return c;
}

static ferry_t *node_on(common_t *c, const char *machine) {
    engine_machine(c->engine, machine);
    return open_node(engine_space(c->engine));
}

/* ---- values ---- */

static void answer_on_b(void *arg) {
    ferry_t *node = node_on(arg, "b");
    ferry_cell_t *cell = open_cell(node, "pose", NULL);
    uint64_t version;
    check_is(ferry_cell_wait(cell, 0, PATIENCE), 0);
    check_is(get_number(cell, 0, &version), 17);
    uint64_t answer = 18;
    check_is(ferry_cell_cas(cell, version + 1, &answer, sizeof answer, NULL), -ESTALE);
    check_is(ferry_cell_cas(cell, version, &answer, sizeof answer, NULL), 0);
    check_is(ferry_cell_cas(cell, version, &answer, sizeof answer, NULL), -ESTALE);
    close_cell(cell);
    close_node(node);
}

static void a_value_is_had_changed_and_waited_for_on_another_machine(void) {
    common_t *c = common_new();
    pid_t b = child_start(answer_on_b, c);
    ferry_t *node = node_on(c, "a");
    ferry_cell_t *cell = open_cell(node, "pose", NULL);
    uint64_t number;
    check_is(version_of(cell, 0), 0);
    check_is(ferry_cell_get(cell, &number, sizeof number, NULL, NULL), -ENODATA);
    check_is(ferry_cell_wait(cell, 0, FERRY_NOW), -EAGAIN);
    check_is(ferry_cell_wait(cell, 0, 20 * MILLISECOND), -ETIMEDOUT);
    check_is(put_number(cell, 0, 17), 1);
    check_is(ferry_cell_wait(cell, 1, PATIENCE), 0);
    check_is(get_number(cell, 0, NULL), 18);
    check_is(version_of(cell, 0), 2);
    close_cell(cell);
    close_node(node);
    child_join(b);
    engine_stop(c->engine);
}

static void values_of_all_sizes_come_back(void) {
    enum { MOST = 300000 };
    static unsigned char in[MOST], out[MOST + 1];
    common_t *c = common_new();
    ferry_t *node = node_on(c, "a");
    ferry_cell_options_t options = {.max_bytes = MOST};
    ferry_cell_t *cell = open_cell(node, "page.1", &options);
    static const size_t sizes[] = {0, 1, 2, 3, 4, 5, 63, 64, 65, 4096, 99999, MOST};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        uint64_t version = 0, seen = 0;
        size_t len = 77;
        fill(in, sizes[i], i);
        memset(out, 0x5a, sizeof out);
        check_is(ferry_cell_put(cell, in, sizes[i], &version), 0);
        check_is(ferry_cell_get(cell, out, MOST, &len, &seen), 0);
        check_is(len, sizes[i]);
        check_is(seen, version);
        check(filled(out, sizes[i], i) && out[sizes[i]] == 0x5a);
    }
    size_t len;
    check_error(ferry_cell_get(cell, out, 7, &len, NULL), -EMSGSIZE, "300000 7");
    check_is(len, MOST);
    check_error(ferry_cell_put(cell, in, MOST + 1, NULL), -EMSGSIZE, "page.1 300000");
    close_cell(cell);
    close_node(node);
    engine_stop(c->engine);
}

/* ---- compare-and-set ---- */

/* Adds 1 so many times. */
static void add_on(common_t *c, const char *machine, unsigned times) {
    ferry_t *node = node_on(c, machine);
    ferry_cell_options_t options = {.patience = PATIENCE};
    ferry_cell_t *cell = open_cell(node, "count", &options);
    atomic_fetch_add(&c->ready, 1);
    await(&c->go, 1);
    for (unsigned i = 0; i < times; i++) {
        int r;
        do {
            uint64_t sum = 0, version = 0;
            r = ferry_cell_get(cell, &sum, sizeof sum, NULL, &version);
            check(r == 0 || r == -ENODATA);
            sum++;
            r = ferry_cell_cas(cell, version, &sum, sizeof sum, NULL);
        } while (r == -ESTALE);
        if (r == -ENOTCONN)
            atomic_fetch_add(&c->doubtful, 1); /* it was put or not: trying again could do it twice */
        else
            check_is(r, 0);
        atomic_fetch_add(&c->done, 1);
    }
    close_cell(cell);
    close_node(node);
}

static void add_500_on_b(void *arg) {
    add_on(arg, "b", 500);
}

static void add_500_on_c(void *arg) {
    add_on(arg, "c", 500);
}

static void no_increment_is_lost(void) {
    common_t *c = common_new();
    pid_t children[] = {child_start(add_500_on_b, c), child_start(add_500_on_b, c), child_start(add_500_on_c, c),
                        child_start(add_500_on_c, c)};
    await(&c->ready, 4);
    atomic_store(&c->go, 1);
    for (size_t i = 0; i < 4; i++)
        child_join(children[i]);
    ferry_t *node = node_on(c, "a");
    ferry_cell_t *cell = open_cell(node, "count", NULL);
    uint64_t version;
    check_is(get_number(cell, 0, &version), 2000);
    check_is(version, 2000);
    check_is(atomic_load(&c->doubtful), 0);
    close_cell(cell);
    close_node(node);
    engine_stop(c->engine);
}

static void add_200_on_b(void *arg) {
    add_on(arg, "b", 200);
}

static bool has_done_100(void *arg) {
    return atomic_load(&((common_t *)arg)->done) >= 100;
}

static void no_increment_is_lost_or_doubled_when_the_server_is_killed(void) {
    common_t *c = common_new();
    pid_t children[] = {child_start(add_200_on_b, c), child_start(add_200_on_b, c)};
    await(&c->ready, 2);
    atomic_store(&c->go, 1);
    await_that(has_done_100, c, "a hundred increments");
    engine_kill(c->engine);
    engine_restart(c->engine);
    for (size_t i = 0; i < 2; i++)
        child_join(children[i]);
    ferry_t *node = node_on(c, "a");
    ferry_cell_t *cell = open_cell(node, "count", NULL);
    uint64_t sum = get_number(cell, 0, NULL);
    check(sum <= 400 && sum + atomic_load(&c->doubtful) >= 400);
    check(atomic_load(&c->doubtful) <= 2); /* one put of each was under way */
    close_cell(cell);
    close_node(node);
    engine_stop(c->engine);
}

/* ---- waiting ---- */

static void wait_on_b(void *arg) {
    common_t *c = arg;
    ferry_t *node = node_on(c, "b");
    ferry_cell_t *cell = open_cell(node, "pose", NULL);
    uint64_t version = 1;
    check_is(ferry_cell_wait(cell, 0, PATIENCE), 0);
    atomic_store(&c->ready, 1);
    check_is(ferry_cell_wait(cell, version, PATIENCE), 0);
    check_is(get_number(cell, 0, NULL), 2);
    close_cell(cell);
    close_node(node);
}

static void a_wait_and_a_value_outlive_the_server(void) {
    common_t *c = common_new();
    pid_t b = child_start(wait_on_b, c);
    ferry_t *node = node_on(c, "a");
    ferry_cell_t *cell = open_cell(node, "pose", NULL);
    put_number(cell, 0, 1);
    await(&c->ready, 1);
    engine_kill(c->engine);
    nap(100 * MILLISECOND);
    engine_restart(c->engine);
    check_is(get_number(cell, 0, NULL), 1);
    put_number(cell, 0, 2);
    child_join(b);
    close_cell(cell);
    close_node(node);
    engine_stop(c->engine);
}

enum { MANY = 1000 };

static void put_many_on_b(void *arg) {
    common_t *c = arg;
    ferry_t *node = node_on(c, "b");
    ferry_cell_t *cells = open_cells(node, "prices", MANY);
    await(&c->go, 1);
    for (uint32_t i = 0; i < MANY; i++)
        put_number(cells, i * 7 % MANY, i * 7 % MANY);
    close_cell(cells);
    close_node(node);
}

static void all_of_a_thousand_cells_are_watched(void) {
    static uint64_t seen[MANY], late[MANY];
    static uint32_t changed[MANY];
    common_t *c = common_new();
    pid_t b = child_start(put_many_on_b, c);
    ferry_t *node = node_on(c, "a");
    ferry_cell_t *cells = open_cells(node, "prices", MANY);
    check_is(ferry_cell_watch(cells, seen, changed, MANY, FERRY_NOW), -EAGAIN);
    int fd = ferry_cell_fd(cells);
    check(fd >= 0);
    check_is(ferry_cell_rearm(cells), 0);
    check(!is_readable(fd, 20));
    atomic_store(&c->go, 1);
    check(is_readable(fd, 20000));
    for (unsigned found = 0; found < MANY;) {
        int n = ferry_cell_watch(cells, seen, changed, 10, PATIENCE);
        check(n > 0);
        for (int i = 0; i < n; i++)
            check_is(get_number(cells, changed[i], NULL), changed[i]);
        found += (unsigned)n;
    }
    child_join(b);
    ferry_cell_t *later = open_cells(node, "prices", MANY);
    check_is(ferry_cell_watch(later, late, changed, MANY, FERRY_NOW), MANY);
    check(memcmp(seen, late, sizeof seen) == 0);
    check_is(ferry_cell_watch(later, late, changed, MANY, FERRY_NOW), -EAGAIN);
    close_cell(later);
    close_cell(cells);
    close_node(node);
    engine_stop(c->engine);
}

/* ---- tokens ---- */

static void put_5_and_7_on_a(void *arg) {
    ferry_t *node = node_on(arg, "a");
    ferry_cell_t *cell = open_cell(node, "ledger", NULL);
    uint64_t number = 5;
    check_is(ferry_cell_put_fenced(cell, 0, 5, &number, sizeof number, NULL), 0);
    check_is(ferry_cell_put_fenced(cell, 0, 7, &number, sizeof number, NULL), 0);
    close_cell(cell);
    close_node(node);
}

static void put_old_on_b(void *arg) {
    ferry_t *node = node_on(arg, "b");
    ferry_cell_t *cell = open_cell(node, "ledger", NULL);
    uint64_t number = 6;
    check_error(ferry_cell_put_fenced(cell, 0, 6, &number, sizeof number, NULL), -ESTALE, "ledger 7 6");
    check_is(ferry_cell_put_fenced(cell, 0, 7, &number, sizeof number, NULL), 0);
    close_cell(cell);
    close_node(node);
}

static void an_older_token_is_refused_on_all_machines(void) {
    common_t *c = common_new();
    uint64_t number = 5;
    child_join(child_start(put_5_and_7_on_a, c));
    child_join(child_start(put_old_on_b, c));
    ferry_t *node = node_on(c, "a");
    ferry_cell_t *cell = open_cell(node, "ledger", NULL);
    check_is(get_number(cell, 0, NULL), 6);
    check_is(ferry_cell_put_fenced(cell, 0, 6, &number, sizeof number, NULL), -ESTALE);
    check_is(ferry_cell_put_fenced(cell, 0, 0, &number, sizeof number, NULL), -EINVAL);
    check_is(ferry_cell_put(cell, &number, sizeof number, NULL), 0);
    check_is(ferry_cell_put_fenced(cell, 0, 6, &number, sizeof number, NULL), -ESTALE);
    close_cell(cell);
    close_node(node);
    engine_stop(c->engine);
}

/* ---- opening, removing ---- */

static int count_them(const char *name, const ferry_cell_info_t *info, void *arg) {
    unsigned *count = arg;
    ++*count;
    return strcmp(name, "one.two") == 0 && info->count == 3 && info->max_bytes == 100 &&
                   strcmp(info->type_name, "pose") == 0
               ? 0
               : 7;
}

static void openers_agree_and_a_cell_stays_until_it_is_removed(void) {
    common_t *c = common_new();
    ferry_t *node = node_on(c, "a");
    ferry_cell_options_t options = {.max_bytes = 100, .count = 3, .type_name = "pose", .must_exist = 1};
    ferry_cell_t *cell, *other;
    check_is(ferry_cell_open(node, "one.two", &options, &cell), -ENOENT);
    options.must_exist = 0;
    close_cell(open_cell(node, "one.two", &options));
    cell = open_cell(node, "one.two", NULL); /* it has stayed */
    put_number(cell, 2, 5);
    check_is(ferry_cell_put_at(cell, 3, "", 0, NULL), -ERANGE);
    options.count = 4;
    check_error(ferry_cell_open(node, "one.two", &options, &other), -EPROTOTYPE, "one.two 3 4");
    options = (ferry_cell_options_t){.max_bytes = 99};
    check_error(ferry_cell_open(node, "one.two", &options, &other), -EPROTOTYPE, "100 99");
    options = (ferry_cell_options_t){.type_name = "size"};
    check_error(ferry_cell_open(node, "one.two", &options, &other), -EPROTOTYPE, "pose size");
    options = (ferry_cell_options_t){.max_bytes = 2 << 20};
    check_error(ferry_cell_open(node, "large", &options, &other), -EMSGSIZE, "max_payload 1048576");
    unsigned count = 0;
    check_is(ferry_cell_each(node, count_them, &count), 0);
    check_is(count, 1);
    check_is(ferry_cell_remove(node, "one.two"), 0);
    check_is(ferry_cell_remove(node, "one.two"), -ENOENT);
    check_error(ferry_cell_put(cell, "x", 1, NULL), -ENOENT, "removed");
    check_error(ferry_cell_wait(cell, 0, PATIENCE), -ENOENT, "removed");
    check_is(ferry_cell_each(node, count_them, &count), 0);
    check_is(count, 1);
    check_is(ferry_close(node), 1); /* that one */
    engine_stop(c->engine);
}

static void *shut_soon(void *node) {
    nap(50 * MILLISECOND);
    ferry_shutdown(node);
    return NULL;
}

/* ---- another's stream ---- */

static void say(int fd, const char *text) {
    check(write(fd, text, strlen(text)) == (ssize_t)strlen(text));
}

/* Asks the server, as any of its clients can. Returns once it has answered. */
static void ask_raw(const engine_t *e, const char *api, const char *json) {
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    char line[512], answer[16384];
    size_t n = 0;

    a.sin_port = htons((uint16_t)atoi(strrchr(engine_url(e), ':') + 1));
    check_is(connect(fd, (const struct sockaddr *)&a, sizeof a), 0);
    say(fd, "CONNECT {\"verbose\":false}\r\nSUB answer 1\r\n");
    snprintf(line, sizeof line, "PUB $JS.API.STREAM.%s answer %zu\r\n%s\r\n", api, strlen(json), json);
    say(fd, line);
    do {
        ssize_t got = read(fd, answer + n, sizeof answer - 1 - n);
        check(got > 0);
        n += (size_t)got;
        answer[n] = '\0';
    } while (!strstr(answer, "\r\nMSG answer "));
    check(!strstr(answer, "\"error\""));
    close(fd);
}

static void a_stream_of_somebody_else_with_its_subjects_is_named(void) {
    common_t *c = common_new();
    ferry_t *node = node_on(c, "a");
    ferry_cell_t *cell;
    ask_raw(c->engine, "CREATE.foreign", "{\"name\":\"foreign\",\"subjects\":[\"ferry.test.cell.pose.>\"]}");
    check_error(ferry_cell_open(node, "pose", NULL, &cell), -EEXIST, "pose another stream");
    ask_raw(c->engine, "DELETE.foreign", "");
    cell = open_cell(node, "pose", NULL);
    check_is(put_number(cell, 0, 17), 1);
    close_cell(cell);
    close_node(node);
    engine_stop(c->engine);
}

/* Somebody may just be making it again, and nats-server 2.9 crashes when it is asked for a value then. */
static void a_removed_cell_is_looked_for_before_its_value_is(void) {
    char text[STRANGER_TEXT];
    common_t *c = common_new();
    ferry_t *node = node_on(c, "a");
    ferry_cell_t *cell = open_cell(node, "pose", NULL);
    uint64_t value;
    put_number(cell, 0, 17);
    check_is(ferry_cell_remove(node, "pose"), 0);
    check_error(ferry_cell_get(cell, &value, sizeof value, NULL, NULL), -ENOENT, "removed");
    int stranger = stranger_new(c->engine, "SUB $JS.API.STREAM.MSG.GET.> 1\r\n");
    (void)stranger_hears(stranger, text);
    check_error(ferry_cell_get(cell, &value, sizeof value, NULL, NULL), -ENOENT, "removed");
    check(!strstr(stranger_hears(stranger, text), "last_by_subj"));
    close(stranger);
    ferry_cell_t *again = open_cell(node, "pose", NULL);
    put_number(again, 0, 18);
    check_is(ferry_cell_get(cell, &value, sizeof value, NULL, NULL), 0);
    check_is(value, 18);
    close_cell(again);
    close_cell(cell);
    close_node(node);
    engine_stop(c->engine);
}

/* What a server of several says that assigns streams, and has not heard of this one yet; and another one. */
#define NOT_THERE "{\"error\":{\"code\":404,\"err_code\":10059}}"
#define NO_VALUE "{\"error\":{\"code\":404,\"err_code\":10037}}"
#define SOME_TIME "\"2026-01-02T03:04:05.6Z\""
#define THERE                                                                                                          \
    "{\"config\":{\"name\":\"FERRY=test=cell=pose\",\"subjects\":[\"ferry.test.cell.pose.*\"],\"description\":"        \
    "\"ferry cell 1 count=1 max_bytes=4096 "                                                                           \
    "type=\",\"retention\":\"limits\",\"discard\":\"old\",\"storage\":\"file\"},"                                      \
    "\"created\":" SOME_TIME                                                                                           \
    ",\"state\":{\"messages\":1,\"bytes\":9,\"first_seq\":1,\"last_seq\":1,\"first_ts\":" SOME_TIME                    \
    ",\"last_ts\":" SOME_TIME "},\"cluster\":{\"name\":\"c\",\"leader\":\"l\"}}"

static void a_cell_that_is_said_not_to_be_there_is_looked_for(void) {
    static const char *const asked[] = {"$JS.API.STREAM.MSG.GET.FERRY=test=cell=pose",
                                        "$JS.API.STREAM.INFO.FERRY=test=cell=pose", NULL};
    static const char *const answers[] = {THERE, NOT_THERE, NOT_THERE, NOT_THERE, THERE, NO_VALUE, NULL};
    common_t *c = share(sizeof *c);
    c->engine = stranger_engine(asked);
    pid_t stranger = stranger_answers(c->engine, answers);
    ferry_t *node = node_on(c, "a");
    ferry_cell_t *cell = open_cell(node, "pose", NULL);
    uint64_t value;
    check_is(ferry_cell_get(cell, &value, sizeof value, NULL, NULL), -ENODATA);
    close_cell(cell);
    close_node(node);
    child_join(stranger);
    engine_stop(c->engine);
}

static void a_frozen_server_and_shutdown_end_waits(void) {
    common_t *c = common_new();
    ferry_t *node = node_on(c, "a");
    ferry_cell_options_t options = {.patience = 300 * MILLISECOND};
    ferry_cell_t *cell = open_cell(node, "pose", &options);
    put_number(cell, 0, 1);
    engine_freeze(c->engine);
    int64_t begin = monotonic();
    int r;
    do
        r = ferry_cell_put(cell, "x", 1, NULL);
    while (r == 0); /* it stands still a moment later */
    check_is(r, -ETIMEDOUT);
    check(monotonic() - begin < 10 * SECOND);
    engine_thaw(c->engine);
    pthread_t thread;
    check_is(pthread_create(&thread, NULL, shut_soon, node), 0);
    check_is(ferry_cell_wait(cell, 1000, FERRY_FOREVER), -ESHUTDOWN);
    check_is(pthread_join(thread, NULL), 0);
    close_cell(cell);
    close_node(node);
    engine_stop(c->engine);
}

/* ---- a long way ---- */

static void put_beside(void *arg) {
    common_t *c = arg;
    ferry_t *node = node_on(c, "near");
    ferry_cell_t *cells = open_cells(node, "state", 2);
    atomic_fetch_add(&c->ready, 1);
    for (int64_t end = monotonic() + PATIENCE; !atomic_load(&c->go) && monotonic() < end;)
        put_number(cells, 1, 1);
    close_cell(cells);
    close_node(node);
}

/* On the way something is put into the other one, each time. */
static void what_is_put_into_other_cells_of_the_name_does_not_keep_a_far_one_from_being_changed(void) {
    common_t *c = common_new();
    relay_t *line = relay_start(c->engine);
    pid_t near = child_start(put_beside, c);
    await(&c->ready, 1);
    relay_delay(line, 5 * MILLISECOND);
    engine_machine(c->engine, "far");
    ferry_t *node = open_node(relay_space(line));
    const ferry_cell_options_t options = {.count = 2, .patience = SECOND};
    ferry_cell_t *cells = open_cell(node, "state", &options);
    uint64_t value = 7, version = 0;
    for (int i = 0; i < 3; i++)
        check_is(ferry_cell_cas_at(cells, 0, version, &value, sizeof value, &version), 0);
    check_is(ferry_cell_cas_at(cells, 0, version + 1, &value, sizeof value, NULL), -ESTALE);
    check_is(ferry_cell_put_fenced(cells, 0, 5, &value, sizeof value, &version), 0);
    check_is(version_of(cells, 0), version);
    check_is(ferry_cell_put_fenced(cells, 0, 5, &value, sizeof value, NULL), 0);
    check_error(ferry_cell_put_fenced(cells, 0, 4, &value, sizeof value, NULL), -ESTALE, "token 5 4");
    atomic_store(&c->go, 1);
    child_join(near);
    close_cell(cells);
    close_node(node);
    relay_stop(line);
    engine_stop(c->engine);
}

int main(int argc, char **argv) {
    static const test_t tests[] = {
        TEST(a_value_is_had_changed_and_waited_for_on_another_machine),
        TEST(values_of_all_sizes_come_back),
        TEST(no_increment_is_lost),
        TEST(no_increment_is_lost_or_doubled_when_the_server_is_killed),
        TEST(a_wait_and_a_value_outlive_the_server),
        TEST(all_of_a_thousand_cells_are_watched),
        TEST(an_older_token_is_refused_on_all_machines),
        TEST(what_is_put_into_other_cells_of_the_name_does_not_keep_a_far_one_from_being_changed),
        TEST(openers_agree_and_a_cell_stays_until_it_is_removed),
        TEST(a_stream_of_somebody_else_with_its_subjects_is_named),
        TEST(a_removed_cell_is_looked_for_before_its_value_is),
        TEST(a_cell_that_is_said_not_to_be_there_is_looked_for),
        TEST(a_frozen_server_and_shutdown_end_waits),
    };
    return run_suite("net_cells", tests, sizeof tests / sizeof tests[0], argc, argv);
}
