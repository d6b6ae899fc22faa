/* SPDX-License-Identifier: MIT
 *
 * What a service tells of itself to any NATS client, as ADR-32 has it: $SRV.PING, $SRV.INFO and $SRV.STATS.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/error.h"
#include "base/json.h"
#include "ferry/base.h"
#include "net/calls.h"
#include "platform/clock.h"

static void put_head(FILE *f, const fi_far_service_t *fs, const char *type) {
    fprintf(f, "{\"type\":\"io.nats.micro.v1.%s\",\"name\":", type);
    fi_json_text(f, fs->name);
    fprintf(f, ",\"id\":\"%s\",\"version\":\"%d.%d.%d\",\"metadata\":{\"ferry.space\":", fs->id, FERRY_VERSION_MAJOR,
            FERRY_VERSION_MINOR, FERRY_VERSION_PATCH);
    fi_json_text(f, fs->calls->net->address.space);
    fputs(",\"ferry.service\":", f);
    fi_json_text(f, fs->service->name);
    fprintf(f, ",\"ferry.node\":\"%016" PRIx64 "\"}", fs->calls->net->node->id);
}

static void put_endpoint(FILE *f, const fi_far_service_t *fs, uint32_t i) {
    fputs("{\"name\":", f);
    fi_json_text(f, fs->endpoints[i].method->name);
    fputs(",\"subject\":", f);
    char subject[FI_SUBJECT_MAX + FI_METHOD_NAME_MAX + 2];
    snprintf(subject, sizeof subject, "%s.%s", fs->subject, fs->methods[i]);
    fi_json_text(f, subject);
    fputs(",\"queue_group\":\"q\"", f);
}

static void put_info(FILE *f, const fi_far_service_t *fs, uint32_t i) {
    const fi_method_t *m = fs->endpoints[i].method;

    fprintf(f, ",\"metadata\":{\"idempotent\":\"%s\",\"streams\":\"%s\"", m->idempotent ? "true" : "false",
            m->streams ? "true" : "false");
    if (m->comment) {
        fputs(",\"comment\":", f);
        fi_json_text(f, m->comment);
    }
    fputs("}}", f);
}

static void put_stats(FILE *f, const fi_endpoint_t *e) {
    fprintf(f,
            ",\"num_requests\":%" PRIu64 ",\"num_errors\":%" PRIu64 ",\"last_error\":\"\",\"processing_time\":%" PRIu64
            ",\"average_processing_time\":%" PRIu64 "}",
            e->calls, e->errors, e->ns, e->calls ? e->ns / e->calls : 0);
}

static void put_endpoints(FILE *f, const fi_far_service_t *fs, bool stats) {
    bool first = true;

    fputs(",\"endpoints\":[", f);
    for (uint32_t i = 0; i < fs->endpoint_count; i++) {
        if (fs->endpoints[i].method->name[0] == '$') {
            continue;
        }
        fputs(first ? "" : ",", f);
        first = false;
        put_endpoint(f, fs, i);
        if (stats) {
            put_stats(f, &fs->endpoints[i]);
        } else {
            put_info(f, fs, i);
        }
    }
    fputc(']', f);
}

static void put_since(FILE *f, const fi_far_service_t *fs) {
    time_t since = (time_t)fs->wall_since;
    char text[40];
    struct tm tm;

    strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&since, &tm));
    fprintf(f, ",\"started\":\"%s\"", text);
}

/* With the lock. */
static void put_answer(FILE *f, const fi_far_service_t *fs, const char *verb) {
    if (strcmp(verb, "PING") == 0) {
        put_head(f, fs, "ping_response");
    } else if (strcmp(verb, "INFO") == 0) {
        put_head(f, fs, "info_response");
        fputs(",\"description\":", f);
        fi_json_text(f, fs->service->comment ? fs->service->comment : "");
        put_endpoints(f, fs, false);
    } else {
        put_head(f, fs, "stats_response");
        put_since(f, fs);
        put_endpoints(f, fs, true);
    }
    fputc('}', f);
}

/* The word after "$SRV."; false: none that is known. */
static bool verb_of(natsMsg *msg, char verb[8]) {
    const char *word = fi_nats.natsMsg_GetSubject(msg) + strlen("$SRV.");
    size_t n = strcspn(word, ".");

    if (n < 4 || n > 5) {
        return false;
    }
    memcpy(verb, word, n);
    verb[n] = '\0';
    return strcmp(verb, "PING") == 0 || strcmp(verb, "INFO") == 0 || strcmp(verb, "STATS") == 0;
}

/* With the lock. */
static void answer(const fi_far_service_t *fs, natsMsg *msg, const char *verb) {
    const char *reply = fi_nats.natsMsg_GetReply(msg);
    char *text = NULL;
    size_t len = 0;

    FILE *f = fs->service && reply ? open_memstream(&text, &len) : NULL;
    if (!f) {
        return;
    }
    put_answer(f, fs, verb);
    if (fclose(f) == 0) {
        (void)fi_calls_publish(fs->calls, fs->calls->net->control, reply, NULL, text, len);
    }
    free(text);
}

void fi_srv_hear(natsConnection *c, natsSubscription *sub, natsMsg *msg, void *service) {
    fi_far_service_t *fs = service;
    char verb[8];

    (void)c;
    (void)sub;
    if (fi_calls_enter(fs->calls)) {
        if (verb_of(msg, verb)) {
            pthread_mutex_lock(&fs->calls->lock);
            answer(fs, msg, verb);
            pthread_mutex_unlock(&fs->calls->lock);
        }
        fi_calls_leave(fs->calls);
    }
    fi_nats.natsMsg_Destroy(msg);
}

void fi_srv_hear_all(natsConnection *c, natsSubscription *sub, natsMsg *msg, void *arg) {
    fi_calls_t *calls = arg;
    struct fi_list *at;
    struct fi_list *after;
    char verb[8];

    (void)c;
    (void)sub;
    if (fi_calls_enter(calls)) {
        if (verb_of(msg, verb)) {
            pthread_mutex_lock(&calls->lock);
            fi_list_each(at, after, &calls->services) {
                answer(fi_container(at, fi_far_service_t, link), msg, verb);
            }
            pthread_mutex_unlock(&calls->lock);
        }
        fi_calls_leave(calls);
    }
    fi_nats.natsMsg_Destroy(msg);
}

/* ADR-32 allows letters, digits, - and _ in a service's name. */
static void set_name(fi_far_service_t *fs) {
    snprintf(fs->name, sizeof fs->name, "%s", fs->service->name);
    for (char *c = fs->name; *c; c++) {
        *c = *c == '.' ? '_' : *c;
    }
    snprintf(fs->id, sizeof fs->id, "%016" PRIx64 "%" PRIx32, fs->calls->net->node->id, fs->number);
}

static int listen_to(fi_far_service_t *fs, const char *subject, natsSubscription **sub) {
    (void)fi_add32(&fs->refs, 1);
    return fi_calls_subscribe(fs->calls, subject, NULL, fi_srv_hear, fs, fi_far_service_unref, sub);
}

int fi_srv_open(fi_far_service_t *fs) {
    char subject[FI_SUBJECT_MAX];

    set_name(fs);
    snprintf(subject, sizeof subject, "$SRV.*.%s", fs->name);
    int r = listen_to(fs, subject, &fs->srv_name);
    if (r == 0) {
        snprintf(subject, sizeof subject, "$SRV.*.%s.%s", fs->name, fs->id);
        r = listen_to(fs, subject, &fs->srv_id);
    }
    return r;
}
