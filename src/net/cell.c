/* SPDX-License-Identifier: MIT
 *
 * Opening and closing cells that the engine keeps. See cell.h.
 */
#include "net/cell.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/error.h"
#include "lock/lock.h"
#include "net/ask.h"
#include "net/streams.h"
#include "platform/clock.h"

#define FORMAT 1u
#define DEFAULT_BYTES 4096u
#define ENVELOPE 512u /* of a message, beside the value: headers */
#define PATIENCE_NS INT64_C(5000000000)
#define KNOWN_NS INT64_C(30000000000) /* how long the server knows a put's id */
#define REPLICAS 3
#define OPEN_TRIES 20
#define OVERLAP_NAP_NS INT64_C(20000000)

/* ---- names ---- */

void fi_net_cell_subject(const fi_net_cell_t *c, char out[FI_SUBJECT_MAX], const char *prefix, uint32_t index) {
    fi_net_subject(c->net, out, "cell", c->name);
    size_t used = strlen(out);

    snprintf(out + used, FI_SUBJECT_MAX - used, ".%s%" PRIu32, prefix, index);
}

static void all_subjects(const fi_net_t *net, const char *kind, const char *name, const char *end,
                         char out[FI_SUBJECT_MAX]) {
    fi_net_subject(net, out, kind, name);
    size_t used = strlen(out);

    snprintf(out + used, FI_SUBJECT_MAX - used, ".%s", end);
}

/* ---- what openers agree on: the stream's description ---- */

static int not_a_cell(const char *name, const char *stream) {
    return fi_fail(-EPROTOTYPE,
                   "the server has a stream %s that is not the cell \"%s\": remove it, or take another name", stream,
                   name);
}

int fi_net_cell_read_form(const fi_net_t *net, const char *name, const jsStreamConfig *config, fi_net_cell_form_t *f) {
    char subjects[FI_SUBJECT_MAX];
    unsigned format = 0;

    all_subjects(net, "cell", name, "*", subjects);
    *f = (fi_net_cell_form_t){.count = 0};
    if (!config->Description || config->SubjectsLen < 1 || strcmp(config->Subjects[0], subjects) != 0 ||
        sscanf(config->Description, "ferry cell %u ", &format) != 1) {
        return not_a_cell(name, config->Name);
    }
    if (format != FORMAT) {
        return fi_fail(
            -EPROTO,
            "the cell \"%s\" was made by a Ferry whose cells have format %u, this one knows %u: use one version", name,
            format, FORMAT);
    }
    int fields = sscanf(config->Description, "ferry cell %*u count=%" SCNu32 " max_bytes=%" SCNu64 " type=%63s",
                        &f->count, &f->max_bytes, f->type);
    if (fields < 2 || f->count < 1 || f->count > FERRY_MAX_CELLS || f->max_bytes < 1 ||
        f->max_bytes > FERRY_MAX_CELL_BYTES) {
        return not_a_cell(name, config->Name);
    }
    return 0;
}

static int compare(const char *name, const fi_net_cell_form_t *theirs, const ferry_cell_options_t *o) {
    if (o->max_bytes != 0 && o->max_bytes != theirs->max_bytes) {
        return fi_fail(-EPROTOTYPE,
                       "the cell \"%s\" was made for values of up to %" PRIu64 " bytes, here it is opened for %" PRIu64,
                       name, theirs->max_bytes, o->max_bytes);
    }
    if (o->count != 0 && o->count != theirs->count) {
        return fi_fail(-EPROTOTYPE, "there are %u cells under the name \"%s\", here it is opened for %u", theirs->count,
                       name, o->count);
    }
    if (o->type_name && strcmp(o->type_name, theirs->type) != 0) {
        return fi_fail(-EPROTOTYPE,
                       "the cell \"%s\" was made with the type \"%s\", here it is opened with \"%s\": agree on one",
                       name, theirs->type, o->type_name);
    }
    return 0;
}

/* ---- opening ---- */

