/* SPDX-License-Identifier: MIT
 *
 * remote.c - the client's side: puts arguments together, and takes results apart.
 */
#include "key_value.h"

#include <errno.h>
#include <string.h>

int key_value_new(key_value_t *kv, const char *key, uint64_t expected, size_t size, void **value, ferry_msg_t **m) {
    size_t key_size = strlen(key);
    void *data;
    int r = ferry_client_new_msg(kv->client, sizeof(put_t) + key_size + size, kv->timeout, &data, m);
    if (r < 0) {
        return r;
    }
    put_t *put = data;
    *put = (put_t){.expected = expected, .key_size = (uint32_t)key_size};
    memcpy(put->bytes, key, key_size);
    *value = put->bytes + key_size;
    return 0;
}

/** Reads a version out of a result, or out of the detail of OTHER_VERSION. */
static int read_version(int r, ferry_msg_t *reply, uint64_t *version) {
    ferry_call_error_t error = {0};
    const void *data = ferry_msg_data(reply);
    size_t size = ferry_msg_size(reply);
    if (r == FERRY_CALL_FAILED && ferry_call_error(reply, &error) == 0) {
        if (error.code != OTHER_VERSION) {
            return error.code < 0 ? error.code : -EPROTO;
        }
        data = error.detail;
        size = error.detail_size;
    }
    if (size != sizeof(*version)) {
        return -EPROTO;
    }
    memcpy(version, data, size);
    return r;
}

int key_value_put(key_value_t *kv, ferry_msg_t *m, uint64_t *version) {
    ferry_msg_t *reply;
    int r = ferry_call_msg(kv->client, "put", m, kv->timeout, &reply);
    ferry_msg_release(m);
    if (r >= 0) {
        r = read_version(r, reply, version);
        ferry_msg_release(reply);
    }
    return r;
}

int key_value_put_one_way(key_value_t *kv, const char *key, const void *value, size_t size) {
    char memory[sizeof(put_t) + KEY_MOST + SMALL_VALUE];
    size_t key_size = strlen(key);
    if (key_size > KEY_MOST || size > SMALL_VALUE) {
        return -EMSGSIZE;
    }
    const put_t head = {.expected = ANY_VERSION, .key_size = (uint32_t)key_size};
    memcpy(memory, &head, sizeof(head));
    memcpy(memory + sizeof(head), key, key_size);
    memcpy(memory + sizeof(head) + key_size, value, size);
    return ferry_call_one_way(kv->client, "put", memory, sizeof(head) + key_size + size, kv->timeout);
}

int key_value_get(key_value_t *kv, const char *key, got_t *got) {
    int r = ferry_call(kv->client, "get", key, strlen(key), kv->timeout, &got->m);
    if (r < 0) {
        return r;
    }
    size_t size = ferry_msg_size(got->m);
    if (r == FERRY_CALL_FAILED || size < sizeof(value_reply_t)) {
        ferry_msg_release(got->m);
        return r == FERRY_CALL_FAILED ? r : -EPROTO;
    }
    const value_reply_t *reply = ferry_msg_data(got->m); /* where the server wrote it */
    got->version = reply->version;
    got->value = reply->bytes;
    got->size = size - sizeof(*reply);
    return 0;
}

int key_value_remove(key_value_t *kv, const char *key) {
    return ferry_call(kv->client, "remove", key, strlen(key), kv->timeout, NULL);
}

int key_value_list(key_value_t *kv, const char *prefix, each_key_t *each, void *arg) {
    ferry_call_t *call;
    ferry_msg_t *m;
    int stop = 0;
    int r = ferry_call_start(kv->client, "list", prefix, strlen(prefix), FERRY_CALL_STREAM, kv->timeout, &call);
    if (r < 0) {
        return r;
    }
    while (stop == 0 && (r = ferry_call_wait(call, FERRY_FOREVER, &m)) == FERRY_CALL_MORE) {
        stop = each(ferry_msg_data(m), ferry_msg_size(m), arg);
        ferry_msg_release(m);
    }
    if (r == FERRY_CALL_FAILED) {
        ferry_msg_release(m);
    }
    ferry_call_release(call); /* if it has not ended yet, the server is told to stop */
    return stop != 0 ? stop : r;
}
