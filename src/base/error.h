/* SPDX-License-Identifier: MIT
 *
 * base/error.h - the one place that turns an error into words.
 *
 * A function that fails says why in a sentence (what was wrong, where, what would be right) and returns the negative
 * errno value, in one statement:
 *
 *     return fi_fail(-EINVAL, "space name \"%s\" starts with a dot; begin it with a letter, a digit, _ or -", name);
 *
 * The sentence belongs to the calling thread and stays until that thread's next failure.  An argument may be the
 * current sentence itself: fi_fail(err, "cannot join: %s", fi_error_text()).
 */
#ifndef FI_BASE_ERROR_H
#define FI_BASE_ERROR_H

#include <errno.h>
#include <stdbool.h>

/** Longest sentence in bytes, with its end; a longer one is cut and ends in "...". */
#define FI_ERROR_TEXT_MAX 2048

/** Stores the sentence; returns `err`, a negative errno value. Leaves errno as it was. */
int fi_fail(int err, const char *format, ...) __attribute__((format(printf, 2, 3), cold));

/** The same with ": " and the system's words for `errnum`, a positive errno value. Returns -errnum. */
int fi_fail_errno(int errnum, const char *format, ...) __attribute__((format(printf, 2, 3), cold));

/** The cheap one for failures that are part of normal work (-EAGAIN): only the pointer is kept. A string literal. */
int fi_fail_static(int err, const char *sentence);

/** Are descriptors or memory missing? There may be some a little later. */
static inline bool fi_is_lack(int r) {
    return r == -EMFILE || r == -ENFILE || r == -ENOMEM;
}

/** Ends a sentence about a thread that could not be started. */
#define FI_SEE_THREAD_LIMITS "(see ulimit -u, and pids.max of this control group)"

/** This thread's last sentence, "" when there is none. Never NULL. */
const char *fi_error_text(void);

#endif