/* 0; -ENOENT without words: there is none. */
static int find(fi_net_cell_t *c, const ferry_cell_options_t *o) {
    fi_ask_t ask = fi_ask_begin(c->net, PATIENCE_NS, "open the cell", c->name);
    jsStreamInfo *info = NULL;
    natsStatus s;
    fi_net_cell_form_t form;
    int r;

    do {
        r = fi_ask_next(&ask);
        if (r < 0) {
            return r;
        }
        s = fi_nats.js_GetStreamInfo(&info, c->net->js, c->stream, &ask.options, &ask.code);
        if (s == NATS_NO_RESPONDERS && (r = fi_net_stream_check(c->net, "cells in a space that spans machines")) < 0) {
            return r;
        }
        if (s == NATS_OK && !fi_stream_is_made(info)) {
            fi_nats.jsStreamInfo_Destroy(info);
            s = NATS_TIMEOUT;
        }
    } while (fi_ask_again(&ask, s));
    if (s != NATS_OK) {
        return ask.code == JSStreamNotFoundErr ? -ENOENT : fi_ask_fail(&ask, s);
    }
    r = fi_net_cell_read_form(c->net, c->name, info->Config, &form);
    r = r == 0 ? compare(c->name, &form, o) : r;
    if (r == 0) {
        c->max_bytes = form.max_bytes;
        c->count = form.count;
        memcpy(c->type, form.type, sizeof c->type);
        c->clustered = info->Cluster != NULL;
        fi_store_relaxed64(&c->last, info->State.LastSeq);
    }
    fi_nats.jsStreamInfo_Destroy(info);
    return r;
}

/* 0; -EEXIST without words: somebody else has made one meanwhile; -ENOTUNIQ without words: likewise, or another stream
 * has the subjects. */
static int make(fi_net_cell_t *c, const ferry_cell_options_t *o) {
    fi_ask_t ask = fi_ask_begin(c->net, PATIENCE_NS, "make the cell", c->name);
    char subjects[FI_SUBJECT_MAX];
    char news[FI_SUBJECT_MAX];
    char description[256];
    const char *list[] = {subjects};
    jsRePublish republish = {.Source = subjects, .Destination = news, .HeadersOnly = true};
    jsStreamConfig config;
    natsStatus s;
    uint64_t max_bytes = o->max_bytes ? o->max_bytes : fi_min(DEFAULT_BYTES, c->net->max_payload - ENVELOPE);

    all_subjects(c->net, "cell", c->name, "*", subjects);
    all_subjects(c->net, "cellnews", c->name, "$1", news);
    snprintf(description, sizeof description, "ferry cell %u count=%" PRIu32 " max_bytes=%" PRIu64 " type=%s", FORMAT,
             o->count ? o->count : 1, max_bytes, o->type_name ? o->type_name : "");
    fi_nats.jsStreamConfig_Init(&config);
    config.Name = c->stream;
    config.Description = description;
    config.Subjects = list;
    config.SubjectsLen = 1;
    config.MaxMsgsPerSubject = 1;
    config.MaxMsgSize = (int32_t)(max_bytes + ENVELOPE);
    config.Storage = js_FileStorage;
    config.Duplicates = KNOWN_NS;
    config.RePublish = &republish;
    config.Replicas = REPLICAS;
    do {
        int r = fi_ask_next(&ask);
        if (r < 0) {
            return r;
        }
        s = fi_nats.js_AddStream(NULL, c->net->js, &config, &ask.options, &ask.code);
        if (s != NATS_OK && config.Replicas > 1 &&
            (ask.code == JSStreamReplicasNotSupportedErr || ask.code == JSClusterNoPeersErr)) {
            config.Replicas = 1; /* fewer servers than that */
            s = NATS_TIMEOUT;
            ask.tries = 0;
        }
    } while (fi_ask_again(&ask, s));
    if (ask.code == JSStreamNameExistErr) {
        return -EEXIST;
    }
    /* Said also while somebody else is just making it. */
    return s == NATS_OK ? 0 : ask.code == JSStreamSubjectOverlapErr ? -ENOTUNIQ : fi_ask_fail(&ask, s);
}

static int check_room(const fi_net_cell_t *c, uint64_t max_bytes) {
    if (max_bytes + ENVELOPE <= c->net->max_payload) {
        return 0;
    }
    return fi_fail(-EMSGSIZE,
                   "the cell \"%s\": a value of %" PRIu64
                   " bytes does not go into one message of this server's, which has up to %zu: "
                   "raise max_payload there (%u bytes more than the value), or use smaller values",
                   c->name, max_bytes, c->net->max_payload, ENVELOPE);
}

static int find_or_make(fi_net_cell_t *c, const ferry_cell_options_t *o) {
    for (unsigned tries = 0;; tries++) {
        int r = find(c, o);
        if (r == -ENOENT && o->must_exist) {
            return fi_fail(r, "the cell \"%s\" does not exist in this space", c->name);
        }
        r = r == -ENOENT ? make(c, o) : r;
        r = r == 0 && c->count == 0 ? -EEXIST : r; /* made: now look what it is */
        if (r == -EEXIST && tries < OPEN_TRIES) {
            continue;
        }
        if (r == -ENOTUNIQ && tries < OPEN_TRIES) {
            fi_sleep_until(fi_now_ns() + OVERLAP_NAP_NS);
            continue;
        }
        if (r == -ENOTUNIQ) {
            return fi_fail(-EEXIST, "cannot make the cell \"%s\": another stream of the server's has its subjects",
                           c->name);
        }
        if (r == -EEXIST) {
            return fi_fail(-EBUSY, "the cell \"%s\" is being made and removed all the time", c->name);
        }
        return r == 0 ? check_room(c, c->max_bytes) : r;
    }
}

