/* SPDX-License-Identifier: MIT
 *
 * All cells that the engine keeps for a space: listing and removing them. See cell.h.
 */
#include <errno.h>
#include <string.h>

#include "base/error.h"
#include "net/ask.h"
#include "net/cell.h"
#include "net/streams.h"

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

struct listing {
    fi_net_t *net;
    int (*each)(const char *name, const ferry_cell_info_t *info, void *arg);
    void *arg;
};

/* A stream of that name may hold something else: that is no cell. */
static int tell(const jsStreamInfo *info, void *arg) {
    struct listing *l = arg;
    fi_net_cell_form_t form;
    char name[104];

    if (!fi_streams_name(l->net, "cell", info->Config, name) ||
        fi_net_cell_read_form(l->net, name, info->Config, &form) < 0) {
        return 0;
    }
    ferry_cell_info_t told = {
        .size = sizeof told, .max_bytes = form.max_bytes, .count = form.count, .memory = info->State.Bytes};
    memcpy(told.type_name, form.type, sizeof told.type_name);
    return l->each(name, &told, l->arg);
}

int fi_net_cell_each(fi_net_t *net, int (*each)(const char *name, const ferry_cell_info_t *info, void *arg),
                     void *arg) {
    struct listing l = {net, each, arg};

    return fi_streams_each(net, "cell", "the cells", tell, &l);
}
