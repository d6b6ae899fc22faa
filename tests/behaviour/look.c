/* SPDX-License-Identifier: MIT
 *
 * look.c - looking at spaces from outside.
 */
#include "objects.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static ferry_look_t *look_at(const char *space) {
    ferry_look_t *look = NULL;
    check_is(ferry_look(space, NULL, &look), 0);
    check(look != NULL);
    return look;
}

static const ferry_look_node_t *find_node(const ferry_look_t *look, uint64_t id) {
    for (size_t i = 0; i < ferry_look_nodes(look); i++)
        if (ferry_look_node(look, i)->id == id)
            return ferry_look_node(look, i);
    return NULL;
}

static const ferry_look_end_t *find_end(const ferry_look_t *look, const char *channel, bool is_sender) {
    for (size_t i = 0; i < ferry_look_ends(look); i++) {
        const ferry_look_end_t *end = ferry_look_end(look, i);
        if (strcmp(end->channel, channel) == 0 && (end->is_sender != 0) == is_sender)
            return end;
    }
    return NULL;
}

typedef struct script {
    atomic_uint open;
    atomic_uint stop;
    uint64_t node;
    int pid;
} script_t;

static void keep_open(ferry_t *node, void *arg) {
    script_t *script = arg;
    ferry_contract_t contract = {.type_name = "pose_v1", .type_size = 8, .quota = 8 << 20};
    ferry_sender_t *tx = open_sender(node, "pose", FERRY_TOPIC, &contract);
    script->node = ferry_node_id(node);
    script->pid = getpid();
    check_is(ferry_sender_wait(tx, 1, PATIENCE), 1);
    for (uint64_t i = 0; i < 10; i++)
        send_number(tx, i);
    atomic_store(&script->open, 1);
    await(&script->stop, 1);
    drop_sender(tx);
}

static void nodes_and_ends_are_shown_with_their_figures(where_t where) {
    script_t *script = share(sizeof *script);
    crew_t *crew = crew_begin(where);
    crew_add(crew, keep_open, script);
    ferry_receiver_t *rx = open_receiver(crew_node(crew), "pose", FERRY_TOPIC, NULL);
    await(&script->open, 1);
    check_is(receive_number(rx), 0);
    ferry_msg_t *held = receive(rx);
    ferry_look_t *look = look_at("test");
    check_is(ferry_look_nodes(look), where == IN_THREADS ? 1 : 2);
    check_is(ferry_look_ends(look), 2);
    const ferry_look_node_t *node = find_node(look, script->node);
    check(node != NULL && node->name[0] != '\0');
    check_is(node->pid, script->pid);
    check_is(node->uid, geteuid());
    check_is(node->answered, 1);
    check(find_node(look, ferry_node_id(crew_node(crew))) != NULL);
    const ferry_look_end_t *tx = find_end(look, "pose", true);
    check(tx != NULL && tx->node == script->node);
    check_is(tx->kind, FERRY_TOPIC);
    check(strcmp(tx->type_name, "pose_v1") == 0);
    check_is(tx->type_size, 8);
    check_is(tx->messages, 10);
    check_is(tx->bytes, 80);
    check_is(tx->links, 1);
    check_is(tx->quota, 8 << 20);
    const ferry_look_end_t *end = find_end(look, "pose", false);
    check(end != NULL && end->node == ferry_node_id(crew_node(crew)));
    check_is(end->messages, 2);
    check_is(end->depth, 1);
    check_is(end->links, 1);
    ferry_look_close(look);
    release(held);
    atomic_store(&script->stop, 1);
    crew_join(crew, 0);
    ferry_receiver_close(rx);
    crew_end(crew);
}

static void an_unknown_space_is_named(void) {
    ferry_look_t *look = NULL;
    check_error(ferry_look("nowhere", NULL, &look), -ENOENT, "nowhere");
    check_error(ferry_look("no/where", NULL, &look), -EINVAL, "name");
    check(look == NULL);
    ferry_look_close(NULL);
}

