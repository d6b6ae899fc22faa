/* SPDX-License-Identifier: MIT
 *
 * check.c - checks, patterns and bounded waits.
 */
#define FERRY_TESTS_SHORT_FORMS
#include "harness.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

static __thread const char *caller_file;
static __thread int caller_line;

void called_from(const char *file, int line) {
    caller_file = file;
    caller_line = line;
}

static const char *base_name(const char *path) {
    const char *name = strrchr(path, '/');
    return name ? name + 1 : path;
}

static bool in_short_form(const char *file) {
    static const char *const files[] = {"calls.c", "cells.c", "check.c", "crew.c", "objects.c", "short.c"};
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++)
        if (strcmp(base_name(file), files[i]) == 0)
            return true;
    return false;
}

/* Ends this process: a failed check may stand in any thread and any child, from which cmocka could not return. */
_Noreturn static void give_up(const char *file, int line, const char *sentence) {
    if (caller_file && in_short_form(file))
        fprintf(stderr, "# called from %s:%d\n", base_name(caller_file), caller_line);
    fprintf(stderr, "# %s:%d: %s (pid %d)\n", base_name(file), line, sentence, (int)getpid());
    fflush(stderr);
    _exit(1);
}

_Noreturn void check_failed(const char *text, const char *file, int line) {
    char sentence[1024];
    snprintf(sentence, sizeof sentence, "this does not hold: %s [%s]", text, ferry_last_error());
    give_up(file, line, sentence);
}

static const char *errno_name(int64_t value) {
    return value < 0 && value > -4096 ? strerrorname_np((int)-value) : NULL;
}

static void show(char *out, size_t size, int64_t value) {
    const char *name = errno_name(value);
    if (name)
        snprintf(out, size, "-%s", name);
    else
        snprintf(out, size, "%lld", (long long)value);
}

void check_is_at(int64_t got, int64_t want, const char *got_text, const char *want_text, const char *file, int line) {
    char sentence[1024], got_shown[32], want_shown[32];
    if (got == want)
        return;
    show(got_shown, sizeof got_shown, got);
    show(want_shown, sizeof want_shown, want);
    snprintf(sentence, sizeof sentence, "%s is %s, not %s (%s) [%s]", got_text, got_shown, want_shown, want_text,
             ferry_last_error());
    give_up(file, line, sentence);
}

void check_error_at(int64_t got, int want, const char *got_text, const char *want_text, const char *words,
                    const char *file, int line) {
    char said[1024], list[256], sentence[2048];
    snprintf(said, sizeof said, "%s", ferry_last_error());
    check_is_at(got, want, got_text, want_text, file, line);
    if (said[0] == '\0') {
        snprintf(sentence, sizeof sentence, "%s answered %s without a sentence", got_text, want_text);
        give_up(file, line, sentence);
    }
    snprintf(list, sizeof list, "%s", words);
    for (char *rest = NULL, *word = strtok_r(list, " ", &rest); word; word = strtok_r(NULL, " ", &rest)) {
        if (strcasestr(said, word))
            continue;
        snprintf(sentence, sizeof sentence, "the sentence for %s does not say \"%s\": %s", got_text, word, said);
        give_up(file, line, sentence);
    }
}

int64_t monotonic(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * SECOND + t.tv_nsec;
}

void nap(int64_t nanoseconds) {
    struct timespec t = {nanoseconds / SECOND, nanoseconds % SECOND};
    while (nanosleep(&t, &t) < 0 && errno == EINTR) {
    }
}

void allow_descriptors(unsigned count) {
    struct rlimit limit;
    check_is(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = count;
    check_is(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

/* The time is looked at before the condition: what has come in time counts, however late this thread may look. */
void await_that(bool (*condition)(void *arg), void *arg, const char *sentence) {
    int64_t end = monotonic() + PATIENCE;
    for (bool late = false; !condition(arg);) {
        if (late)
            give_up(__FILE__, __LINE__, sentence);
        nap(MILLISECOND / 4);
        late = monotonic() > end;
    }
}

void check_in_some_try(bool (*holds)(where_t where), where_t where, const char *sentence) {
    for (unsigned i = 0; i < 6; i++) {
        if (holds(where))
            return;
        fprintf(stderr, "# once it was not so: %s\n", sentence);
    }
    give_up(__FILE__, __LINE__, sentence);
}

void await(const atomic_uint *flag, unsigned value) {
    int64_t end = monotonic() + PATIENCE;
    for (bool late = false; atomic_load(flag) < value;) {
        char sentence[128];
        snprintf(sentence, sizeof sentence, "waited for a flag to become %u; it is %u", value, atomic_load(flag));
        if (late)
            give_up(__FILE__, __LINE__, sentence);
        nap(MILLISECOND / 4);
        late = monotonic() > end;
    }
}

void *share(size_t size) {
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    check(memory != MAP_FAILED);
    return memory;
}

static uint64_t mix(uint64_t x) {
    x ^= x >> 33;
    x *= 0xff51afd7ed558ccdu;
    x ^= x >> 29;
    return x;
}

/* The pattern's eight bytes at `at`. */
static uint64_t pattern(uint64_t seed, size_t at) {
    return mix(seed * 0x9e3779b97f4a7c15u + at);
}

void fill(void *data, size_t len, uint64_t seed) {
    unsigned char *p = data;
    size_t i = 0;
    for (; len - i >= sizeof(uint64_t); i += sizeof(uint64_t)) {
        uint64_t word = pattern(seed, i);
        memcpy(p + i, &word, sizeof word);
    }
    if (i < len) {
        uint64_t last = pattern(seed, i);
        memcpy(p + i, &last, len - i);
    }
}

/* Whole words are compared without a call: tests look at much memory. */
bool filled(const void *data, size_t len, uint64_t seed) {
    const unsigned char *p = data;
    size_t i = 0;
    for (; len - i >= sizeof(uint64_t); i += sizeof(uint64_t)) {
        uint64_t word;
        memcpy(&word, p + i, sizeof word);
        if (word != pattern(seed, i))
            return false;
    }
    uint64_t last = pattern(seed, i);
    return i == len || memcmp(p + i, &last, len - i) == 0;
}
