/* SPDX-License-Identifier: MIT */
#include "description.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "json_in.h"
#include "options.h"
#include "say.h"

static const size_t longest = (size_t)4 << 20; /* bytes: it is for people */

/* Replaces `*text` by the string that comes. */
static void read_text(json_in_t *in, char **text) {
    free(*text);
    *text = json_in_text(in);
    if (*text != NULL)
        make_plain(*text);
}

static void read_method_field(json_in_t *in, const char *key, method_t *m) {
    if (strcmp(key, "name") == 0)
        read_text(in, &m->name);
    else if (strcmp(key, "input") == 0)
        read_text(in, &m->input);
    else if (strcmp(key, "output") == 0)
        read_text(in, &m->output);
    else if (strcmp(key, "comment") == 0)
        read_text(in, &m->comment);
    else if (strcmp(key, "idempotent") == 0)
        m->idempotent = json_in_bool(in);
    else if (strcmp(key, "streams") == 0)
        m->streams = json_in_bool(in);
    else
        json_in_skip(in);
}

/* The list stays consistent whatever happens: description_done frees it. */
static int read_method(json_in_t *in, description_t *d) {
    method_t *methods = realloc(d->methods, (d->n + 1) * sizeof *methods);
    char *key;

    if (methods == NULL)
        return -ENOMEM;
    d->methods = methods;
    method_t *m = &methods[d->n++];
    *m = (method_t){0};
    json_in_enter(in, '{');
    while ((key = json_in_member(in)) != NULL) {
        read_method_field(in, key, m);
        free(key);
    }
    return in->bad || m->name == NULL ? -EPROTO : 0;
}

static int read_field(json_in_t *in, const char *key, description_t *d) {
    int result = 0;

    if (strcmp(key, "comment") == 0) {
        read_text(in, &d->comment);
    } else if (strcmp(key, "descriptor") == 0) {
        d->descriptor = json_in_bool(in);
    } else if (strcmp(key, "methods") == 0) {
        json_in_enter(in, '[');
        while (result == 0 && json_in_item(in))
            result = read_method(in, d);
    } else {
        json_in_skip(in);
    }
    return result;
}

int description_read(description_t *d, const void *data, size_t len) {
    json_in_t in = json_in_of(data, len);
    int result = 0;
    char *key;

    *d = (description_t){0};
    if (len > longest)
        return -EPROTO;
    json_in_enter(&in, '{');
    while (result == 0 && (key = json_in_member(&in)) != NULL) {
        result = read_field(&in, key, d);
        free(key);
    }
    if (result == 0 && !json_in_is_over(&in))
        result = -EPROTO;
    if (result < 0)
        description_done(d);
    return result;
}

void description_done(description_t *d) {
    for (size_t i = 0; i < d->n; i++) {
        free(d->methods[i].name);
        free(d->methods[i].input);
        free(d->methods[i].output);
        free(d->methods[i].comment);
    }
    free(d->methods);
    free(d->comment);
    *d = (description_t){0};
}

const method_t *description_method(const description_t *d, const char *name) {
    for (size_t i = 0; i < d->n; i++) {
        if (strcmp(d->methods[i].name, name) == 0)
            return &d->methods[i];
    }
    return NULL;
}

const char *description_nearest(const description_t *d, const char *name) {
    const char **names = calloc(d->n + 1, sizeof *names);

    if (names == NULL)
        return NULL;
    for (size_t i = 0; i < d->n; i++)
        names[i] = d->methods[i].name;
    const char *nearest = nearest_word(name, names, d->n);
    free(names);
    return nearest;
}
