/* SPDX-License-Identifier: MIT
 *
 * Expels a node, from outside: removes its names, tells its peers, tells itself.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "node/ask.h"
#include "node/node.h"
#include "node/space.h"
#include "node/steer.h"
#include "platform/cancel.h"
#include "platform/process.h"
#include "platform/socket.h"

#define ANSWER_NS 1000000000ll

typedef struct fi_kicking {
    fi_space_t space;
    fi_frame_t question;
    ferry_kicked_t *result;
    uint64_t id;
    bool answered;
    uint64_t count;
    uint32_t foreign; /* nodes that are of another version of Ferry */
} fi_kicking_t;

static bool take_answer(const fi_frame_t *f, void *arg) {
    fi_kicking_t *k = arg;

    if (f->type != FI_KICKED) {
        return true;
    }
    k->answered = f->error == 0;
    k->count = f->a;
    return false;
}

static int tell_peer(uint64_t node, void *arg) {
    fi_kicking_t *k = arg;
    pid_t pid = 0;
    uid_t uid = 0;

    if (node == k->id) {
        return 0;
    }
    k->answered = false;
    k->count = 0;
    int r = fi_ask(k->space.dirfd, node, &k->question, ANSWER_NS, &pid, &uid, take_answer, k);
    if (fi_ask_is_our_fault(r)) {
        return fi_fail_errno(-r, "cannot tell a node whom to give up");
    }
    k->foreign += r == FI_ASK_OTHER_VERSION;
    k->result->peers += k->count > 0;
    k->result->silent += !k->answered && r >= 0 && r != FI_ASK_OTHER_VERSION;
    return 0;
}

/* Is it ours to expel? The same users may remove its name from a sticky directory. */
static int check(const fi_kicking_t *k, const char *name) {
    struct stat st;
    struct stat dir;

    if (fstatat(k->space.dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0 || fstat(k->space.dirfd, &dir) < 0) {
        return fi_fail(-ENOENT, "no node %016" PRIx64 " is in \"%s\"; `ferry ls --json` shows who is", k->id,
                       k->space.path);
    }
    if (geteuid() != 0 && geteuid() != st.st_uid && geteuid() != dir.st_uid) {
        char words[128];
        return fi_fail(-EPERM, "the node belongs to %s: only that user, the owner of \"%s\" and root may expel it",
                       fi_user_word(st.st_uid, words, sizeof words), k->space.path);
    }
    return 0;
}

/* The socket is renamed before it is removed: who watches the directory sees that it was not removed by its node. */
static int remove_under_lock(fi_kicking_t *k, const char *name) {
    char expelled[FI_EXPELLED_NAME_MAX];

    fi_space_expelled_name(k->id, expelled);
    int lock = fi_space_lock(&k->space);
    if (lock < 0) {
        return lock == -ESTALE ? fi_fail(-ENOENT, "the space was removed meanwhile: nobody is in it") : lock;
    }
    (void)renameat(k->space.dirfd, name, k->space.dirfd, expelled);
    fi_space_remove_node(&k->space, k->id);
    (void)unlinkat(k->space.dirfd, expelled, 0);
    fi_space_unlock(lock);
    return 0;
}

static int remove_names(fi_kicking_t *k, const char *name) {
    int cancel = fi_cancel_off();
    int r = remove_under_lock(k, name);

    fi_cancel_restore(cancel);
    return r;
}

/* `fd`: a connection to it; -1: too many wait for it already. */
static void tell_itself(fi_kicking_t *k, int fd) {
    ferry_kicked_t *result = k->result;

    k->answered = false;
    int r = fd >= 0 ? fi_ask_on(fd, &k->question, ANSWER_NS, take_answer, k) : 0;
    result->told = k->answered;
    result->starved = !k->answered && fi_process_lacks_descriptors(result->pid, FI_PEER_DESCRIPTORS);
    result->other_version = r == FI_ASK_OTHER_VERSION;
    if (result->other_version) {
        result->silent += k->foreign; /* of the same one, as far as we can tell */
    }
}

static int tell_all(fi_kicking_t *k, const char *name, int fd) {
    int r = remove_names(k, name);

    if (r == 0) {
        r = fi_space_each_node(&k->space, tell_peer, k);
    }
    if (r == 0) {
        tell_itself(k, fd);
    }
    return r;
}

static int expel(fi_kicking_t *k) {
    char name[FI_NODE_NAME_MAX];
    pid_t pid = 0;
    uid_t uid = 0;
    gid_t gid;
    int fd = -1;

    fi_space_node_name(k->id, name);
    int r = check(k, name);
    if (r < 0) {
        return r;
    }
    r = fi_socket_connect(k->space.dirfd, name, &fd);
    if (r == -ECONNREFUSED) {
        fi_space_remove_node(&k->space, k->id);
        return fi_fail(-ESRCH, "node %016" PRIx64 " is dead: what it left in the space was removed", k->id);
    }
    if (r < 0 && r != -EAGAIN) {
        return fi_fail_errno(-r, "cannot reach node %016" PRIx64, k->id);
    }
    if (r == -EAGAIN) {
        fi_ask_who(k->space.dirfd, k->id, &pid, &uid);
    } else if (fi_socket_peer(fd, &pid, &uid, &gid) < 0) {
        pid = 0;
        uid = 0;
    }
    k->result->pid = pid;
    k->result->uid = uid;
    int connection = r == 0 ? fd : -1;
    r = tell_all(k, name, connection);
    if (connection >= 0) {
        close(connection);
    }
    return r;
}

int fi_kick(const char *space, const ferry_options_t *o, uint64_t node, ferry_kicked_t *result) {
    fi_kicking_t k = {.question = {.magic = FI_WIRE_MAGIC, .type = FI_KICK, .a = node}, .result = result, .id = node};

    int r = fi_space_open(space, o, false, &k.space);
    if (r < 0) {
        return r;
    }
    r = expel(&k);
    fi_space_close(&k.space);
    return r;
}
