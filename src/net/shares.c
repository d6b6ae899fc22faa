/* SPDX-License-Identifier: MIT */
#include "net/shares.h"

#include <errno.h>
#include <stdlib.h>

#include "base/error.h"
#include "net/mirror.h"
#include "net/publisher.h"
#include "net/region.h"

int fi_shares_open(fi_net_t *net) {
    fi_shares_t *s = calloc(1, sizeof *s);

    if (!s) {
        return fi_fail(-ENOMEM, "no memory for a networked space");
    }
    pthread_mutex_init(&s->lock, NULL);
    fi_list_init(&s->cells);
    fi_list_init(&s->publishers);
    fi_list_init(&s->mirrors);
    fi_list_init(&s->regions);
    net->shares = s;
    return 0;
}

void fi_shares_stop(fi_net_t *net) {
    pthread_mutex_lock(&net->shares->lock);
    net->shares->stopped = true;
    pthread_mutex_unlock(&net->shares->lock);
    fi_publishers_stop(net);
    fi_mirrors_stop(net);
}

void fi_shares_close(fi_net_t *net) {
    if (net->shares) {
        fi_mirrors_free(net);
        fi_held_regions_free(net);
        pthread_mutex_destroy(&net->shares->lock);
        free(net->shares);
        net->shares = NULL;
    }
}

/* ---- listening ---- */
