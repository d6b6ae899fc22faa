/* SPDX-License-Identifier: MIT
 *
 * node/shown.c - see shown.h.
 */
#include "node/shown.h"

#include <stdio.h>
#include <string.h>

#include "node/contract.h"

/* Bytes of the service's name in "~SERVICE.NODE.END"; it may have dots itself. */
static int service_of_replies(const char *channel) {
    const char *last = strrchr(channel, '.');
    const char *before = last ? memrchr(channel, '.', (size_t)(last - channel)) : NULL;

    return before ? (int)(before - channel - 1) : (int)strlen(channel + 1);
}

const char *fi_channel_shown(const char *channel) {
    static __thread char shown[128] __attribute__((tls_model("initial-exec")));

    if (channel[0] == FI_CALLS)
        snprintf(shown, sizeof shown, "calls of %s", channel + 1);
    else if (channel[0] == FI_REPLIES)
        snprintf(shown, sizeof shown, "replies of %.*s", service_of_replies(channel), channel + 1);
    else
        return fi_channel_words(channel).name;
    return shown;
}
