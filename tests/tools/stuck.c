/* SPDX-License-Identifier: MIT
 *
 * stuck.c - a process whose threads take things and then wait, as the command line says; what `ferry why` is to
 * explain.
 *
 *   stuck NODE PARTIES THREAD:STEP,... ... [-- ARGUMENT...]
 *
 * A thread does its steps one after the other, keeps what it has taken, and then does nothing. Steps:
 *
 *   lock=A          takes mutex A
 *   read=A write=A  takes rwlock A
 *   unit=A          takes a unit of semaphore A, which has two, owned
 *   arrive=A        waits at barrier A, which is for two
 *   event=A         waits for event A, which nobody sets
 *   hold=A          opens a receiver of queue A, and takes nothing from it
 *   small=A         the same, of which no message may have more than 4 bytes
 *   fill=A          sends to queue A until there is no room
 *   serve=A         serves A: its method "m" waits for an event that nobody sets
 *   serve=A/B       the same, but it calls B
 *   call=A          calls the method "m" of A, and waits for the answer
 *   crowd=A         calls it until there is no room, and waits for no answer
 *   child           starts this program with ARGUMENT..., and waits for it
 *   in=SPACE        what follows is in that space
 *   meet            waits until PARTIES threads of the space are here
 *
 * It ends by a signal, after a minute at the latest.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <ferry/ferry.h>

enum { LIFE_S = 60 };

static ferry_t *home;
static __thread ferry_t *node; /* of the space in which the thread is now */
static const char *node_name;
static uint32_t parties;
static char **child_arguments; /* behind a first one for the program's name; NULL: none */

/* A circle shall stay: nobody looks for it. */
static const ferry_sync_options_t patient = {.deadlock_after = -1};

static void must(int result, const char *what, const char *name) {
    if (result >= 0)
        return;
    fprintf(stderr, "stuck: %s=%s: %s (%s)\n", what, name, strerror(-result), ferry_last_error());
    _exit(1);
}

static void take_mutex(const char *name) {
    ferry_mutex_t *mutex;
    must(ferry_mutex_open(node, name, &patient, &mutex), "open", name);
    must(ferry_mutex_lock(mutex, FERRY_FOREVER), "lock", name);
}

static void take_to_read(const char *name) {
    ferry_rwlock_t *rwlock;
    must(ferry_rwlock_open(node, name, &patient, &rwlock), "open", name);
    must(ferry_rwlock_read(rwlock, FERRY_FOREVER), "read", name);
}

static void take_to_write(const char *name) {
    ferry_rwlock_t *rwlock;
    must(ferry_rwlock_open(node, name, &patient, &rwlock), "open", name);
    must(ferry_rwlock_write(rwlock, FERRY_FOREVER), "write", name);
}

static void take_unit(const char *name) {
    const ferry_sync_options_t owned = {.deadlock_after = -1, .owned = 1};
    ferry_semaphore_t *semaphore;
    must(ferry_semaphore_open(node, name, 2, &owned, &semaphore), "open", name);
    must(ferry_semaphore_acquire(semaphore, FERRY_FOREVER), "unit", name);
}

static void go_to(const char *space) {
    const ferry_options_t options = {.name = node_name};
    must(ferry_open(space, &options, &node), "in", space);
}

static void wait_at_barrier(ferry_t *at, const char *name, uint32_t count) {
    ferry_barrier_t *barrier;
    must(ferry_barrier_open(at, name, count, &patient, &barrier), "open", name);
    must(ferry_barrier_wait(barrier, FERRY_FOREVER), "arrive", name);
}

static void arrive(const char *name) {
    wait_at_barrier(node, name, 2);
}

static void meet(const char *name) {
    (void)name;
    wait_at_barrier(home, "everybody-is-here", parties);
}

static void wait_for_event(const char *name) {
    ferry_event_t *event;
    must(ferry_event_open(node, name, &patient, &event), "open", name);
    must(ferry_event_wait(event, FERRY_FOREVER), "event", name);
}

static void hold_receiver(const char *name) {
    ferry_receiver_t *receiver;
    must(ferry_receiver_open(node, name, FERRY_QUEUE, NULL, &receiver), "open", name);
}

static void hold_small(const char *name) {
    const ferry_contract_t small = {.max_size = 4};
    const ferry_receiver_options_t options = {.contract = &small};
    ferry_receiver_t *receiver;
    must(ferry_receiver_open(node, name, FERRY_QUEUE, &options, &receiver), "open", name);
}

static void fill_queue(const char *name) {
    static const char bytes[4096];
    const ferry_contract_t small = {.quota = 65536};
    ferry_sender_t *sender;
    must(ferry_sender_open(node, name, FERRY_QUEUE, &small, &sender), "open", name);
    for (;;)
        must(ferry_send(sender, bytes, sizeof bytes, FERRY_FOREVER), "fill", name);
}

