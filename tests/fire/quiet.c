/* SPDX-License-Identifier: MIT
 *
 * quiet.c - what quiet.sh looks at from outside, with strace: ends that idle, and messages that flow.
 *
 *   quiet idle PARTNER      opens 25 senders and 25 receivers, says "ready" when all are linked, and does nothing more;
 *                           after SIGUSR1 it sends one message
 *   quiet flow threads      50 times 50,000 messages from one thread to another, each time between marks that strace
 *                           shows
 *   quiet flow processes    the same between two processes
 *   quiet burst             20,000 messages to one receiver that takes none, between marks
 */
#include <ferry/ferry.h>

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define ENDS 25
#define FOREVER_NS ((int64_t)30000000000)

static void must(int r, const char *what) {
    if (r >= 0)
        return;
    fprintf(stderr, "%s: %s\n", what, ferry_last_error());
    exit(1);
}

/* ---- idle ---- */

typedef struct idler {
    ferry_t *node;
    char channel[16];
} idler_t;

static void *receive_for_ever(void *arg) {
    idler_t *idler = arg;
    ferry_receiver_t *rx;
    ferry_msg_t *m;
    must(ferry_receiver_open(idler->node, idler->channel, FERRY_QUEUE, NULL, &rx), "ferry_receiver_open");
    for (;;) {
        must(ferry_recv(rx, FERRY_FOREVER, &m), "ferry_recv");
        must(ferry_msg_release(m), "ferry_msg_release");
    }
    return NULL;
}

static void start_receivers(ferry_t *node, char partner) {
    static idler_t idlers[ENDS];
    for (unsigned i = 0; i < ENDS; i++) {
        pthread_t thread;
        idlers[i].node = node;
        snprintf(idlers[i].channel, sizeof idlers[i].channel, "to-%c-%u", partner, i);
        if (pthread_create(&thread, NULL, receive_for_ever, &idlers[i]) != 0)
            exit(1);
    }
}

static ferry_sender_t *open_and_use(ferry_t *node, char partner, unsigned i) {
    ferry_sender_t *tx;
    char channel[16];
    snprintf(channel, sizeof channel, "to-%c-%u", partner == 'a' ? 'b' : 'a', i);
    must(ferry_sender_open(node, channel, FERRY_QUEUE, NULL, &tx), "ferry_sender_open");
    must(ferry_sender_wait(tx, 1, FOREVER_NS), "ferry_sender_wait");
    for (unsigned n = 0; n < 100; n++)
        must(ferry_send(tx, &n, sizeof n, FOREVER_NS), "ferry_send");
    must(ferry_sender_flush(tx, FOREVER_NS), "ferry_sender_flush");
    return tx;
}

static void idle(char partner) {
    ferry_t *node;
    ferry_sender_t *tx[ENDS];
    sigset_t wake;
    int number;
    sigemptyset(&wake);
    sigaddset(&wake, SIGUSR1);
    pthread_sigmask(SIG_BLOCK, &wake, NULL);
    must(ferry_open("test", NULL, &node), "ferry_open");
    start_receivers(node, partner);
    for (unsigned i = 0; i < ENDS; i++)
        tx[i] = open_and_use(node, partner, i);
    puts("ready");
    fflush(stdout);
    sigwait(&wake, &number);
    must(ferry_send(tx[0], "x", 1, FOREVER_NS), "ferry_send");
    for (;;)
        sigwait(&wake, &number);
}

/* ---- flow ---- */

#define WINDOW 50000u /* messages between two marks: a millisecond or two, which few machines disturb every time */
#define WINDOWS 50u

/* What both sides share: they begin each window together, without a system call. */
static atomic_uint *begun;

/* A system call that stands out in the trace. */
static void mark(const char *name) {
    if (access(name, F_OK) == 0)
        exit(1);
}

static void begin(unsigned window) {
    mark("/ferry-begin");
    atomic_fetch_add(begun, 1);
    while (atomic_load(begun) < 2 * (window + 1)) {
    }
}

/* On a processor of its own, and not to be interrupted, if we may: the claim is about threads that run. */
static void run_alone(unsigned cpu) {
    struct sched_param first = {.sched_priority = 1};
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    if (sysconf(_SC_NPROCESSORS_ONLN) < 2)
        return;
    (void)sched_setaffinity(0, sizeof set, &set);
    (void)sched_setscheduler(0, SCHED_FIFO, &first);
}

