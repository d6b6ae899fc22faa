/* SPDX-License-Identifier: MIT
 *
 * late_load.c - the library is loaded while a program runs, as by a plug-in or another language's binding, and unloaded
 * again. Then glibc has room for a few hundred bytes of its thread-local variables only, and threads that have used it
 * may end after it was unloaded.
 */
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <ferry/ferry.h>

#define FUNCTIONS(X) X(ferry_open) X(ferry_close) X(ferry_last_error) X(ferry_sender_open) X(ferry_sender_close)
#define MEMBER(name) __typeof__(&(name)) name;
#define LOAD(name) good = good && (*(void **)&late.name = dlsym(library, #name)) != NULL;

static struct { FUNCTIONS(MEMBER) } late;

static pthread_barrier_t used, unloaded;

static bool expect(bool holds, const char *what) {
    static unsigned count;
    printf("%s %u %s\n", holds ? "ok" : "not ok", ++count, what);
    fflush(stdout);
    return holds;
}

/* Opens an end, so that the library is told when the thread ends; and fails, so that there is a sentence. */
static bool use_it(ferry_t *node, const char *wrong) {
    ferry_sender_t *tx = NULL;
    ferry_sender_t *none = NULL;
    return late.ferry_sender_open(node, "late", FERRY_QUEUE, NULL, &tx) == 0 &&
           late.ferry_sender_open(node, wrong, FERRY_QUEUE, NULL, &none) == -EINVAL &&
           strstr(late.ferry_last_error(), wrong) && late.ferry_sender_close(tx, FERRY_NOW, NULL) == 0;
}

static void *outlive_it(void *node) {
    static bool good;
    good = use_it(node, "a/thread");
    pthread_barrier_wait(&used);
    pthread_barrier_wait(&unloaded);
    return good ? &good : NULL;
}

/* A directory for spaces, into which nobody else looks. */
static const char *make_directory(void) {
    static char path[4096];
    const char *base = getenv("FERRY_TEST_TMP");
    snprintf(path, sizeof path, "%s/late.XXXXXX", base ? base : "/tmp");
    return mkdtemp(path) && setenv("FERRY_DIR", path, 1) == 0 ? path : NULL;
}

int main(int argc, char **argv) {
    void *library = argc == 2 ? dlopen(argv[1], RTLD_NOW | RTLD_LOCAL) : NULL;
    bool good = library != NULL;
    FUNCTIONS(LOAD)
    if (!good)
        printf("# %s\n", dlerror());
    printf("1..3\n");
    if (!expect(good, "the_library_is_loaded_while_the_program_runs"))
        return 1;

    ferry_t *node = NULL;
    pthread_t thread;
    void *answer = NULL;
    const char *directory = make_directory();
    good = directory && late.ferry_open("test", NULL, &node) == 0;
    pthread_barrier_init(&used, NULL, 2);
    pthread_barrier_init(&unloaded, NULL, 2);
    good = good && pthread_create(&thread, NULL, outlive_it, node) == 0;
    if (!expect(good, "it_starts"))
        return 1;
    pthread_barrier_wait(&used);
    good = use_it(node, "the/first") && late.ferry_close(node) == 0 && dlclose(library) == 0;
    pthread_barrier_wait(&unloaded);
    good = pthread_join(thread, &answer) == 0 && answer && good;
    good = rmdir(directory) == 0 && good;
    return !expect(good, "a_thread_that_has_used_it_ends_after_it_was_unloaded");
}