/* The wait for any call of a client does not look for circles, as all waits here. */
static void call(const char *name) {
    ferry_client_t *client;
    ferry_call_t *calling;
    must(ferry_client_open(node, name, NULL, &client), "open", name);
    must(ferry_client_wait(client, 1, FERRY_FOREVER), "wait", name);
    must(ferry_call_start(client, "m", NULL, 0, 0, FERRY_FOREVER, &calling), "call", name);
    must(ferry_client_next(client, FERRY_FOREVER, &calling), "call", name);
}

static void crowd(const char *name) {
    static const char bytes[300000];
    const ferry_client_options_t small = {.quota = 1048576};
    ferry_client_t *client;
    ferry_call_t *calling;
    must(ferry_client_open(node, name, &small, &client), "open", name);
    must(ferry_client_wait(client, 1, FERRY_FOREVER), "wait", name);
    for (;;)
        must(ferry_call_start(client, "m", bytes, sizeof bytes, 0, FERRY_FOREVER, &calling), "crowd", name);
}

static int handle(ferry_request_t *rq, const void *data, size_t size, void *next) {
    (void)rq;
    (void)data;
    (void)size;
    if (next != NULL)
        call(next);
    else
        wait_for_event("never");
    return 0;
}

static void serve(const char *names) {
    ferry_service_t *service;
    char name[64];
    const char *slash = strchrnul(names, '/');
    char *next = *slash == '/' ? strdup(slash + 1) : NULL; /* as long as the process lives */
    snprintf(name, sizeof name, "%.*s", (int)(slash - names), names);
    must(ferry_service_open(node, name, NULL, &service), "open", name);
    must(ferry_service_method(service, "m", handle, next, NULL), "serve", name);
    must(ferry_service_run(service, FERRY_FOREVER), "serve", name);
}

/* The child ends with the thread that waits for it. */
static void wait_for_child(const char *name) {
    static char program[] = "/proc/self/exe";
    pid_t child = -1;

    if (child_arguments != NULL)
        child = fork();
    if (child == 0) {
        child_arguments[0] = program;
        (void)prctl(PR_SET_PDEATHSIG, (unsigned long)SIGKILL, 0L, 0L, 0L);
        execv(program, child_arguments);
        _exit(127);
    }
    must(child < 0 ? -errno : 0, "child", name);
    must(ferry_process_wait_begins(node, child), "child", name);
    while (waitpid(child, NULL, 0) < 0 && errno == EINTR)
        ;
    must(ferry_process_wait_ended(node), "child", name);
}

static const struct {
    const char *name;
    void (*act)(const char *name);
} steps[] = {
    {"lock", take_mutex}, {"read", take_to_read},    {"write", take_to_write}, {"unit", take_unit},
    {"arrive", arrive},   {"event", wait_for_event}, {"hold", hold_receiver},  {"fill", fill_queue},
    {"meet", meet},       {"serve", serve},          {"call", call},           {"child", wait_for_child},
    {"in", go_to},        {"crowd", crowd},          {"small", hold_small},
};

static void do_step(char *step) {
    char *name = strchr(step, '=');

    if (name != NULL)
        *name++ = '\0';
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        if (strcmp(steps[i].name, step) == 0) {
            steps[i].act(name != NULL ? name : "");
            return;
        }
    }
    must(-EINVAL, step, name != NULL ? name : "");
}

static void *live(void *arg) {
    char *rest = strchr(arg, ':');
    char *step;

    node = home;
    if (rest != NULL)
        *rest++ = '\0';
    (void)pthread_setname_np(pthread_self(), arg);
    while ((step = strsep(&rest, ",")) != NULL)
        do_step(step);
    while (pause() < 0)
        ;
    return NULL;
}

int main(int argc, char **argv) {
    pthread_t thread;
    int n = 0;

    alarm(LIFE_S);
    if (argc < 4)
        return 2;
    const ferry_options_t options = {.name = argv[1]};
    parties = (uint32_t)strtoul(argv[2], NULL, 10);
    node_name = argv[1];
    must(ferry_open(getenv("FERRY_SPACE"), &options, &home), "open", argv[1]);
    for (char **word = argv + 3; *word != NULL && child_arguments == NULL; word++) {
        if (strcmp(*word, "--") == 0)
            child_arguments = word;
        else
            n++;
    }
    for (int i = 0; i < n; i++)
        must(-pthread_create(&thread, NULL, live, argv[3 + i]), "thread", argv[3 + i]);
    for (;;)
        pause();
}
