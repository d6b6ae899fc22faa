/* SPDX-License-Identifier: MIT */
#include "net/streams.h"

#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "net/ask.h"

#define PATIENCE_NS INT64_C(5000000000)

bool fi_streams_name(const fi_net_t *net, const char *kind, const jsStreamConfig *config, char name[104]) {
    char prefix[FI_SUBJECT_MAX];

    fi_net_subject(net, prefix, kind, NULL);
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

static int tell(fi_net_t *net, const char *stream, const char *doing, int (*each)(const jsStreamInfo *info, void *arg),
                void *arg) {
    fi_ask_t ask = fi_ask_begin(net, PATIENCE_NS, doing, net->space);
    jsStreamInfo *info;
    natsStatus s;

    do {
        int r = fi_ask_next(&ask);
        if (r < 0) {
            return r;
        }
        s = fi_nats.js_GetStreamInfo(&info, net->js, stream, &ask.options, &ask.code);
    } while (fi_ask_again(&ask, s));
    if (s != NATS_OK) {
        return ask.code == JSStreamNotFoundErr ? 0 : fi_ask_fail(&ask, s);
    }
    int r = each(info, arg);
    fi_nats.jsStreamInfo_Destroy(info);
    return r;
}

int fi_streams_each(fi_net_t *net, const char *kind, const char *what, int (*each)(const jsStreamInfo *info, void *arg),
                    void *arg) {
    char doing[64];
    char prefix[FI_SUBJECT_MAX];
    jsStreamNamesList *names = NULL;
    natsStatus s;
    int r;

    snprintf(doing, sizeof doing, "list %s of", what);
    fi_ask_t ask = fi_ask_begin(net, PATIENCE_NS, doing, net->space);
    fi_net_stream(net, prefix, kind, "");
    do {
        r = fi_ask_next(&ask);
        if (r < 0) {
            return r;
        }
        s = fi_nats.js_StreamNames(&names, net->js, &ask.options, &ask.code);
        if (s == NATS_NO_RESPONDERS && (r = fi_net_stream_check(net, what)) < 0) {
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
            r = tell(net, names->List[i], doing, each, arg);
        }
    }
    fi_nats.jsStreamNamesList_Destroy(names);
    return r;
}
