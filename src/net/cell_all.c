/* SPDX-License-Identifier: MIT
 *
 * All cells that the engine keeps for a space: listing and removing them. See cell.h.
 */
#include <errno.h>
#include <string.h>

#include "base/error.h"
#include "net/ask.h"
#include "net/cell.h"

#define PATIENCE_NS INT64_C(5000000000)

int fi_net_cell_remove(fi_net_t *net, const char *name) {
    char stream[FI_SUBJECT_MAX];
    jsStreamInfo *info = NULL;
    natsStatus s;
    fi_net_cell_form_t form;

    int r = fi_name_check("cell", name, 100);
    if (r < 0) {
        return r;
    }
    fi_ask_t ask = fi_ask_begin(net, PATIENCE_NS, "remove the cell", name);
    fi_net_stream(net, stream, "cell", name);
    do {
        r = fi_ask_next(&ask);
        if (r < 0) {
            return r;
        }
        s = fi_nats.js_GetStreamInfo(&info, net->js, stream, &ask.options, &ask.code);
        if (s == NATS_OK) {
            r = fi_net_cell_read_form(net, name, info->Config, &form);
            fi_nats.jsStreamInfo_Destroy(info);
            if (r < 0 && r != -EPROTO) {
                return r;
            }
            s = fi_nats.js_DeleteStream(net->js, stream, &ask.options, &ask.code);
        }
    } while (fi_ask_again(&ask, s));
    if (ask.code == JSStreamNotFoundErr) {
        return ask.tries > 1 ? 0 : fi_fail(-ENOENT, "there is no cell \"%s\" in this space", name);
    }
    return s == NATS_OK ? 0 : fi_ask_fail(&ask, s);
}

/* Is that stream a cell of this space? Then its name, as it is in our subjects; dots are back in their places. */
static bool name_of(const fi_net_t *net, const jsStreamConfig *config, char name[104]) {
    char prefix[FI_SUBJECT_MAX];

    fi_net_subject(net, prefix, "cell", NULL);
    size_t skip = strlen(prefix) + 1;
    const char *subject = config->SubjectsLen > 0 ? config->Subjects[0] : "";
    size_t len = strlen(subject);
    if (len < skip + 3 || len - skip - 2 > 100 || strncmp(subject, prefix, skip - 1) != 0 || subject[skip - 1] != '.' ||
        strcmp(subject + len - 2, ".*") != 0) {
        return false;
    }
    memcpy(name, subject + skip, len - skip - 2);
    name[len - skip - 2] = '\0';
    for (char *at = name; *at; at++) {
        *at = *at == '~' ? '.' : *at;
    }
    return true;
}

static int tell(fi_net_t *net, const char *stream,
                int (*each)(const char *name, const ferry_cell_info_t *info, void *arg), void *arg) {
    fi_ask_t ask = fi_ask_begin(net, PATIENCE_NS, "list the cells of", net->space);
    jsStreamInfo *info;
    char name[104];
    natsStatus s;
    fi_net_cell_form_t form;
    int r;

    do {
        r = fi_ask_next(&ask);
        if (r < 0) {
            return r;
        }
        s = fi_nats.js_GetStreamInfo(&info, net->js, stream, &ask.options, &ask.code);
    } while (fi_ask_again(&ask, s));
    if (s != NATS_OK) {
        return ask.code == JSStreamNotFoundErr ? 0 : fi_ask_fail(&ask, s);
    }
    if (name_of(net, info->Config, name) && fi_net_cell_read_form(net, name, info->Config, &form) == 0) {
        ferry_cell_info_t told = {
            .size = sizeof told, .max_bytes = form.max_bytes, .count = form.count, .memory = info->State.Bytes};
        memcpy(told.type_name, form.type, sizeof told.type_name);
        r = each(name, &told, arg);
    }
    fi_nats.jsStreamInfo_Destroy(info);
    return r;
}

int fi_net_cell_each(fi_net_t *net, int (*each)(const char *name, const ferry_cell_info_t *info, void *arg),
                     void *arg) {
    fi_ask_t ask = fi_ask_begin(net, PATIENCE_NS, "list the cells of", net->space);
    jsStreamNamesList *names = NULL;
    char prefix[FI_SUBJECT_MAX];
    natsStatus s;
    int r;

    fi_net_stream(net, prefix, "cell", "");
    do {
        r = fi_ask_next(&ask);
        if (r < 0) {
            return r;
        }
        s = fi_nats.js_StreamNames(&names, net->js, &ask.options, &ask.code);
        if (s == NATS_NO_RESPONDERS && (r = fi_net_stream_check(net, "cells in a space that spans machines")) < 0) {
            return r;
        }
    } while (fi_ask_again(&ask, s));
    if (s == NATS_NOT_FOUND) {
        return 0;
    }
    if (s != NATS_OK) {
        return fi_ask_fail(&ask, s);
    }
    for (int i = 0; r == 0 && i < names->Count; i++) {
        if (strncmp(names->List[i], prefix, strlen(prefix)) == 0) {
            r = tell(net, names->List[i], each, arg);
        }
    }
    fi_nats.jsStreamNamesList_Destroy(names);
    return r;
}
