/* SPDX-License-Identifier: MIT
 *
 * Services that were not made with Ferry: which endpoints they have, as $SRV.INFO.NAME tells.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "net/calls.h"
#include "platform/clock.h"

#define ASK_NS 1000000000ll
#define MOST_ENDPOINTS 1024u
#define DEEPEST 16u

/* JSON, one thing after the other. What it says is not believed: only its ends matter. */
typedef struct json {
    const char *at;
    const char *end;
    unsigned depth;
} json_t;

static void skip_blanks(json_t *j) {
    while (j->at < j->end && (*j->at == ' ' || *j->at == '\n' || *j->at == '\t' || *j->at == '\r')) {
        j->at++;
    }
}

static bool next_is(json_t *j, char c) {
    skip_blanks(j);
    if (j->at < j->end && *j->at == c) {
        j->at++;
        return true;
    }
    return false;
}

/* `out` NULL: it does not matter. What is longer than `cap` is no name of ours: it becomes "". */
static bool take_string(json_t *j, char *out, size_t cap) {
    size_t n = 0;

    if (!next_is(j, '"')) {
        return false;
    }
    while (j->at < j->end && *j->at != '"') {
        char c = *j->at++;
        if (c == '\\') {
            if (j->at == j->end) {
                return false;
            }
            c = *j->at++;
            if (c == 'u') {
                n = cap; /* neither names nor subjects need it */
            }
        }
        if (out && n + 1 < cap) {
            out[n] = c;
        }
        n++;
    }
    if (out) {
        out[n < cap ? n : 0] = '\0';
    }
    return next_is(j, '"');
}

static bool skip_value(json_t *j);

static bool skip_many(json_t *j, char close, bool named) {
    if (++j->depth > DEEPEST) {
        return false;
    }
    if (!next_is(j, close)) {
        do {
            if (named && !(take_string(j, NULL, 0) && next_is(j, ':'))) {
                return false;
            }
            if (!skip_value(j)) {
                return false;
            }
        } while (next_is(j, ','));
        if (!next_is(j, close)) {
            return false;
        }
    }
    j->depth--;
    return true;
}

static bool skip_value(json_t *j) {
    skip_blanks(j);
    if (j->at == j->end) {
        return false;
    }
    if (*j->at == '"') {
        return take_string(j, NULL, 0);
    }
    if (next_is(j, '{')) {
        return skip_many(j, '}', true);
    }
    if (next_is(j, '[')) {
        return skip_many(j, ']', false);
    }
    size_t n = 0;
    while (j->at < j->end && strchr("+-.0123456789aeflnrstuE", *j->at)) {
        j->at++;
        n++;
    }
    return n > 0;
}

static bool add(fi_foreign_t **list, const char *name, const char *subject) {
    fi_foreign_t *f = calloc(1, sizeof *f);

    if (f) {
        f->name = strdup(name);
        f->subject = strdup(subject);
        f->next = *list;
        *list = f;
    }
    return f && f->name && f->subject;
}

/* A subject that a request can be sent to. */
static bool is_subject(const char *subject) {
    for (const char *c = subject; *c; c++) {
        if ((unsigned char)*c <= ' ' || *c == '*' || *c == '>' || *c == 0x7f) {
            return false;
        }
    }
    return *subject != '\0';
}

static bool take_endpoint(json_t *j, fi_foreign_t **list) {
    char name[FI_METHOD_NAME_MAX + 1] = "";
    char subject[FI_SUBJECT_MAX] = "";
    char key[16];

    if (!next_is(j, '{')) {
        return false;
    }
    do {
        if (!take_string(j, key, sizeof key) || !next_is(j, ':')) {
            return false;
        }
        bool good = strcmp(key, "name") == 0      ? take_string(j, name, sizeof name)
                    : strcmp(key, "subject") == 0 ? take_string(j, subject, sizeof subject)
                                                  : skip_value(j);
        if (!good) {
            return false;
        }
    } while (next_is(j, ','));
    if (!next_is(j, '}')) {
        return false;
    }
    bool usable = name[0] && is_subject(subject) && strncmp(subject, "ferry.", 6) != 0;
    return !usable || add(list, name, subject);
}

static bool take_endpoints(json_t *j, fi_foreign_t **list) {
    unsigned count = 0;

    if (!next_is(j, '[')) {
        return skip_value(j);
    }
    if (next_is(j, ']')) {
        return true;
    }
    do {
        if (++count > MOST_ENDPOINTS || !take_endpoint(j, list)) {
            return false;
        }
    } while (next_is(j, ','));
    return next_is(j, ']');
}

static void take_info(const char *text, size_t len, fi_foreign_t **list) {
    json_t j = {text, text + len, 0};
    char key[16];

    if (!next_is(&j, '{')) {
        return;
    }
    do {
        if (!take_string(&j, key, sizeof key) || !next_is(&j, ':')) {
            return;
        }
        if (!(strcmp(key, "endpoints") == 0 ? take_endpoints(&j, list) : skip_value(&j))) {
            return;
        }
    } while (next_is(&j, ','));
}

void fi_foreign_subject(const char *verb, const char *service, char subject[FI_SUBJECT_MAX]) {
    int before = snprintf(subject, FI_SUBJECT_MAX, "$SRV.%s.", verb);

    snprintf(subject + before, FI_SUBJECT_MAX - (size_t)before, "%s", service);
    for (char *c = subject + before; *c; c++) {
        *c = *c == '.' ? '_' : *c;
    }
}

bool fi_foreign_find(fi_calls_t *calls, const char *service, int64_t deadline, fi_foreign_t **list) {
    char subject[FI_SUBJECT_MAX];
    natsMsg *msg = NULL;
    int64_t ms = fi_earlier(fi_time_left(deadline), ASK_NS) / 1000000;

    *list = NULL;
    fi_foreign_subject("INFO", service, subject);
    natsStatus s = fi_nats.natsConnection_Request(&msg, calls->net->control, subject, "", 0, ms > 0 ? ms : 1);
    if (s == NATS_OK) {
        take_info(fi_nats.natsMsg_GetData(msg), (size_t)fi_nats.natsMsg_GetDataLength(msg), list);
    }
    fi_nats.natsMsg_Destroy(msg);
    return s != NATS_NO_RESPONDERS;
}

void fi_foreign_free(fi_foreign_t *list) {
    while (list) {
        fi_foreign_t *next = list->next;
        free(list->name);
        free(list->subject);
        free(list);
        list = next;
    }
}

static void put_text(FILE *f, const char *text) {
    fputc('"', f);
    for (const unsigned char *c = (const unsigned char *)text; *c; c++) {
        fprintf(f, *c == '"' || *c == '\\' ? "\\%c" : *c < ' ' ? "\\u%04x" : "%c", *c);
    }
    fputc('"', f);
}

char *fi_foreign_describe(const char *service, const fi_foreign_t *list, size_t *len) {
    char *text = NULL;
    FILE *f = open_memstream(&text, len);

    if (!f) {
        return NULL;
    }
    fputs("{\"service\": ", f);
    put_text(f, service);
    fputs(", \"descriptor\": false, \"methods\": [", f);
    for (const fi_foreign_t *e = list; e; e = e->next) {
        fputs(e == list ? "{\"name\": " : ", {\"name\": ", f);
        put_text(f, e->name);
        fputs(", \"idempotent\": false, \"streams\": false}", f);
    }
    fputs("]}", f);
    if (fclose(f) != 0) {
        free(text);
        return NULL;
    }
    return text;
}
