/* SPDX-License-Identifier: MIT
 *
 * call_late.c - calls that a server takes when their time is over, and lets go of without a word.
 */
#include "calls.h"

#include <signal.h>
#include <sys/wait.h>

/* What handlers and tests share. */
typedef struct tale {
    atomic_uint run; /* handlers begun */
    atomic_uint inside;
    atomic_uint go;
    _Atomic int64_t time_is_over;
} tale_t;

static int hold(ferry_request_t *rq, const void *data, size_t size, void *arg) {
    tale_t *tale = arg;
    atomic_fetch_add(&tale->run, 1);
    atomic_fetch_add(&tale->inside, 1);
    await(&tale->go, 1);
    return ferry_reply(rq, data, size);
}

static int count_and_echo(ferry_request_t *rq, const void *data, size_t size, void *arg) {
    atomic_fetch_add(&((tale_t *)arg)->run, 1);
    (void)ferry_reply(rq, data, size);
    return 0;
}

/* Its server drops it without a word, and is gone before the client looks. */
static void what_was_too_late_is_not_lost_with_its_server(void) {
    for (int stays = 0; stays < 2; stays++) {
        tale_t *tale = share(sizeof *tale);
        ferry_t *node = open_node("test");
        ferry_service_t *other = open_service(node, "ends", NULL);
        ferry_service_t *service = open_service(node, "ends", NULL);
        ferry_call_t *late = NULL;
        add_method(service, "hold", hold, tale);
        add_method(other, "hold", hold, tale);
        check_is(ferry_service_start(service, 1), 0);
        ferry_client_t *client = open_client(node, "ends", 1);
        ferry_call_t *call = start_call(client, "hold", 1);
        await(&tale->inside, 1);
        check_is(ferry_call_start(client, "hold", NULL, 0, 0, 5 * MILLISECOND, &late), 0);
        if (stays) {
            check_is(ferry_service_start(other, 1), 0);
            check_is(ferry_client_wait(client, 2, PATIENCE), 2);
        }
        nap(10 * MILLISECOND);
        atomic_store(&tale->go, 1);
        close_service(service);
        check_is(finish_call(call), 1);
        check_error(ferry_call_wait(late, PATIENCE, NULL), -ETIME, "has passed");
        check_is(ferry_call_release(late), 0);
        check_is(atomic_load(&tale->run), 1);
        close_client(client);
        close_service(other);
        close_node(node);
    }
}

static void call_and_stop(void *arg) {
    tale_t *tale = arg;
    ferry_call_t *call = NULL;
    await(&tale->inside, 1);
    ferry_t *node = open_node("test");
    ferry_client_t *client = open_client(node, "ends", 1);
    atomic_store(&tale->time_is_over, monotonic() + 60 * MILLISECOND);
    check_is(ferry_call_start(client, "echo", NULL, 0, 0, 60 * MILLISECOND, &call), 0);
    check_is(raise(SIGSTOP), 0);
    check_is(ferry_call_release(call), 0);
    close_client(client);
    close_node(node);
}

/* It was in time when it was taken, and not any more when the way for its answers, a client's first, was open. */
static void what_expires_while_its_caller_is_met_is_not_started(void) {
    tale_t *tale = share(sizeof *tale);
    int status;
    pid_t pid = child_start(call_and_stop, tale);
    ferry_t *node = open_node("test");
    ferry_service_t *service = open_service(node, "ends", NULL);
    add_method(service, "hold", hold, tale);
    add_method(service, "echo", count_and_echo, tale);
    check_is(ferry_service_start(service, 1), 0);
    ferry_client_t *client = open_client(node, "ends", 1);
    ferry_call_t *call = start_call(client, "hold", 1);
    check_is(waitpid(pid, &status, WUNTRACED), pid);
    check(WIFSTOPPED(status));
    nap(atomic_load(&tale->time_is_over) - 2 * MILLISECOND - monotonic());
    atomic_store(&tale->go, 1);
    check_is(finish_call(call), 1);
    for (ferry_service_stats_t s = service_stats(service); s.calls + s.expired < 2; s = service_stats(service))
        nap(MILLISECOND);
    check_is(kill(pid, SIGCONT), 0);
    check_is(atomic_load(&tale->run), 1);
    child_join(pid);
    close_client(client);
    close_service(service);
    close_node(node);
}

int main(int argc, char **argv) {
    const test_t tests[] = {
        TEST(what_was_too_late_is_not_lost_with_its_server),
        TEST(what_expires_while_its_caller_is_met_is_not_started),
    };
    return run_suite("call-late", tests, sizeof tests / sizeof tests[0], argc, argv);
}
