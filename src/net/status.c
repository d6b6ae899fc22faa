/* SPDX-License-Identifier: MIT
 *
 * What a consumer says in place of messages: a status, and with 409 words that tell which of many things it means.
 *
 *     100                                    idle heartbeat
 *     404, 408                               no messages, or the time is over
 *     409 Batch Completed                    all that was asked for came before the bytes were used up (2.10)
 *     409 Message Size Exceeds MaxBytes
 *     409 Exceeded MaxRequestBatch of N      a limit of the server's, or of who has changed the consumer
 *     409 Server Shutdown, Leadership Change, Exceeded MaxWaiting
 *     409 Consumer Deleted, Consumer is push based; 400; 503
 */
#include <stdlib.h>
#include <string.h>

#include "net/durable.h"

static const char *header_of(natsMsg *msg, const char *key) {
    const char *value = NULL;

    (void)fi_nats.natsMsgHeader_Get(msg, key, &value);
    return value ? value : "";
}

/* False: it is no limit with which anything could be asked for, or that was passed. */
static bool take_limit(const char *words, uint32_t *most) {
    static const char before[] = "Exceeded MaxRequestBatch of ";
    const char *at = strstr(words, before);
    unsigned long n = at ? strtoul(at + sizeof before - 1, NULL, 10) : 0;

    if (n > 0 && n <= *most) {
        *most = (uint32_t)n;
        return true;
    }
    return false;
}

static fi_word_t conflict(const char *words, uint32_t *most) {
    if (strstr(words, "Batch Completed")) {
        return FI_WORD_OVER;
    }
    if (strstr(words, "Exceeds MaxBytes")) {
        return FI_WORD_LARGE;
    }
    if (strstr(words, "Server Shutdown") || strstr(words, "Leadership Change") ||
        strstr(words, "Exceeded MaxWaiting")) {
        return FI_WORD_AWAY;
    }
    return take_limit(words, most) ? FI_WORD_FEWER : FI_WORD_TROUBLE;
}

fi_word_t fi_durable_word_on(natsMsg *msg, uint32_t *most) {
    const char *status = msg ? header_of(msg, "Status") : "503";

    if (strcmp(status, "100") == 0) {
        return FI_WORD_WAITS;
    }
    if (strcmp(status, "408") == 0 || strcmp(status, "404") == 0) {
        return FI_WORD_OVER;
    }
    return strcmp(status, "409") == 0 ? conflict(header_of(msg, "Description"), most) : FI_WORD_TROUBLE;
}
