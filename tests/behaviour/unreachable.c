/* SPDX-License-Identifier: MIT
 *
 * unreachable.c - holders of locks whose process lives, and whose connections are gone: one that executes another
 * program has lost its memory, and counts as dead; one that has merely closed its descriptors has not, and goes on.
 */
#include "objects.h"

#include <sys/socket.h>
#include <unistd.h>

typedef struct scene {
    atomic_uint ready; /* it holds */
    atomic_uint met;   /* and the other one has it open */
    atomic_uint closed;
    atomic_uint go;
    bool is_cut_off; /* before it executes another program */
} scene_t;

static const char *const names[KINDS_HELD] = {"mutex", "written", "read", "owned"};

static ferry_t *open_all(object_t locks[KINDS_HELD]) {
    ferry_t *node = open_node("test");
    for (kind_t kind = 0; kind < KINDS_HELD; kind++)
        locks[kind] = object_open(node, kind, names[kind], NULL);
    return node;
}

/* ---- execve ---- */

/* With no descriptor left it greets nobody who dials it. The other program has some again: these are closed by then. */
static void use_up_descriptors(void) {
    int next = dup(STDERR_FILENO);
    close(next);
    allow_descriptors((unsigned)next);
}

static void take_all_and_execute(void *arg) {
    scene_t *scene = arg;
    object_t locks[KINDS_HELD];
    (void)open_all(locks);
    for (kind_t kind = 0; kind < KINDS_HELD; kind++)
        check_is(object_take(&locks[kind], FERRY_NOW), 0);
    atomic_store(&scene->ready, 1);
    await(&scene->met, 1);
    if (scene->is_cut_off) {
        use_up_descriptors();
        atomic_store(&scene->closed, 1);
        await(&scene->go, 1);
    }
    execl("/bin/sleep", "sleep", "60", (char *)NULL);
    _exit(127);
}

static void cut_connections_to(pid_t peer) {
    unsigned cut = 0;
    for (int fd = 3; fd < 256; fd++) {
        struct ucred who;
        socklen_t len = sizeof who;
        if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &len) == 0 && who.pid == peer)
            cut += shutdown(fd, SHUT_RDWR) == 0;
    }
    check(cut > 0);
}

/* It lives until it is killed here, after all has been taken. */
static void take_what_it_left(scene_t *scene) {
    object_t locks[KINDS_HELD];
    pid_t holder = child_start(take_all_and_execute, scene);
    await(&scene->ready, 1);
    ferry_t *node = open_all(locks);
    atomic_store(&scene->met, 1);
    if (scene->is_cut_off) {
        await(&scene->closed, 1);
        cut_connections_to(holder);
        nap(700 * MILLISECOND); /* it is dialled meanwhile */
        atomic_store(&scene->go, 1);
    }
    for (kind_t kind = 0; kind < KINDS_HELD; kind++) {
        bool told = kind <= WRITER;
        if (kind == READER)
            locks[kind].kind = WRITER; /* readers would be let in beside it */
        check_is(object_take(&locks[kind], PATIENCE), told ? FERRY_OWNER_DIED : 0);
        if (told)
            check_is(object_repaired(&locks[kind]), 0);
        check_is(object_give(&locks[kind]), 0);
        object_close(&locks[kind]);
    }
    child_kill(holder);
    close_node(node);
}

static void who_executes_another_program_leaves_what_it_held(void) {
    take_what_it_left(share(sizeof(scene_t)));
}

static void it_does_so_when_it_was_dialled_anew_and_did_not_greet(void) {
    scene_t *scene = share(sizeof *scene);
    scene->is_cut_off = true;
    take_what_it_left(scene);
}

/* ---- closefrom ---- */

static void close_all_descriptors_and_go_on(void *arg) {
    scene_t *scene = arg;
    object_t mutex = object_open(open_node("test"), MUTEX, "mutex", NULL);
    check_is(object_take(&mutex, FERRY_NOW), 0);
    atomic_store(&scene->ready, 1);
    await(&scene->met, 1);
    closefrom(3);
    atomic_store(&scene->closed, 1);
    await(&scene->go, 1);
    check_is(object_give(&mutex), 0);
    for (;;)
        pause();
}

static void who_closes_its_descriptors_holds_what_it_held(void) {
    scene_t *scene = share(sizeof *scene);
    pid_t holder = child_start(close_all_descriptors_and_go_on, scene);
    await(&scene->ready, 1);
    ferry_t *node = open_node("test");
    object_t mutex = object_open(node, MUTEX, "mutex", NULL);
    atomic_store(&scene->met, 1);
    await(&scene->closed, 1);
    check_is(object_take(&mutex, 800 * MILLISECOND), -ETIMEDOUT); /* it has been looked after meanwhile */
    atomic_store(&scene->go, 1);
    check_is(object_take(&mutex, PATIENCE), 0);
    check_is(object_give(&mutex), 0);
    child_kill(holder);
    object_close(&mutex);
    close_node(node);
}

int main(int argc, char **argv) {
    const test_t tests[] = {
        TEST(who_executes_another_program_leaves_what_it_held),
        TEST(it_does_so_when_it_was_dialled_anew_and_did_not_greet),
        TEST(who_closes_its_descriptors_holds_what_it_held),
    };
    return run_suite("unreachable", tests, sizeof tests / sizeof tests[0], argc, argv);
}
