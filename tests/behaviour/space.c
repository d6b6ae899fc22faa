/* SPDX-License-Identifier: MIT
 *
 * space.c - spaces: names, directories, who is admitted, and what is told when something is wrong.
 */
#include "harness.h"

#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define NOBODY 65534

/* A path below this test's own directory. */
static const char *below(const char *name) {
    static __thread char path[4][4096];
    static __thread unsigned next;
    char *p = path[next++ % 4];
    snprintf(p, sizeof path[0], "%s/%s", getenv("FERRY_DIR"), name);
    return p;
}

static void refuse(const char *directory, int want, const char *words) {
    ferry_t *node = NULL;
    ferry_options_t options = {.directory = directory};
    check_error(ferry_open("test", &options, &node), want, words);
    check(node == NULL);
}

/* ---- names ---- */

static void names_are_checked(void) {
    static const char *const bad[] = {"", ".", "..", ".hidden", "a/b", "a b", "a\n", "caf\xc3\xa9", "a*"};
    ferry_t *node = NULL;
    char name[103];
    memset(name, 'n', sizeof name);
    for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++)
        check_error(ferry_open(bad[i], NULL, &node), -EINVAL, "space name");
    check_error(ferry_open(NULL, NULL, &node), -EINVAL, "name");
    name[64] = '\0';
    check_error(ferry_open(name, NULL, &node), -EINVAL, "63");
    check(node == NULL);
    name[63] = '\0';
    close_node(open_node(name));
    close_node(open_node("Az09._-"));

    node = open_node("test");
    ferry_sender_t *tx = NULL;
    ferry_receiver_t *rx = NULL;
    for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        check_error(ferry_sender_open(node, bad[i], FERRY_QUEUE, NULL, &tx), -EINVAL, "channel name");
        check_error(ferry_receiver_open(node, bad[i], FERRY_QUEUE, NULL, &rx), -EINVAL, "channel name");
    }
    name[63] = 'n';
    name[64] = 'n';
    name[101] = '\0';
    check_error(ferry_sender_open(node, name, FERRY_QUEUE, NULL, &tx), -EINVAL, "100");
    check(tx == NULL && rx == NULL);
    name[100] = '\0';
    tx = open_sender(node, name, FERRY_QUEUE, NULL);
    rx = open_receiver(node, name, FERRY_QUEUE, NULL);
    send_number(tx, 1);
    check_is(receive_number(rx), 1);
    close_sender(tx);
    close_receiver(rx);
    close_node(node);
}

static void a_node_tells_where_and_who_it_is(void) {
    ferry_t *a = open_node("test"), *b = open_node("test");
    check(ferry_node_id(a) != 0 && ferry_node_id(b) != 0 && ferry_node_id(a) != ferry_node_id(b));
    check(strcmp(ferry_directory(a), below("test")) == 0);
    check(strcmp(ferry_directory(a), ferry_directory(b)) == 0);
    check(strcmp(ferry_version(), "0.1.0") == 0);
    close_node(a);
    close_node(b);
}

static void two_nodes_of_one_process_meet(void) {
    ferry_t *a = open_node("test"), *b = open_node("test");
    ferry_sender_t *tx = open_sender(a, "q", FERRY_QUEUE, NULL);
    ferry_receiver_t *rx = open_receiver(b, "q", FERRY_QUEUE, NULL);
    static unsigned char bytes[20000];
    fill(bytes, sizeof bytes, 1);
    for (unsigned i = 0; i < 100; i++) {
        check_is(ferry_send(tx, bytes, i % 2 ? sizeof bytes : 20, PATIENCE), 0);
        ferry_msg_t *m = receive(rx);
        check(filled(ferry_msg_data(m), ferry_msg_size(m), 1));
        check_is(info_of(m).sender_node, ferry_node_id(a));
        release(m);
    }
    close_sender(tx);
    close_receiver(rx);
    close_node(a);
    close_node(b);
}

static void the_same_channel_in_two_spaces_is_two_channels(void) {
    ferry_t *a = open_node("one"), *b = open_node("two");
    ferry_sender_t *tx = open_sender(a, "q", FERRY_QUEUE, NULL);
    ferry_receiver_t *other = open_receiver(b, "q", FERRY_QUEUE, NULL);
    ferry_receiver_t *rx = open_receiver(a, "q", FERRY_QUEUE, NULL);
    ferry_msg_t *m = NULL;
    send_number(tx, 1);
    check_is(receive_number(rx), 1);
    check_error(ferry_recv(other, 20 * MILLISECOND, &m), -ETIMEDOUT, "");
    check_is(ferry_receiver_senders(other), 0);
    close_sender(tx);
    close_receiver(rx);
    close_receiver(other);
    close_node(a);
    close_node(b);
}