static void a_waiting_depth_is_shown(void) {
    ferry_t *node = open_node("test");
    ferry_sender_t *tx = open_sender(node, "q", FERRY_QUEUE, NULL);
    static unsigned char bytes[10000];
    for (unsigned i = 0; i < 5; i++)
        check_is(ferry_send(tx, bytes, sizeof bytes, PATIENCE), 0);
    ferry_look_t *look = look_at("test");
    const ferry_look_end_t *end = find_end(look, "q", true);
    check(end != NULL);
    check_is(end->depth, 5);
    check_is(end->links, 0);
    check_is(end->copies_made, 5);
    check(end->memory >= 5 * sizeof bytes);
    ferry_look_close(look);
    check_is(drop_sender(tx), 5);
    close_node(node);
}

static void open_and_wait(void *arg) {
    script_t *script = arg;
    ferry_t *node = open_node("test");
    open_receiver(node, "dead", FERRY_QUEUE, NULL);
    script->node = ferry_node_id(node);
    atomic_store(&script->open, 1);
    for (;;)
        pause();
}

static void the_dead_are_not_shown_and_their_names_are_swept(void) {
    script_t *script = share(sizeof *script);
    pid_t child = child_start(open_and_wait, script);
    ferry_t *node = open_node("test");
    await(&script->open, 1);
    ferry_look_t *look = look_at("test");
    check(find_node(look, script->node) != NULL && find_end(look, "dead", false) != NULL);
    ferry_look_close(look);
    child_kill(child);
    look = look_at("test");
    check(find_node(look, script->node) == NULL && find_end(look, "dead", false) == NULL);
    check_is(ferry_look_nodes(look), 1);
    ferry_look_close(look);
    close_node(node);
}

/* ---- waits ---- */

static const ferry_wait_for_t shown_as[KINDS] = {
    [MUTEX] = FERRY_FOR_MUTEX, [WRITER] = FERRY_FOR_WRITE,     [READER] = FERRY_FOR_READ,
    [OWNED] = FERRY_FOR_UNIT,  [PLAIN] = FERRY_FOR_UNIT,       [BARRIER] = FERRY_FOR_BARRIER,
    [EVENT] = FERRY_FOR_EVENT, [AUTO_EVENT] = FERRY_FOR_EVENT, [LATER_SET] = FERRY_FOR_EVENT,
};

typedef struct waiters {
    atomic_uint started;
    atomic_uint go;
    atomic_int tids[KINDS];
} waiters_t;

static const char *name_of(kind_t kind) {
    static __thread char name[32];
    snprintf(name, sizeof name, "object-%u", (unsigned)kind);
    return name;
}

/* One for each kind. */
static void wait_for_one(ferry_t *node, void *arg) {
    waiters_t *waiters = arg;
    ferry_sync_options_t options = {.deadlock_after = MILLISECOND};
    kind_t kind = atomic_fetch_add(&waiters->started, 1);
    object_t object = object_open(node, kind, name_of(kind), &options);
    atomic_store(&waiters->tids[kind], gettid());
    await(&waiters->go, 1);
    check(object_take(&object, PATIENCE) >= 0);
    if (kind < BARRIER)
        check_is(object_give(&object), 0);
    object_close(&object);
}

static void check_wait(const ferry_look_t *look, size_t i, const waiters_t *waiters, uint64_t holder) {
    const ferry_look_wait_t *wait = ferry_look_wait(look, i);
    kind_t kind = 0;
    while (kind < KINDS && strcmp(wait->name, name_of(kind)) != 0)
        kind++;
    check(kind < KINDS);
    check_is(wait->what, shown_as[kind]);
    check_is(wait->tid, waiters->tids[kind]);
    check(find_node(look, wait->node) != NULL && wait->thread[0] != '\0');
    check(wait->age_ns > 0);
    check_is(wait->circle, 0);
    check_is(wait->pid, 0);
    check_is(wait->holders, kind <= OWNED ? 1 : 0);
    for (size_t k = 0; k < wait->holders; k++) {
        check_is(ferry_look_holder(look, i, k)->node, holder);
        check_is(ferry_look_holder(look, i, k)->tid, gettid());
        check_is(ferry_look_holder(look, i, k)->wait, -1);
    }
    check(wait->where[0] == '\0' || strstr(wait->where, "+0x") != NULL);
}

