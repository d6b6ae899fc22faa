/* SPDX-License-Identifier: MIT */
#include "net/published.h"

#include <dlfcn.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"

void fi_pub_subject_to(const fi_net_t *net, char out[FI_SUBJECT_MAX], const char *name, uint64_t node) {
    fi_net_subject(net, out, "pubto", name);
    size_t used = strlen(out);

    snprintf(out + used, FI_SUBJECT_MAX - used, ".%016" PRIx64, node);
}

bool fi_pub_take(natsMsg *msg, fi_pub_frame_t *f, const char **rest, size_t *rest_bytes) {
    size_t bytes = (size_t)fi_nats.natsMsg_GetDataLength(msg);
    const char *data = fi_nats.natsMsg_GetData(msg);

    memset(f, 0, sizeof *f);
    if (bytes < FI_PUB_HEAD || fi_nats.natsMsg_IsNoResponders(msg)) {
        return false;
    }
    memcpy(f, data, FI_PUB_HEAD);
    bool is_long = f->kind == FI_PUB_INFO || f->kind == FI_PUB_BEGIN;
    if (is_long && bytes >= sizeof *f) {
        memcpy(f, data, sizeof *f);
        f->type[sizeof f->type - 1] = f->host[sizeof f->host - 1] = '\0';
    }
    if (rest) {
        *rest = data + FI_PUB_HEAD;
        *rest_bytes = bytes - FI_PUB_HEAD;
    }
    return !is_long || bytes >= sizeof *f || f->version != FI_PUB_VERSION;
}

int fi_pub_check_version(const fi_pub_frame_t *f, const char *name) {
    if (f->version == FI_PUB_VERSION) {
        return 0;
    }
    return fi_fail(
        -EPROTO, "the region \"%s\" is published by a Ferry that speaks version %u of it, this one speaks %u: use one",
        name, f->version, FI_PUB_VERSION);
}

fi_pub_frame_t fi_pub_frame(const fi_net_t *net, enum fi_pub_kind kind, uint64_t epoch) {
    fi_pub_frame_t f = {.version = FI_PUB_VERSION, .kind = (uint8_t)kind, .node = net->node->id, .epoch = epoch};

    if (kind == FI_PUB_INFO || kind == FI_PUB_BEGIN) {
        (void)gethostname(f.host, sizeof f.host - 1);
    }
    return f;
}

void fi_pub_announce(fi_net_t *net, const char *name, enum fi_pub_kind kind, uint64_t epoch) {
    char subject[FI_SUBJECT_MAX];
    fi_pub_frame_t f = fi_pub_frame(net, kind, epoch);

    fi_net_subject(net, subject, "pubnews", name);
    (void)fi_net_send(net, net->control, subject, &f, FI_PUB_HEAD);
}

int fi_pub_ask(fi_net_t *net, const char *name, const fi_pub_frame_t *question, int64_t ms, fi_pub_frame_t *info) {
    char subject[FI_SUBJECT_MAX];
    natsMsg *msg = NULL;
    int r = 0;

    fi_net_subject(net, subject, "pub", name);
    natsStatus s = fi_nats.natsConnection_Request(&msg, net->control, subject, question, FI_PUB_HEAD, ms);
    if (s == NATS_OK && fi_pub_take(msg, info, NULL, NULL) && info->kind == FI_PUB_INFO) {
        r = fi_pub_check_version(info, name);
        r = r == 0 ? 1 : r;
    } else if (s == NATS_OK) {
        r = fi_fail(-EPROTO, "who publishes the region \"%s\" answers nonsense", name);
    } else if (s != NATS_NO_RESPONDERS) {
        r = fi_net_fail(net, s, "ask for the writer of the region", name);
    }
    fi_nats.natsMsg_Destroy(msg);
    return r;
}

/* ---- packing ---- */

static int (*lz4_pack)(const char *from, char *to, int bytes, int cap);
static int (*lz4_unpack)(const char *from, char *to, int packed, int cap);
static pthread_once_t once = PTHREAD_ONCE_INIT;

/* What we call has been the same since 2014. */
static void load(void) {
    void *library = dlopen("liblz4.so.1", RTLD_NOW | RTLD_LOCAL);
    void *pack = library ? dlsym(library, "LZ4_compress_default") : NULL;
    void *unpack = library ? dlsym(library, "LZ4_decompress_safe") : NULL;

    if (pack && unpack) {
        *(void **)&lz4_pack = pack;
        *(void **)&lz4_unpack = unpack;
    }
}

bool fi_pack_can(void) {
    pthread_once(&once, load);
    return lz4_unpack != NULL;
}

size_t fi_pack(const void *from, size_t bytes, void *to, size_t cap) {
    size_t most = bytes - bytes / 8;

    if (!fi_pack_can()) {
        return 0;
    }
    int packed = lz4_pack(from, to, (int)bytes, (int)(most < cap ? most : cap));
    return packed > 0 ? (size_t)packed : 0;
}

bool fi_unpack(const void *from, size_t packed, void *to, size_t bytes) {
    return fi_pack_can() && lz4_unpack(from, to, (int)packed, (int)bytes) == (int)bytes;
}
