/* SPDX-License-Identifier: MIT
 *
 * service.c - the methods: each takes its argument apart, asks the store and answers.
 *
 * Several threads run them at once.  An argument stands in the caller's memory, and a hostile caller can change it
 * meanwhile: so what decides about anything is copied first.
 */
#include "key_value.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static int no_such_key(ferry_request_t *rq) {
    return ferry_reply_error(rq, NO_SUCH_KEY, "there is no such key", NULL, 0);
}

/** Copies a key. False: it is none. */
static bool read_key(char key[KEY_MOST + 1], const void *data, size_t size) {
    if (size == 0 || size > KEY_MOST) {
        return false;
    }
    memcpy(key, data, size);
    key[size] = '\0';
    return strlen(key) == size;
}

static int put(ferry_request_t *rq, const void *data, size_t size, void *store) {
    char key[KEY_MOST + 1];
    put_t head;
    if (size < sizeof(head)) {
        return -EINVAL;
    }
    memcpy(&head, data, sizeof(head));
    const char *bytes = (const char *)data + sizeof(head);
    size -= sizeof(head);
    if (head.key_size > size || !read_key(key, bytes, head.key_size)) {
        return -EINVAL;
    }
    value_t *v = value_new(size - head.key_size);
    if (v == NULL) {
        return -ENOMEM;
    }
    memcpy(v->bytes, bytes + head.key_size, v->size); /* the only copy: from the caller's memory into the store */
    version_t version = 0;
    int r = store_put(store, key, head.key_size, v, head.expected, &version);
    if (r < 0) {
        value_release(v);
    }
    return r == -EAGAIN ? ferry_reply_error(rq, OTHER_VERSION, "it has another version", &version, sizeof(version))
           : r < 0      ? r
                        : ferry_reply(rq, &version, sizeof(version));
}

/** The result is built where the caller will read it: so even a large value is copied once, out of the store. */
static int reply_value(ferry_request_t *rq, const value_t *v) {
    void *data;
    ferry_msg_t *m;
    int r = ferry_reply_new(rq, sizeof(value_reply_t) + v->size, &data, &m);
    if (r < 0) {
        return r;
    }
    value_reply_t *reply = data;
    reply->version = v->version;
    memcpy(reply->bytes, v->bytes, v->size);
    r = ferry_reply_msg(rq, m);
    ferry_msg_release(m); /* ours only: it lives until the caller has released it */
    return r;
}

static int get(ferry_request_t *rq, const void *data, size_t size, void *store) {
    char key[KEY_MOST + 1];
    if (!read_key(key, data, size)) {
        return -EINVAL;
    }
    value_t *v = store_get(store, key, size);
    if (v == NULL) {
        return no_such_key(rq);
    }
    int r = reply_value(rq, v); /* may wait for the caller to release earlier ones; no lock is held */
    value_release(v);
    return r;
}

static int remove_key(ferry_request_t *rq, const void *data, size_t size, void *store) {
    char key[KEY_MOST + 1];
    if (!read_key(key, data, size)) {
        return -EINVAL;
    }
    return store_remove(store, key, size) < 0 ? no_such_key(rq) : 0;
}

/** A slow reader holds its stream up, and not the store: it gets the keys that there were when it asked. */
static int list(ferry_request_t *rq, const void *data, size_t size, void *store) {
    char prefix[KEY_MOST + 1] = "";
    if (size > 0 && !read_key(prefix, data, size)) {
        return -EINVAL;
    }
    char *keys = store_keys(store, prefix, size);
    if (keys == NULL) {
        return -ENOMEM;
    }
    int r = 0;
    for (const char *key = keys; r == 0 && *key != '\0'; key += strlen(key) + 1) {
        r = ferry_reply_more(rq, key, strlen(key)); /* fails when nobody wants more */
    }
    free(keys);
    return r;
}

int key_value_open(ferry_t *node, store_t *store, ferry_service_t **service) {
    const ferry_service_options_t options = {.comment = "keeps values under keys, in memory"};
    const ferry_method_options_t puts = {.input = "put_t", .output = "version_t", .comment = "stores a value"};
    const ferry_method_options_t gets = {.idempotent = 1, .output = "value_reply_t", .comment = "the value of a key"};
    const ferry_method_options_t removes = {.comment = "removes a key"};
    const ferry_method_options_t lists = {
        .idempotent = 1, .streams = 1, .comment = "the keys that begin with a prefix"};
    ferry_service_t *s;
    int r = ferry_service_open(node, KEY_VALUE, &options, &s);
    if (r < 0) {
        return r;
    }
    if ((r = ferry_service_method(s, "put", put, store, &puts)) < 0 ||
        (r = ferry_service_method(s, "get", get, store, &gets)) < 0 ||
        (r = ferry_service_method(s, "remove", remove_key, store, &removes)) < 0 ||
        (r = ferry_service_method(s, "list", list, store, &lists)) < 0) {
        ferry_service_close(s, FERRY_NOW);
        return r;
    }
    *service = s;
    return 0;
}