static void every_long_wait_is_shown_with_who_could_end_it(where_t where) {
    waiters_t *waiters = share(sizeof *waiters);
    object_t obstacles[KINDS];
    crew_t *crew = crew_begin(where);
    for (kind_t kind = 0; kind < KINDS; kind++)
        crew_add(crew, wait_for_one, waiters);
    for (kind_t kind = 0; kind < KINDS; kind++)
        obstacles[kind] = obstacle_open(crew_node(crew), kind, name_of(kind));
    atomic_store(&waiters->go, 1);
    await_waits(KINDS);
    ferry_look_t *look = look_at("test");
    check_is(ferry_look_waits(look), KINDS);
    for (size_t i = 0; i < KINDS; i++)
        check_wait(look, i, waiters, ferry_node_id(crew_node(crew)));
    check(ferry_look_wait(look, KINDS) == NULL);
    check(ferry_look_holder(look, 0, 999) == NULL);
    ferry_look_close(look);
    for (kind_t kind = 0; kind < KINDS; kind++) {
        obstacle_remove(&obstacles[kind]);
        obstacle_close(&obstacles[kind]);
    }
    crew_end(crew);
}

/* ---- spaces ---- */

typedef struct names {
    unsigned count;
    char names[8][64];
} names_t;

static int collect(const char *name, void *arg) {
    names_t *names = arg;
    check(names->count < 8);
    snprintf(names->names[names->count++], sizeof names->names[0], "%s", name);
    return 0;
}

static int stop_at_once(const char *name, void *arg) {
    (void)name;
    (void)arg;
    return -ECANCELED;
}

/* ---- who cannot be asked ---- */

typedef struct other {
    atomic_uint ready, over;
    uint64_t node;
} other_t;

static void send_jobs(void *arg) {
    other_t *other = arg;
    ferry_t *node = open_node("test");
    ferry_sender_t *tx = open_sender(node, "jobs", FERRY_QUEUE, NULL);
    other->node = ferry_node_id(node);
    atomic_store(&other->ready, 1);
    await(&other->over, 1);
    close_sender(tx);
    close_node(node);
}

static other_t *other_begin(pid_t *pid) {
    other_t *other = share(sizeof *other);
    *pid = child_start(send_jobs, other);
    await(&other->ready, 1);
    return other;
}

/* As many connections wait as can. Those that have hung up meanwhile are among them. */
static void fill_queue_of(uint64_t node) {
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    int r = 0;
    check(snprintf(at.sun_path, sizeof at.sun_path, "%s/test/n-%016" PRIx64, getenv("FERRY_DIR"), node) <
          (int)sizeof at.sun_path);
    while (r == 0) {
        int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        r = connect(fd, (struct sockaddr *)&at, sizeof at) == 0 ? 0 : errno;
        close(fd);
    }
    check_is(r, EAGAIN);
}

static void note_purged(const ferry_purged_t *p, void *arg) {
    check_is(p->answered, 0);
    *(int32_t *)arg = p->pid;
}

/* Each look leaves such a connection. */
static void who_was_stopped_during_many_looks_is_shown_and_can_be_expelled(void) {
    pid_t pid = 0;
    int32_t purged = 0;
    ferry_kicked_t kicked = {.size = sizeof kicked};
    other_t *other = other_begin(&pid);
    check_is(kill(pid, SIGSTOP), 0);
    fill_queue_of(other->node);
    ferry_look_t *look = look_at("test");
    const ferry_look_node_t *node = find_node(look, other->node);
    check(node && node->answered == 0 && node->pid == pid && node->uid == geteuid());
    check(find_end(look, "jobs", true) != NULL);
    ferry_look_close(look);
    check_is(ferry_purge("test", NULL, "jobs", 0, note_purged, &purged), 1);
    check_is(purged, pid);
    check_is(ferry_kick("test", NULL, other->node, &kicked), 0);
    check(kicked.told == 0 && kicked.pid == pid && kicked.uid == geteuid());
    check_is(kill(pid, SIGCONT), 0);
    atomic_store(&other->over, 1);
    child_join(pid);
}

