/* SPDX-License-Identifier: MIT
 *
 * Expelling a node: what the others do about it, and what it does itself.
 *
 * Its names are removed first, by whoever asks (steer_kick.c).  Then each of its peers is told and gives its
 * connections to it up, as if it had left: what it held goes to others.  It is told itself, over each of these
 * connections and over one of the asker's, so that it hears of it when it runs again; then it is shut down, and
 * publishes nothing any more.
 *
 * Who may: the user that the node belongs to, the owner of the space's directory, root.  Everybody who is told judges
 * that by the kernel's word on who tells it.  These are the users that may remove the node's names from a sticky
 * directory.
 */
#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#include "node/node.h"

bool fi_node_is_banned(const fi_node_t *n, uint64_t id) {
    for (uint32_t i = 0; i < n->banned_count && i < FI_EXPELLED_MAX; i++) {
        if (n->banned[i] == id) {
            return true;
        }
    }
    return false;
}

static bool may_expel(const fi_node_t *n, uid_t who, uid_t whom) {
    struct stat st;

    return who == 0 || who == whom || (fstat(n->space.dirfd, &st) == 0 && st.st_uid == who);
}

/* No connection is kept, but that of who tells us. */
static void leave(fi_node_t *n, const fi_peer_t *teller) {
    struct fi_list *at;
    struct fi_list *after;

    fi_store_release32(&n->expelled, 1);
    fi_node_shutdown(n);
    fi_space_remove_node(&n->space, n->id);
    fi_list_each(at, after, &n->peers) {
        fi_peer_t *p = fi_container(at, fi_peer_t, link);
        if (p->id != 0 && p != teller) {
            fi_node_lose_peer(n, p, -EPERM);
        }
    }
}

/* A node may be connected twice. */
static int give_up(fi_node_t *n, uid_t who, uint64_t id, uint64_t *count) {
    struct fi_list *at;
    struct fi_list *after;
    fi_frame_t f = fi_frame(FI_KICK, 0, 0);

    f.a = id;
    fi_list_each(at, after, &n->peers) {
        fi_peer_t *p = fi_container(at, fi_peer_t, link);
        if (p->id != id) {
            continue;
        }
        if (!may_expel(n, who, p->uid)) {
            return -EPERM;
        }
        (void)fi_peer_send(p, &f, NULL);
        fi_node_lose_peer(n, p, -EPERM);
        ++*count;
    }
    return 0;
}

int fi_node_kick_asked(fi_node_t *n, fi_mail_t *m) {
    fi_frame_t f = fi_frame(FI_KICKED, 0, 0);
    bool is_peer = m->peer->state != FI_PEER_NEW;
    uint64_t id = m->frame.a;

    if (id == n->id) {
        f.error = may_expel(n, m->peer->uid, geteuid()) ? 0 : -EPERM;
    } else if (is_peer) {
        return -EPROTO; /* a peer tells us of ourselves only */
    } else {
        f.error = give_up(n, m->peer->uid, id, &f.a);
    }
    if (f.error == 0 && id != n->id && f.a > 0) {
        n->banned[n->banned_count++ % FI_EXPELLED_MAX] = id;
    }
    if (!is_peer) {
        (void)fi_peer_send(m->peer, &f, NULL);
    }
    if (f.error == 0 && id == n->id) {
        leave(n, m->peer);
    }
    return 0;
}