static void opening_and_closing_leaves_nothing(void) {
    for (unsigned i = 0; i < 50; i++) {
        ferry_t *node = open_node("test");
        ferry_sender_t *tx = open_sender(node, "q", FERRY_QUEUE, NULL);
        ferry_receiver_t *rx = open_receiver(node, "q", FERRY_QUEUE, NULL);
        send_number(tx, i);
        check_is(receive_number(rx), i);
        close_sender(tx);
        close_receiver(rx);
        close_node(node);
    }
}

/* ---- directories ---- */

static void exchange_at(const char *directory) {
    ferry_options_t options = {.directory = directory};
    ferry_t *a = NULL, *b = NULL;
    check_is(ferry_open("test", &options, &a), 0);
    check_is(ferry_open("test", &options, &b), 0);
    ferry_sender_t *tx = open_sender(a, "q", FERRY_QUEUE, NULL);
    ferry_receiver_t *rx = open_receiver(b, "q", FERRY_QUEUE, NULL);
    send_number(tx, 1);
    check_is(receive_number(rx), 1);
    close_sender(tx);
    close_receiver(rx);
    close_node(a);
    close_node(b);
}

static void a_path_of_any_length_will_do(void) {
    char path[4096];
    snprintf(path, sizeof path, "%s", getenv("FERRY_DIR"));
    for (unsigned i = 0; i < 12; i++) {
        size_t end = strlen(path);
        snprintf(path + end, sizeof path - end, "/%u-directory-whose-name-alone-is-long-enough-to-annoy", i);
        check_is(mkdir(path, 0700), 0);
    }
    check(strlen(path) > 500); /* a UNIX socket's address has room for 108 */
    exchange_at(path);
}

static void a_directory_that_does_not_exist_is_made(void) {
    struct stat status;
    exchange_at(below("new"));
    check_is(stat(below("new"), &status), 0);
    check_is(status.st_mode & 07777, 0700);
    check_is(status.st_uid, geteuid());
}

static void a_relative_directory_is_one_too(void) {
    check_is(chdir(getenv("FERRY_DIR")), 0);
    check_is(mkdir(below("here"), 0700), 0);
    ferry_options_t options = {.directory = "here"};
    ferry_t *node = NULL;
    check_is(ferry_open("test", &options, &node), 0);
    check(ferry_directory(node)[0] == '/');
    check_is(chdir("/"), 0);
    ferry_sender_t *tx = open_sender(node, "q", FERRY_QUEUE, NULL); /* the place does not move with us */
    exchange_at(below("here"));
    close_sender(tx);
    close_node(node);
}

static void a_symbolic_link_is_not_followed(void) {
    check_is(mkdir(below("real"), 0700), 0);
    check_is(symlink(below("real"), below("link")), 0);
    refuse(below("link"), -EPERM, "link");
    check_is(symlink("/nowhere", below("dangling")), 0);
    refuse(below("dangling"), -EPERM, "link");
    check_is(mkdir(below("base"), 0700), 0);
    check_is(symlink(below("real"), below("base/test")), 0);
    refuse(below("base"), -EPERM, "link");
    check_is(unlink(below("link")) | unlink(below("dangling")) | unlink(below("base/test")), 0);
}

static void a_directory_open_to_others_is_refused(void) {
    static const mode_t modes[] = {0777, 0770, 0707, 0720, 0702};
    check_is(mkdir(below("open"), 0700), 0);
    for (unsigned i = 0; i < sizeof modes / sizeof modes[0]; i++) {
        check_is(chmod(below("open"), modes[i]), 0);
        refuse(below("open"), -EPERM, "open");
    }
    check_is(chmod(below("open"), 0700), 0);
    exchange_at(below("open"));
}

static void somebody_elses_directory_is_refused(void) {
    ferry_t *node = NULL;
    ferry_options_t root_owned = {.directory = "/usr"};
    if (geteuid() == 0) {
        check_is(mkdir(below("theirs"), 0700), 0);
        check_is(chown(below("theirs"), NOBODY, NOBODY), 0);
        refuse(below("theirs"), -EPERM, "belongs");
        return;
    }
    /* Who is not root cannot give a directory away, but does not own this one either. */
    int answer = ferry_open("test", &root_owned, &node);
    check(answer == -EPERM || answer == -EACCES);
    check(ferry_last_error()[0] != '\0' && node == NULL);
}