static int check_names(const char *name, const ferry_cell_options_t *o) {
    int r = fi_name_check("cell", name, 100);

    if (r == 0 && o->type_name && !fi_contract_is_type_name(o->type_name)) {
        r = fi_fail(-EINVAL, "\"%.80s\" is no name of a type: it has up to 63 printable characters, no spaces",
                    o->type_name);
    }
    if (r == 0 && o->wait > FERRY_WAIT_BLOCK) {
        r = fi_fail(-EINVAL, "%d is not a way to wait: use FERRY_WAIT_ADAPTIVE, _SPIN or _BLOCK", (int)o->wait);
    }
    return r;
}

int fi_net_cell_open(fi_net_t *net, const char *name, const ferry_cell_options_t *options, ferry_cell_t **cell) {
    static const ferry_cell_options_t none;
    const ferry_cell_options_t *o = options ? options : &none;
    fi_net_cell_t *c;

    int r = check_names(name, o);
    if (r < 0) {
        return r;
    }
    c = calloc(1, sizeof *c);
    if (!c) {
        return fi_fail(-ENOMEM, "no memory for a handle on a cell");
    }
    c->net = net;
    c->bell = c->fd = -1;
    c->patience = o->patience == 0 ? PATIENCE_NS : o->patience;
    snprintf(c->name, sizeof c->name, "%s", name);
    fi_net_stream(net, c->stream, "cell", name);
    r = check_room(c, o->max_bytes);
    r = r == 0 ? find_or_make(c, o) : r;
    if (r < 0) {
        free(c);
        return r;
    }
    c->magic = FI_NET_CELL_MAGIC;
    pthread_mutex_lock(&net->shares->lock);
    fi_list_add_tail(&net->shares->cells, &c->link);
    pthread_mutex_unlock(&net->shares->lock);
    *cell = (ferry_cell_t *)(void *)c;
    return 0;
}

/* ---- calls ---- */

int fi_net_cell_check(const fi_net_cell_t *c, uint32_t index) {
    if (fi_node_is_forked(c->net->node)) {
        return fi_fail(-ECHILD,
                       "this cell belongs to the parent process: after fork(), open your own node with ferry_open");
    }
    if (index >= c->count) {
        return fi_fail(-ERANGE, "the cell \"%s\" has no index %u: there are %u under this name, from 0", c->name, index,
                       c->count);
    }
    return 0;
}

int fi_net_cell_enter(fi_net_cell_t *c, uint32_t index) {
    uint32_t nobody = 0;
    int r = fi_net_cell_check(c, index);

    if (r == 0 && !fi_cas32(&c->busy, &nobody, 1)) {
        r = fi_fail(-EBUSY, "another thread is inside a call on this handle on \"%s\": open one for each thread",
                    c->name);
    }
    return r;
}

int fi_net_cell_leave(fi_net_cell_t *c, int r) {
    fi_store_release32(&c->busy, 0);
    return r;
}

static void end(fi_net_cell_t *c) {
    fi_net_cell_listen_no_more(c);
    pthread_mutex_lock(&c->net->shares->lock);
    fi_list_remove(&c->link);
    pthread_mutex_unlock(&c->net->shares->lock);
    c->magic = FI_LOCK_CLOSED;
    fi_graveyard_add(c);
}

int fi_net_cell_close(fi_net_cell_t *c) {
    int r = fi_net_cell_enter(c, 0);

    if (r == 0) {
        end(c);
    }
    return r;
}

bool fi_net_cell_drop_one(fi_net_t *net, char name[104]) {
    fi_shares_t *shares = net->shares;

    pthread_mutex_lock(&shares->lock);
    fi_net_cell_t *c = fi_list_empty(&shares->cells) ? NULL : fi_container(shares->cells.next, fi_net_cell_t, link);
    pthread_mutex_unlock(&shares->lock);
    if (c) {
        memcpy(name, c->name, sizeof c->name);
        end(c);
    }
    return c != NULL;
}

int fi_net_cell_info(fi_net_cell_t *c, ferry_cell_info_t *info) {
    int r = fi_net_cell_check(c, 0);

    if (r == 0) {
        *info = (ferry_cell_info_t){.size = info->size, .max_bytes = c->max_bytes, .count = c->count};
        memcpy(info->type_name, c->type, sizeof info->type_name);
    }
    return r;
}