/* It must not say that nobody is there. */
static void who_looks_without_descriptors_is_told(void) {
    pid_t pid = 0;
    struct rlimit limit;
    unsigned seen = 0, told = 0;
    other_t *other = other_begin(&pid);
    int lowest = dup(0);
    check(lowest >= 0 && close(lowest) == 0 && getrlimit(RLIMIT_NOFILE, &limit) == 0);
    for (rlim_t left = 0; left < 6; left++) {
        struct rlimit few = {.rlim_cur = (rlim_t)lowest + left, .rlim_max = limit.rlim_max};
        ferry_look_t *look = NULL;
        check_is(setrlimit(RLIMIT_NOFILE, &few), 0);
        int r = ferry_look("test", NULL, &look);
        check_is(setrlimit(RLIMIT_NOFILE, &limit), 0);
        check(r == -EMFILE || (r == 0 && find_node(look, other->node) != NULL));
        seen += r == 0;
        told += r == -EMFILE;
        ferry_look_close(look);
    }
    check(seen > 0 && told > 1);
    atomic_store(&other->over, 1);
    child_join(pid);
}

static void spaces_are_listed_in_order(void) {
    names_t names = {0};
    check_is(ferry_spaces(NULL, collect, &names), 0);
    ferry_t *b = open_node("beta"), *a = open_node("alpha"), *c = open_node("gamma");
    check_is(ferry_spaces(NULL, collect, &names), 3);
    check_is(names.count, 3);
    check(strcmp(names.names[0], "alpha") == 0 && strcmp(names.names[1], "beta") == 0 &&
          strcmp(names.names[2], "gamma") == 0);
    check_is(ferry_spaces(NULL, stop_at_once, NULL), -ECANCELED);
    check_error(ferry_spaces(NULL, NULL, NULL), -EINVAL, "ferry_spaces function");
    ferry_options_t elsewhere = {.directory = "/nonexistent/ferry"};
    check_is(ferry_spaces(&elsewhere, collect, &names), 0);
    close_node(a);
    close_node(b);
    close_node(c);
}

static void the_base_directory_is_told(void) {
    char path[256] = "untouched";
    check_is(ferry_base_directory(NULL, path, sizeof path), 0);
    check(strcmp(path, getenv("FERRY_DIR")) == 0);
    check_error(ferry_base_directory(NULL, path, 3), -ERANGE, "");
    ferry_options_t group = {.group = "no-such-group-anywhere"};
    check_is(unsetenv("FERRY_DIR"), 0);
    check_error(ferry_base_directory(&group, path, sizeof path), -ENOENT, "no-such-group-anywhere");
    char want[64];
    snprintf(want, sizeof want, "/tmp/ferry-%u", geteuid());
    check_is(ferry_base_directory(NULL, path, sizeof path), 0);
    check(strcmp(path, want) == 0);
    group.group = "12345";
    check_is(ferry_base_directory(&group, path, sizeof path), 0);
    check(strcmp(path, "/tmp/ferry-group-12345") == 0);
    ferry_options_t given = {.directory = "/some/where"};
    check_is(ferry_base_directory(&given, path, sizeof path), 0);
    check(strcmp(path, "/some/where") == 0);
}

int main(int argc, char **argv) {
    const test_t tests[] = {
        TEST_BOTH(nodes_and_ends_are_shown_with_their_figures),
        TEST(an_unknown_space_is_named),
        TEST(a_waiting_depth_is_shown),
        TEST(the_dead_are_not_shown_and_their_names_are_swept),
        TEST_ALL(every_long_wait_is_shown_with_who_could_end_it),
        TEST(who_was_stopped_during_many_looks_is_shown_and_can_be_expelled),
        TEST(who_looks_without_descriptors_is_told),
        TEST(spaces_are_listed_in_order),
        TEST(the_base_directory_is_told),
    };
    return run_suite("look", tests, sizeof tests / sizeof tests[0], argc, argv);
}
