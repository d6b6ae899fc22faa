/* SPDX-License-Identifier: MIT
 *
 * The route between threads of one node: frames become mail for the node's own steward, memory a reference.
 */
#include <errno.h>
#include <fcntl.h>

#include "base/error.h"
#include "node/node.h"
#include "route/route.h"

static int copy_fd(int fd) {
    return fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 0);
}

static int thread_send(fi_peer_t *p, const fi_frame_t *f, const fi_cargo_t *cargo) {
    fi_mail_t *m = fi_mail_new(p, f);
    if (!m) {
        return fi_fail(-ENOMEM, "no memory for a frame between two threads");
    }
    fi_mail_carry(m, cargo->memory ? fi_shared_ref(cargo->memory) : NULL);
    for (int i = 0; i < 2; i++) {
        m->fds[i] = copy_fd(cargo->fds[i]);
        if (cargo->fds[i] >= 0 && m->fds[i] < 0) {
            fi_mail_free(m);
            return fi_fail_errno(errno, "cannot hand a doorbell to another thread");
        }
    }
    fi_node_post(p->node, m);
    return 0;
}

const fi_route_t fi_route_thread = {.name = "thread", .send = thread_send};
