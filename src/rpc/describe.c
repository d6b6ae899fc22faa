/* SPDX-License-Identifier: MIT
 *
 * What a service tells of itself.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/error.h"
#include "base/json.h"
#include "rpc/service.h"

static void put_field(FILE *f, const char *field, const char *text) {
    if (text) {
        fprintf(f, ", \"%s\": ", field);
        fi_json_text(f, text);
    }
}

static void put_method(FILE *f, const fi_method_t *m) {
    fputs("{\"name\": ", f);
    fi_json_text(f, m->name);
    fprintf(f, ", \"idempotent\": %s, \"streams\": %s", m->idempotent ? "true" : "false",
            m->streams ? "true" : "false");
    put_field(f, "input", m->input);
    put_field(f, "output", m->output);
    put_field(f, "comment", m->comment);
    fputc('}', f);
}

static int by_name(const void *a, const void *b) {
    return strcmp((*(const fi_method_t *const *)a)->name, (*(const fi_method_t *const *)b)->name);
}

/* The program's own methods, sorted. Returns how many, or -ENOMEM. */
static int list_methods(const ferry_service_t *s, const fi_method_t ***out) {
    const fi_method_t **list = calloc(s->method_count, sizeof *list);
    uint32_t count = 0;

    if (!list) {
        return -ENOMEM;
    }
    for (uint32_t i = 0; i < s->room; i++) {
        if (s->methods[i] && s->methods[i]->name[0] != '$') {
            list[count++] = s->methods[i];
        }
    }
    qsort(list, count, sizeof(const fi_method_t *), by_name);
    *out = list;
    return (int)count;
}

static void put_service(FILE *f, const ferry_service_t *s, const fi_method_t **list, int count) {
    fputs("{\"service\": ", f);
    fi_json_text(f, s->name);
    put_field(f, "comment", s->comment);
    fprintf(f, ", \"descriptor\": %s, \"methods\": [", s->descriptor_size ? "true" : "false");
    for (int i = 0; i < count; i++) {
        fputs(i ? ", " : "", f);
        put_method(f, list[i]);
    }
    fputs("]}", f);
}

int fi_describe(ferry_request_t *rq, const void *data, size_t size, void *service) {
    const ferry_service_t *s = service;
    const fi_method_t **list = NULL;
    char *text = NULL;
    size_t len = 0;

    (void)data;
    (void)size;
    int count = list_methods(s, &list);
    FILE *f = count < 0 ? NULL : open_memstream(&text, &len);
    if (!f) {
        free(list);
        return -ENOMEM;
    }
    put_service(f, s, list, count);
    free(list);
    int r = fclose(f) == 0 ? fi_reply(rq, FI_REPLY_RESULT, 0, text, len) : -ENOMEM;
    free(text);
    return r;
}

int fi_describe_types(ferry_request_t *rq, const void *data, size_t size, void *service) {
    const ferry_service_t *s = service;

    (void)data;
    (void)size;
    return fi_reply(rq, FI_REPLY_RESULT, 0, s->descriptor, s->descriptor_size);
}