static void a_file_is_no_directory(void) {
    int fd = open(below("file"), O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    check(fd >= 0);
    close(fd);
    ferry_t *node = NULL;
    ferry_options_t options = {.directory = below("file")};
    check(ferry_open("test", &options, &node) < 0);
    check(ferry_last_error()[0] != '\0' && node == NULL);
    check_is(unlink(below("file")), 0);
}

static void open_unwritable(void *arg) {
    if (geteuid() == 0) /* root may write anywhere */
        check(setgroups(0, NULL) == 0 && setresgid(NOBODY, NOBODY, NOBODY) == 0 &&
              setresuid(NOBODY, NOBODY, NOBODY) == 0);
    refuse(arg, -EACCES, "writ");
}

static void a_directory_that_cannot_be_written_is_refused(void) {
    char path[4096];
    snprintf(path, sizeof path, "%s", below("readonly"));
    check_is(mkdir(path, 0500), 0);
    if (geteuid() == 0) {
        check_is(chown(path, NOBODY, NOBODY), 0);
        check_is(chmod(getenv("FERRY_DIR"), 0711), 0);
        if (getenv("FERRY_TEST_TMP"))
            check_is(chmod(getenv("FERRY_TEST_TMP"), 0711), 0);
    }
    child_join(child_start(open_unwritable, path));
}

static void an_unknown_group_is_named(void) {
    ferry_t *node = NULL;
    ferry_options_t options = {.group = "no-such-group-anywhere"};
    check_error(ferry_open("test", &options, &node), -ENOENT, "no-such-group-anywhere");
    check(node == NULL);
}

static void open_with_such_a_umask(void *arg) {
    const mode_t *mask = arg;
    struct stat st;
    umask(*mask);
    refuse(below("new"), -EACCES, "umask");
    check(stat(below("new"), &st) < 0 && errno == ENOENT);
}

/* Else it would be made, and could be used by nobody from then on. */
static void a_umask_that_takes_ones_own_rights_is_refused(void) {
    mode_t *mask = share(sizeof *mask);
    for (unsigned i = 0; i < 3; i++) {
        *mask = (mode_t[]){0777, 0400, 0100}[i];
        child_join(child_start(open_with_such_a_umask, mask));
    }
}

/* ---- two users ---- */

typedef struct shared_space {
    char directory[4096];
    char group[16];
    atomic_uint ready;
    atomic_uint refused;
    uint64_t node;
} shared_space_t;

/* Without root there is only one user; the group is then one's own, and the test is of the group's directory alone. */
static void become(uid_t uid, gid_t gid) {
    if (geteuid() == 0)
        check(setgroups(0, NULL) == 0 && setresgid(gid, gid, gid) == 0 && setresuid(uid, uid, uid) == 0);
}

static ferry_t *open_shared(const shared_space_t *s) {
    ferry_t *node = NULL;
    ferry_options_t options = {.directory = s->directory, .group = s->group};
    check_is(ferry_open("test", &options, &node), 0);
    return node;
}

static void send_as_one_user(void *arg) {
    shared_space_t *s = arg;
    become(54321, 54300);
    ferry_t *node = open_shared(s);
    ferry_sender_t *tx = open_sender(node, "q", FERRY_QUEUE, NULL);
    static unsigned char bytes[50000];
    atomic_store(&s->ready, 1);
    for (unsigned i = 0; i < 100; i++) {
        size_t size = i % 2 ? sizeof bytes : 30;
        fill(bytes, size, i);
        check_is(ferry_send(tx, bytes, size, PATIENCE), 0);
    }
    close_sender(tx);
    await(&s->refused, 1);
    close_node(node);
}

static void receive_as_another_user(void *arg) {
    shared_space_t *s = arg;
    become(54322, 54300);
    await(&s->ready, 1);
    ferry_t *node = open_shared(s);
    ferry_receiver_t *rx = open_receiver(node, "q", FERRY_QUEUE, NULL);
    for (unsigned i = 0; i < 100; i++) {
        ferry_msg_t *m = receive(rx);
        check(filled(ferry_msg_data(m), ferry_msg_size(m), i));
        release(m);
    }
    close_receiver(rx);
    close_node(node);
}

static void try_as_a_stranger(void *arg) {
    shared_space_t *s = arg;
    ferry_t *node = NULL;
    await(&s->ready, 1);
    if (geteuid() == 0) {
        become(54323, 54301);
        ferry_options_t options = {.directory = s->directory, .group = s->group};
        int answer = ferry_open("test", &options, &node);
        check(answer == -EPERM || answer == -EACCES);
        check(ferry_last_error()[0] != '\0' && node == NULL);
    }
    atomic_store(&s->refused, 1);
}

static void users_of_one_group_meet_and_a_stranger_is_refused(void) {
    shared_space_t *s = share(sizeof *s);
    snprintf(s->directory, sizeof s->directory, "%s/shared", getenv("FERRY_DIR"));
    snprintf(s->group, sizeof s->group, "%u", geteuid() == 0 ? 54300 : getegid());
    check_is(chmod(getenv("FERRY_DIR"), 01777), 0);
    if (geteuid() == 0 && getenv("FERRY_TEST_TMP"))
        check_is(chmod(getenv("FERRY_TEST_TMP"), 0711), 0);
    pid_t sender = child_start(send_as_one_user, s);
    pid_t receiver = child_start(receive_as_another_user, s);
    pid_t stranger = child_start(try_as_a_stranger, s);
    child_join(sender);
    child_join(receiver);
    child_join(stranger);
    check_is(chmod(getenv("FERRY_DIR"), 0700), 0);
}

static void kick_as_another_user(void *arg) {
    shared_space_t *s = arg;
    become(54322, 54300);
    ferry_options_t options = {.directory = s->directory, .group = s->group};
    check_error(ferry_kick("test", &options, s->node, NULL), -EPERM, "belongs to root (user id 0)");
}

static void who_may_not_expel_a_node_is_told_by_name_whose_it_is(void) {
    shared_space_t *s = share(sizeof *s);
    if (geteuid() != 0)
        return; /* there is only one user */
    snprintf(s->directory, sizeof s->directory, "%s/shared", getenv("FERRY_DIR"));
    snprintf(s->group, sizeof s->group, "54300");
    check_is(chmod(getenv("FERRY_DIR"), 01777), 0);
    if (getenv("FERRY_TEST_TMP"))
        check_is(chmod(getenv("FERRY_TEST_TMP"), 0711), 0);
    ferry_t *node = open_shared(s);
    s->node = ferry_node_id(node);
    child_join(child_start(kick_as_another_user, s));
    close_node(node);
    check_is(chmod(getenv("FERRY_DIR"), 0700), 0);
}

/* ---- a swept directory ---- */

/* Whoever holds the space makes it again, perhaps before rm is through: its verdict does not count. */
static void wipe(const char *path) {
    char command[4200];
    snprintf(command, sizeof command, "rm -rf -- '%s' 2>/dev/null", path);
    check(system(command) >= 0);
}

static void receive_after_sweep(void *arg) {
    await(arg, 1);
    ferry_t *node = open_node("test");
    ferry_receiver_t *rx = open_receiver(node, "q", FERRY_QUEUE, NULL);
    for (uint64_t i = 0; i < 10; i++)
        check_is(receive_number(rx), i);
    close_receiver(rx);
    close_node(node);
}

static void sweep_and_meet(const char *what) {
    atomic_uint *swept = share(sizeof *swept);
    pid_t child = child_start(receive_after_sweep, swept);
    ferry_t *node = open_node("test");
    ferry_sender_t *tx = open_sender(node, "q", FERRY_QUEUE, NULL);
    for (uint64_t i = 0; i < 10; i++)
        send_number(tx, i);
    wipe(what);
    atomic_store(swept, 1);
    close_sender(tx);
    child_join(child);
    close_node(node);
}

static void a_new_process_still_meets_the_holders_of_a_swept_space(void) {
    sweep_and_meet(below("test"));
}

static void a_new_process_still_meets_the_holders_of_a_swept_base_directory(void) {
    sweep_and_meet(getenv("FERRY_DIR"));
}

int main(int argc, char **argv) {
    const test_t tests[] = {
        TEST(names_are_checked),
        TEST(a_node_tells_where_and_who_it_is),
        TEST(two_nodes_of_one_process_meet),
        TEST(the_same_channel_in_two_spaces_is_two_channels),
        TEST(opening_and_closing_leaves_nothing),
        TEST(a_path_of_any_length_will_do),
        TEST(a_directory_that_does_not_exist_is_made),
        TEST(a_relative_directory_is_one_too),
        TEST(a_symbolic_link_is_not_followed),
        TEST(a_directory_open_to_others_is_refused),
        TEST(somebody_elses_directory_is_refused),
        TEST(a_file_is_no_directory),
        TEST(a_directory_that_cannot_be_written_is_refused),
        TEST(an_unknown_group_is_named),
        TEST(a_umask_that_takes_ones_own_rights_is_refused),
        TEST(users_of_one_group_meet_and_a_stranger_is_refused),
        TEST(who_may_not_expel_a_node_is_told_by_name_whose_it_is),
        TEST(a_new_process_still_meets_the_holders_of_a_swept_space),
        TEST(a_new_process_still_meets_the_holders_of_a_swept_base_directory),
    };
    return run_suite("space", tests, sizeof tests / sizeof tests[0], argc, argv);
}
