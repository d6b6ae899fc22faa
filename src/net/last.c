/* SPDX-License-Identifier: MIT */
#include "net/last.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The value of a letter; 64: it is none. */
static unsigned char letters[256];

__attribute__((constructor)) static void fill_letters(void) {
    static const char all[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

    memset(letters, 64, sizeof letters);
    for (unsigned i = 0; i < 64; i++) {
        letters[(unsigned char)all[i]] = (unsigned char)i;
    }
}

/* What follows `"key":` in the answer, which ends in a zero. The keys that are looked for stand before any bytes of
 * others'. */
static const char *value_of(const char *json, const char *key) {
    const char *at = strstr(json, key);

    return at ? at + strlen(key) : NULL;
}

/* How many bytes stand there in base64. False: that is no base64. */
static bool measure(const char *text, size_t *len) {
    size_t n = strcspn(text, "\"");
    size_t pad = n >= 2 && text[n - 1] == '=' ? 1 + (text[n - 2] == '=') : 0;

    if (text[n] != '"' || n % 4 != 0) {
        return false;
    }
    for (size_t i = 0; i < n - pad; i++) {
        if (letters[(unsigned char)text[i]] == 64) {
            return false;
        }
    }
    *len = n / 4 * 3 - pad;
    return true;
}

/* libnats ends each message with a zero. */
natsStatus fi_last_read(natsMsg *answer, int *error, fi_last_t *last) {
    const char *json = fi_nats.natsMsg_GetData(answer);

    *last = (fi_last_t){.answer = answer};
    if (fi_nats.natsMsg_GetDataLength(answer) == 0) {
        return NATS_PROTOCOL_ERROR;
    }
    const char *code = value_of(json, "\"err_code\":");
    const char *number = value_of(json, "\"seq\":");
    const char *data = value_of(json, "\"data\":\"");

    if (code) {
        *error = (int)(strtoul(code, NULL, 10) & 0xffff);
        return NATS_NOT_FOUND;
    }
    last->number = number ? strtoull(number, NULL, 10) : 0;
    last->text = data ? data : "";
    return last->number != 0 && (!data || measure(data, &last->len)) ? NATS_OK : NATS_PROTOCOL_ERROR;
}

natsStatus fi_last_ask(fi_ask_t *ask, const char *stream, const char *subject, fi_last_t *last) {
    char to[FI_SUBJECT_MAX + 32];
    char question[FI_SUBJECT_MAX + 32];
    natsMsg *answer = NULL;
    int code = 0;

    *last = (fi_last_t){.number = 0};
    snprintf(to, sizeof to, "$JS.API.STREAM.MSG.GET.%s", stream);
    int n = snprintf(question, sizeof question, "{\"last_by_subj\":\"%s\"}", subject);
    natsStatus s = fi_nats.natsConnection_Request(&answer, ask->net->control, to, question, n, ask->options.Wait);
    if (s == NATS_OK) {
        s = fi_last_read(answer, &code, last);
        ask->code = (jsErrCode)code;
    }
    if (s != NATS_OK) {
        fi_last_done(last);
    }
    return s;
}

void fi_last_copy(const fi_last_t *last, void *buf) {
    const unsigned char *from = (const unsigned char *)last->text;
    unsigned char *to = buf;
    size_t left = last->len;

    for (; left >= 3; left -= 3, from += 4, to += 3) {
        uint32_t bits = (uint32_t)letters[from[0]] << 18 | (uint32_t)letters[from[1]] << 12 |
                        (uint32_t)letters[from[2]] << 6 | letters[from[3]];
        to[0] = (unsigned char)(bits >> 16);
        to[1] = (unsigned char)(bits >> 8);
        to[2] = (unsigned char)bits;
    }
    if (left > 0) {
        to[0] = (unsigned char)(letters[from[0]] << 2 | letters[from[1]] >> 4);
    }
    if (left > 1) {
        to[1] = (unsigned char)(letters[from[1]] << 4 | letters[from[2]] >> 2);
    }
}

void fi_last_done(fi_last_t *last) {
    fi_nats.natsMsg_Destroy(last->answer);
    last->answer = NULL;
}
