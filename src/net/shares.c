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

static void over(void *arg) {
    fi_listener_t *l = arg;

    pthread_mutex_lock(&l->lock);
    l->is_over = true;
    pthread_cond_broadcast(&l->over);
    pthread_mutex_unlock(&l->lock);
}

int fi_listen(fi_net_t *net, natsConnection *c, const char *subject, natsMsgHandler cb, void *arg, fi_listener_t *l) {
    int r = fi_net_subscribe(net, c, subject, NULL, cb, arg, &l->sub);

    if (r < 0) {
        l->sub = NULL;
        return r;
    }
    pthread_mutex_init(&l->lock, NULL);
    pthread_cond_init(&l->over, NULL);
    l->is_over = false;
    natsStatus s = fi_nats.natsSubscription_SetOnCompleteCB(l->sub, over, l);
    if (s != NATS_OK) {
        l->is_over = true;
        fi_listen_no_more(l);
        return fi_net_fail(net, s, "subscribe to", subject);
    }
    return 0;
}

void fi_listen_no_more(fi_listener_t *l) {
    if (!l->sub) {
        return;
    }
    (void)fi_nats.natsSubscription_Unsubscribe(l->sub);
    pthread_mutex_lock(&l->lock);
    while (!l->is_over) {
        pthread_cond_wait(&l->over, &l->lock);
    }
    pthread_mutex_unlock(&l->lock);
    fi_nats.natsSubscription_Destroy(l->sub);
    l->sub = NULL;
    pthread_cond_destroy(&l->over);
    pthread_mutex_destroy(&l->lock);
}
