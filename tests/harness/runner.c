/* SPDX-License-Identifier: MIT
 *
 * runner.c - runs every test under cmocka, in a process and a FERRY_DIR of its own.
 */
#include "harness.h"

#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "traces.h"

/* A test that lasts longer hangs; the waits in it end sooner. What is a second's work for a sanitizer may take a minute
 * beside other tests and builds, on two processors. */
static int limit_milliseconds(void) {
    const char *given = getenv("FERRY_TEST_LIMIT_MS");
    return given ? atoi(given) : UNDER_SANITIZER ? 150000 : 60000;
}

/* cmocka catches these and would go on with its next test in the wrong process; the test gets them as they were. */
static const int caught[] = {SIGFPE, SIGILL, SIGSEGV, SIGBUS, SIGSYS};
static struct sigaction before_cmocka[sizeof caught / sizeof caught[0]];

static void make_directory(char *path, size_t size) {
    const char *base = getenv("FERRY_TEST_TMP");
    snprintf(path, size, "%s/frytest-XXXXXX", base ? base : "/tmp");
    check(mkdtemp(path) != NULL);
    check(setenv("FERRY_DIR", path, 1) == 0);
}

static void restore_signals(void) {
    for (size_t i = 0; i < sizeof caught / sizeof caught[0]; i++)
        sigaction(caught[i], &before_cmocka[i], NULL);
}

static void *do_nothing(void *arg) {
    return arg;
}

/* ThreadSanitizer starts a thread of its own along with a process's first one; that one must be there before we
 * count. */
static void start_first_thread(void) {
    pthread_t thread;
    check(pthread_create(&thread, NULL, do_nothing, NULL) == 0 && pthread_join(thread, NULL) == 0);
}

/* The test's process: its exit status is the verdict. */
static void run_here(const test_t *test, const char *directory) {
    static traces_t before;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    restore_signals();
    start_first_thread();
    traces_take(&before);
    if (test->alone)
        test->alone();
    else
        test->crewed(test->where);
    bool good = traces_settled(&before);
    good = directory_clean(directory) && good;
    traces_free(&before);
    exit(good ? 0 : 1);
}

/* Waits for the test's process; its status, after a word about a bad end. */
static int wait_for(pid_t pid, const char *name) {
    int status = 0;
    struct pollfd item = {.fd = (int)syscall(SYS_pidfd_open, pid, 0), .events = POLLIN};
    if (poll(&item, 1, limit_milliseconds()) != 1) {
        fprintf(stderr, "# %s did not end within %d ms\n", name, limit_milliseconds());
        kill(pid, SIGKILL);
    }
    close(item.fd);
    waitpid(pid, &status, 0);
    if (WIFSIGNALED(status))
        fprintf(stderr, "# %s was ended by signal %d (%s)\n", name, WTERMSIG(status), strsignal(WTERMSIG(status)));
    else if (WEXITSTATUS(status) != 0)
        fprintf(stderr, "# %s ended with status %d\n", name, WEXITSTATUS(status));
    fflush(stderr);
    return status;
}

static void run_isolated(void **state) {
    const test_t *test = *state;
    char directory[256];
    make_directory(directory, sizeof directory);
    fflush(NULL);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        run_here(test, directory);
    int status = wait_for(pid, test->name);
    directory_remove(directory);
    assert_int_equal(status, 0);
}

int run_suite(const char *group, const test_t *tests, size_t count, int argc, char **argv) {
    struct CMUnitTest *list = calloc(count, sizeof *list);
    if (!list)
        return 1;
    for (size_t i = 0; i < sizeof caught / sizeof caught[0]; i++)
        sigaction(caught[i], NULL, &before_cmocka[i]);
    for (size_t i = 0; i < count; i++) {
        test_t *copy = malloc(sizeof *copy);
        *copy = tests[i];
        list[i] = (struct CMUnitTest){.name = tests[i].name, .test_func = run_isolated, .initial_state = copy};
    }
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    int failed = _cmocka_run_group_tests(group, list, count, NULL, NULL);
    return failed != 0;
}
