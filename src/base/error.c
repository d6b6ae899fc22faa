/* SPDX-License-Identifier: MIT
 *
 * base/error.c - see error.h.
 *
 * What every failure touches is one pointer, in the initial-exec TLS model (one instruction, no call).  The buffer for
 * formatted sentences is on the heap, made at a thread's first one: a library's thread-local variables are one block,
 * and of one in that model glibc has room for a few hundred bytes where it is loaded late, as by a language's binding
 * (ld.so(8), glibc.rtld.optional_static_tls).
 */
#include "base/error.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "base/assert.h"

static __thread const char *current __attribute__((tls_model("initial-exec")));
static __thread char *text __attribute__((tls_model("initial-exec"))); /* FI_ERROR_TEXT_MAX bytes; NULL: none yet */

/* ---- the buffer ---- */

static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t key; /* frees the buffer of a thread that ends */
static bool has_key;

/* Other keys' destructors may fail after this, and then have a new one. */
static void forget(void *buffer) {
    free(buffer);
    text = NULL;
    current = NULL;
}

static void make_key(void) {
    has_key = pthread_key_create(&key, forget) == 0;
}

static bool has_text(void) {
    if (text)
        return true;
    pthread_once(&once, make_key);
    text = has_key ? malloc(FI_ERROR_TEXT_MAX) : NULL;
    if (text && pthread_setspecific(key, text) != 0) {
        free(text);
        text = NULL;
    }
    return text != NULL;
}

/* ---- sentences ---- */

/* Formats beside `text` first, since an argument may be `text` itself. */
static void keep(const char *format, va_list args, const char *suffix) {
    char fresh[FI_ERROR_TEXT_MAX];
    int n = vsnprintf(fresh, sizeof fresh, format, args);
    size_t used = n < 0 ? 0 : (size_t)n;
    if (used < sizeof fresh && suffix != NULL) {
        n = snprintf(fresh + used, sizeof fresh - used, ": %s", suffix);
        used += n < 0 ? 0 : (size_t)n;
    }
    if (used >= sizeof fresh) {
        memcpy(fresh + sizeof fresh - 4, "...", 4);
        used = sizeof fresh - 1;
    }
    if (!has_text()) {
        current = "no memory, not even for the sentence that says what has failed: free some, or raise the limit "
                  "(ulimit -v, and memory.max of this control group)";
        return;
    }
    memcpy(text, fresh, used);
    text[used] = '\0';
    current = text;
}

int fi_fail(int err, const char *format, ...) {
    int saved = errno;
    va_list args;
    va_start(args, format);
    keep(format, args, NULL);
    va_end(args);
    fi_assert(err <= 0);
    errno = saved;
    return err;
}

/* How many there are, and how many more are needed. */
static const char *no_descriptors(char *buf, size_t cap) {
    struct rlimit limit = {0, 0};

    (void)getrlimit(RLIMIT_NOFILE, &limit);
    snprintf(
        buf, cap,
        "no descriptors left in this process, which may have %llu: raise the limit (ulimit -n, here up to %llu); a "
        "receiver takes 3 and 1 for each sender, a sender 2 for each receiver, each process met 3",
        (unsigned long long)limit.rlim_cur, (unsigned long long)limit.rlim_max);
    return buf;
}

/* The system's words, with what to do where they do not say it. */
static const char *words_for(int errnum, char *buf, size_t cap) {
    if (errnum == EMFILE)
        return no_descriptors(buf, cap);
    if (errnum == ENFILE)
        return "no descriptors left on this machine: raise fs.file-max";
    return strerror_r(errnum, buf, cap);
}

int fi_fail_errno(int errnum, const char *format, ...) {
    int saved = errno;
    char words[320];
    va_list args;
    va_start(args, format);
    keep(format, args, words_for(errnum, words, sizeof words));
    va_end(args);
    fi_assert(errnum > 0);
    errno = saved;
    return -errnum;
}

int fi_fail_static(int err, const char *sentence) {
    current = sentence;
    return err;
}

const char *fi_error_text(void) {
    return current == NULL ? "" : current;
}

#ifndef NDEBUG
void fi_assert_failed(const char *condition, const char *file, int line) {
    fprintf(stderr, "ferry: %s:%d: this should hold: %s\n", file, line, condition);
    abort();
}
#endif