static void send_window(ferry_sender_t *tx, uint64_t first) {
    unsigned char text[64] = {0};
    for (uint64_t n = first; n < first + WINDOW; n++) {
        memcpy(text, &n, sizeof n);
        must(ferry_send(tx, text, sizeof text, FOREVER_NS), "ferry_send");
    }
}

static void receive_window(ferry_receiver_t *rx, uint64_t first) {
    for (uint64_t n = first; n < first + WINDOW; n++) {
        ferry_msg_t *m;
        uint64_t number;
        must(ferry_recv(rx, FOREVER_NS, &m), "ferry_recv");
        memcpy(&number, ferry_msg_data(m), sizeof number);
        must(ferry_msg_release(m), "ferry_msg_release");
        if (number != n)
            exit(1);
    }
}

static void *send_flow(void *arg) {
    ferry_sender_t *tx;
    ferry_contract_t contract = {.wait = FERRY_WAIT_SPIN};
    must(ferry_sender_open(arg, "flow", FERRY_QUEUE, &contract, &tx), "ferry_sender_open");
    must(ferry_sender_wait(tx, 1, FOREVER_NS), "ferry_sender_wait");
    run_alone(0);
    for (unsigned window = 0; window < WINDOWS; window++) {
        begin(window);
        send_window(tx, (uint64_t)window * WINDOW);
        mark("/ferry-end");
    }
    must(ferry_sender_close(tx, FOREVER_NS, NULL), "ferry_sender_close");
    return NULL;
}

static void *receive_flow(void *arg) {
    ferry_receiver_t *rx;
    ferry_receiver_options_t options = {.wait = FERRY_WAIT_SPIN};
    must(ferry_receiver_open(arg, "flow", FERRY_QUEUE, &options, &rx), "ferry_receiver_open");
    run_alone(1);
    for (unsigned window = 0; window < WINDOWS; window++) {
        begin(window);
        receive_window(rx, (uint64_t)window * WINDOW);
        mark("/ferry-end");
    }
    must(ferry_receiver_close(rx), "ferry_receiver_close");
    return NULL;
}

static void flow_between_threads(void) {
    ferry_t *node;
    pthread_t sender, receiver;
    must(ferry_open("test", NULL, &node), "ferry_open");
    if (pthread_create(&sender, NULL, send_flow, node) != 0 || pthread_create(&receiver, NULL, receive_flow, node) != 0)
        exit(1);
    pthread_join(sender, NULL);
    pthread_join(receiver, NULL);
    must(ferry_close(node), "ferry_close");
}

static void flow_between_processes(void) {
    ferry_t *node;
    int status;
    pid_t pid = fork();
    must(ferry_open("test", NULL, &node), "ferry_open");
    (void)(pid == 0 ? send_flow(node) : receive_flow(node));
    must(ferry_close(node), "ferry_close");
    if (pid > 0 && (waitpid(pid, &status, 0) != pid || status != 0))
        exit(1);
}

/* ---- burst ---- */

#define BURST 20000u

static void burst(void) {
    ferry_t *node;
    ferry_sender_t *tx;
    ferry_receiver_t *rx;
    must(ferry_open("test", NULL, &node), "ferry_open");
    must(ferry_receiver_open(node, "burst", FERRY_QUEUE, NULL, &rx), "ferry_receiver_open");
    must(ferry_sender_open(node, "burst", FERRY_QUEUE, NULL, &tx), "ferry_sender_open");
    must(ferry_sender_wait(tx, 1, FOREVER_NS), "ferry_sender_wait");
    mark("/ferry-begin");
    for (unsigned n = 0; n < BURST; n++)
        must(ferry_send(tx, &n, sizeof n, FOREVER_NS), "ferry_send");
    mark("/ferry-end");
    must(ferry_close(node), "ferry_close");
}

int main(int argc, char **argv) {
    begun = mmap(NULL, sizeof *begun, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (begun == MAP_FAILED)
        return 1;
    if (argc == 3 && strcmp(argv[1], "idle") == 0)
        idle(argv[2][0]);
    else if (argc == 3 && strcmp(argv[1], "flow") == 0 && strcmp(argv[2], "threads") == 0)
        flow_between_threads();
    else if (argc == 3 && strcmp(argv[1], "flow") == 0 && strcmp(argv[2], "processes") == 0)
        flow_between_processes();
    else if (argc == 2 && strcmp(argv[1], "burst") == 0)
        burst();
    else
        return 2;
    return 0;
}
