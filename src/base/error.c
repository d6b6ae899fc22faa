/* SPDX-License-Identifier: MIT
 *
 * base/error.c - see error.h.
 *
 * What every failure touches is one pointer, in the initial-exec TLS model (one instruction, no call).  The buffer for
 * formatted sentences is in the general model: 1 KiB in the initial-exec model would use up most of what glibc keeps
 * for libraries that are loaded late, and a language binding could then fail to load us at all.
 */
#include "base/error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "base/assert.h"

static __thread const char *current __attribute__((tls_model("initial-exec")));
static __thread char text[FI_ERROR_TEXT_MAX];

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
