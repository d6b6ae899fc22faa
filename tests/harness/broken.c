/* SPDX-License-Identifier: MIT
 *
 * broken.c - one test for every fault that the harness must notice, and one that is good. Run by check_harness.sh.
 */
#include "harness.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

static void good(void) {
    ferry_t *node = open_node("test");
    check(node != NULL);
    close_node(node);
}

static void fails_a_check(void) {
    check_is(1, 2);
}

static void misses_a_word_of_the_sentence(void) {
    ferry_t *node = NULL;
    check_error(ferry_open("bad/name", NULL, &node), -EINVAL, "a-word-that-no-sentence-has");
}

static void crashes(void) {
    raise(SIGSEGV);
}

static void hangs(void) {
    for (;;)
        pause();
}

static void leaves_a_descriptor(void) {
    check(dup(2) > 2);
}

static void leaves_a_mapping(void) {
    int fd = memfd_create("left", MFD_CLOEXEC);
    check(fd >= 0 && ftruncate(fd, 4096) == 0);
    check(mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0) != MAP_FAILED);
    close(fd);
}

static void *stay(void *arg) {
    for (;;)
        pause();
    return arg;
}

static void leaves_a_thread(void) {
    pthread_t thread;
    check_is(pthread_create(&thread, NULL, stay, NULL), 0);
    pthread_detach(thread);
}

static void stay_forever(void *arg) {
    stay(arg);
}

static void leaves_a_child(void) {
    child_start(stay_forever, NULL);
}

static void leaves_a_file(void) {
    char path[512];
    snprintf(path, sizeof path, "%s/left", getenv("FERRY_DIR"));
    int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    check(fd >= 0);
    close(fd);
}

static void *fail_here(void *arg) {
    check(arg != NULL);
    return NULL;
}

static void fails_in_a_thread(void) {
    pthread_t thread;
    check_is(pthread_create(&thread, NULL, fail_here, NULL), 0);
    pthread_join(thread, NULL);
}

static void fail_in_member(ferry_t *node, void *arg) {
    (void)node;
    check(arg != NULL);
}

static void fails_in_a_member(where_t where) {
    crew_t *crew = crew_begin(where);
    crew_add(crew, fail_in_member, NULL);
    crew_end(crew);
}

int main(int argc, char **argv) {
    const test_t tests[] = {
        TEST(good),
        TEST(fails_a_check),
        TEST(misses_a_word_of_the_sentence),
        TEST(crashes),
        TEST(hangs),
        TEST(leaves_a_descriptor),
        TEST(leaves_a_mapping),
        TEST(leaves_a_thread),
        TEST(leaves_a_child),
        TEST(leaves_a_file),
        TEST(fails_in_a_thread),
        TEST_BOTH(fails_in_a_member),
    };
    return run_suite("broken", tests, sizeof tests / sizeof tests[0], argc, argv);
}
