/* SPDX-License-Identifier: MIT
 *
 * isolation.c - peers that share nothing but the directory: two mount, PID, IPC, network and user namespaces, as two
 * containers have.
 */
#include "objects.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* What the two parts share besides the directory: memory of the test's own, to tell each other how far they are. */
typedef struct meeting {
    atomic_uint holds;
    atomic_uint told;
    int pid; /* of one of them, as it sees itself, and where that is */
    uint64_t namespace;
} meeting_t;

typedef struct part {
    void (*play)(meeting_t *meeting);
    meeting_t *meeting;
    bool isolated;
} part_t;

static void write_file(const char *path, const char *text) {
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    check(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
    close(fd);
}

/* A shared memory of its own. The directory is the same, even if it stands there. */
static void hide_shared_memory(void) {
    const char *directory = getenv("FERRY_DIR");
    char source[64], path[512];
    int fd = open(directory, O_PATH | O_DIRECTORY | O_CLOEXEC);
    check(fd >= 0);
    check_is(mount("tmpfs", "/dev/shm", "tmpfs", 0, NULL), 0);
    snprintf(source, sizeof source, "/proc/self/fd/%d", fd);
    snprintf(path, sizeof path, "%s", directory);
    if (strncmp(path, "/dev/shm/", 9) == 0) {
        for (char *at = strchr(path + 9, '/'); at; *at = '/', at = strchr(at + 1, '/')) {
            *at = '\0';
            (void)mkdir(path, 0700);
        }
        check_is(mkdir(path, 0700), 0);
        check_is(mount(source, path, NULL, MS_BIND, NULL), 0);
    }
    close(fd);
}

/* Goes where nobody outside is seen, except through the directory. False where the system does not allow it. */
static bool leave_the_others(void) {
    char uid_map[64], gid_map[64];
    snprintf(uid_map, sizeof uid_map, "%u %u 1", geteuid(), geteuid());
    snprintf(gid_map, sizeof gid_map, "%u %u 1", getegid(), getegid());
    if (unshare(CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWNET) != 0)
        return false;
    write_file("/proc/self/setgroups", "deny");
    write_file("/proc/self/uid_map", uid_map);
    write_file("/proc/self/gid_map", gid_map);
    check_is(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
    hide_shared_memory();
    return true;
}

/* Process 1 of its PID namespace. Where it may, it also mounts that namespace's own /proc. */
static void play_inside(void *arg) {
    part_t *part = arg;
    if (part->isolated) {
        check_is(getpid(), 1);
        (void)mount("proc", "/proc", "proc", 0, NULL); /* refused where the outer /proc is not shown whole */
    }
    part->play(part->meeting);
}

static void play_apart(void *arg) {
    part_t *part = arg;
    part->isolated = leave_the_others();
    if (!part->isolated)
        fprintf(stderr, "# no namespaces are to be had here: tried without them\n");
    int status = child_wait(child_start(play_inside, part));
    _exit(WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status));
}

static pid_t start_part(void (*play)(meeting_t *meeting), meeting_t *meeting) {
    part_t *part = share(sizeof *part);
    part->play = play;
    part->meeting = meeting;
    return child_start(play_apart, part);
}

static size_t size_of(unsigned i) {
    return i % 5 == 4 ? 50000 : 10 + i % 100;
}

static void send_apart(meeting_t *meeting) {
    static unsigned char bytes[50000];
    (void)meeting;
    ferry_t *node = open_node("test");
    ferry_sender_t *tx = open_sender(node, "q", FERRY_QUEUE, NULL);
    for (unsigned i = 0; i < 1000; i++) {
        fill(bytes, size_of(i), i);
        check_is(ferry_send(tx, bytes, size_of(i), PATIENCE), 0);
    }
    close_sender(tx);
    close_node(node);
}

static void receive_apart(meeting_t *meeting) {
    (void)meeting;
    ferry_t *node = open_node("test");
    ferry_receiver_t *rx = open_receiver(node, "q", FERRY_QUEUE, NULL);
    for (unsigned i = 0; i < 1000; i++) {
        ferry_msg_t *m = receive(rx);
        check_is(ferry_msg_size(m), size_of(i));
        check(filled(ferry_msg_data(m), size_of(i), i));
        release(m);
    }
    close_receiver(rx);
    close_node(node);
}

static void two_that_share_only_the_directory_meet(void) {
    meeting_t *meeting = share(sizeof *meeting);
    pid_t receiver = start_part(receive_apart, meeting);
    pid_t sender = start_part(send_apart, meeting);
    child_join(sender);
    child_join(receiver);
}

static void hold_apart_and_die(meeting_t *meeting) {
    ferry_t *node = open_node("test");
    ferry_receiver_t *rx = open_receiver(node, "work", FERRY_QUEUE, NULL);
    receive(rx);
    receive(rx);
    atomic_store(&meeting->holds, 1);
    kill(getpid(), SIGKILL); /* process 1 is spared its own signals, but not this way: */
    _exit(9);                /* in a namespace of its own it leaves without a word */
}

static void send_to_the_doomed(meeting_t *meeting) {
    ferry_t *node = open_node("test");
    ferry_sender_t *tx = open_sender(node, "work", FERRY_QUEUE, NULL);
    send_number(tx, 1);
    send_number(tx, 2);
    await(&meeting->holds, 1);
    ferry_receiver_t *rx = open_receiver(node, "work", FERRY_QUEUE, NULL);
    for (unsigned i = 0; i < 2; i++) {
        ferry_msg_t *m = receive(rx);
        check_is(info_of(m).attempt, 2);
        release(m);
    }
    close_sender(tx);
    close_receiver(rx);
    close_node(node);
}

static void a_death_is_told_from_one_namespace_to_another(void) {
    meeting_t *meeting = share(sizeof *meeting);
    pid_t receiver = start_part(hold_apart_and_die, meeting);
    pid_t sender = start_part(send_to_the_doomed, meeting);
    int status = child_wait(receiver);
    check(WIFEXITED(status) && (WEXITSTATUS(status) == 9 || WEXITSTATUS(status) == 128 + SIGKILL));
    child_join(sender);
}

/* ---- locks ---- */

static void lock_apart_and_die(meeting_t *meeting) {
    ferry_t *node = open_node("test");
    ferry_mutex_t *mutex = open_mutex(node, "lock");
    check_is(ferry_mutex_lock(mutex, PATIENCE), 0);
    atomic_store(&meeting->holds, 1);
    await(&meeting->holds, 2);
    kill(getpid(), SIGKILL);
    _exit(9);
}

static void inherit_lock(meeting_t *meeting) {
    ferry_t *node = open_node("test");
    ferry_mutex_t *mutex = open_mutex(node, "lock");
    await(&meeting->holds, 1);
    check_is(ferry_mutex_lock(mutex, 10 * MILLISECOND), -ETIMEDOUT);
    atomic_store(&meeting->holds, 2);
    check_is(ferry_mutex_lock(mutex, PATIENCE), FERRY_OWNER_DIED);
    check_is(ferry_mutex_repaired(mutex), 0);
    check_is(ferry_mutex_unlock(mutex), 0);
    check_is(ferry_mutex_close(mutex), 0);
    close_node(node);
}

static void a_locks_holder_that_dies_in_another_namespace_is_missed(void) {
    meeting_t *meeting = share(sizeof *meeting);
    pid_t holder = start_part(lock_apart_and_die, meeting);
    pid_t heir = start_part(inherit_lock, meeting);
    int status = child_wait(holder);
    check(WIFEXITED(status) && (WEXITSTATUS(status) == 9 || WEXITSTATUS(status) == 128 + SIGKILL));
    child_join(heir);
}

static void embrace(meeting_t *meeting, const char *mine, const char *other) {
    ferry_t *node = open_node("test");
    ferry_mutex_t *held = open_mutex(node, mine), *wanted = open_mutex(node, other);
    check_is(ferry_mutex_lock(held, PATIENCE), 0);
    atomic_fetch_add(&meeting->holds, 1);
    await(&meeting->holds, 2);
    int answer = ferry_mutex_lock(wanted, PATIENCE);
    check(answer == 0 || answer == -EDEADLK);
    check(answer == 0 || (strstr(ferry_last_error(), mine) && strstr(ferry_last_error(), other)));
    check(answer == 0 || getpid() != 1 || strstr(ferry_last_error(), "[1/1 ")); /* the other one is so to itself */
    check(answer == 0 || getpid() != 1 || strstr(ferry_last_error(), "in PID namespace"));
    atomic_fetch_add(&meeting->told, answer == -EDEADLK);
    check(answer != 0 || ferry_mutex_unlock(wanted) == 0);
    check_is(ferry_mutex_unlock(held), 0);
    check_is(ferry_mutex_close(held), 0);
    check_is(ferry_mutex_close(wanted), 0);
    close_node(node);
}

static void embrace_from_left(meeting_t *meeting) {
    embrace(meeting, "left", "right");
}

static void embrace_from_right(meeting_t *meeting) {
    embrace(meeting, "right", "left");
}

static void a_deadlock_between_two_namespaces_is_found(void) {
    meeting_t *meeting = share(sizeof *meeting);
    pid_t left = start_part(embrace_from_left, meeting);
    pid_t right = start_part(embrace_from_right, meeting);
    child_join(left);
    child_join(right);
    check_is(atomic_load(&meeting->told), 1);
}

/* ---- who is who ---- */

static uint64_t own_namespace(void) {
    struct stat st;
    check_is(stat("/proc/self/ns/pid", &st), 0);
    return st.st_ino;
}

static void be_seen(meeting_t *meeting) {
    ferry_t *node = open_node("test");
    meeting->pid = getpid();
    meeting->namespace = own_namespace();
    atomic_store(&meeting->holds, 1);
    await(&meeting->holds, 2);
    close_node(node);
}

/* Looks again where the other one was not given a processor in time to say anything. */
static const ferry_look_node_t *see_the_other(ferry_look_t **look) {
    for (int64_t end = monotonic() + PATIENCE;;) {
        check_is(ferry_look("test", NULL, look), 0);
        check_is(ferry_look_nodes(*look), 1);
        const ferry_look_node_t *other = ferry_look_node(*look, 0);
        if (other->answered)
            return other;
        check(monotonic() < end);
        ferry_look_close(*look);
    }
}

static void look_at_the_other(meeting_t *meeting) {
    ferry_look_t *look = NULL;
    await(&meeting->holds, 1);
    const ferry_look_node_t *other = see_the_other(&look);
    check_is(other->own_pid, meeting->pid);
    check_is(other->pid_namespace, meeting->namespace);
    check_is(other->pid, meeting->namespace == own_namespace() ? meeting->pid : 0);
    ferry_look_close(look);
    atomic_store(&meeting->holds, 2);
}

static void a_process_of_another_namespace_says_who_it_is_there(void) {
    meeting_t *meeting = share(sizeof *meeting);
    pid_t seen = start_part(be_seen, meeting);
    pid_t looker = start_part(look_at_the_other, meeting);
    child_join(looker);
    child_join(seen);
}

static void look_from_outside(void *arg) {
    meeting_t *meeting = arg;
    await(&meeting->holds, 1);
    ferry_look_t *look = NULL;
    const ferry_look_node_t *inside = see_the_other(&look);
    check(inside->pid > 1);
    check_is(inside->own_pid, meeting->pid);
    check_is(inside->pid_namespace, meeting->namespace);
    check((inside->pid == inside->own_pid) == (inside->pid_namespace == own_namespace()));
    ferry_look_close(look);
    atomic_store(&meeting->holds, 2);
}

static void who_sees_it_from_outside_is_told_both_numbers(void) {
    meeting_t *meeting = share(sizeof *meeting);
    pid_t seen = start_part(be_seen, meeting);
    child_join(child_start(look_from_outside, meeting));
    child_join(seen);
}

int main(int argc, char **argv) {
    const test_t tests[] = {
        TEST(two_that_share_only_the_directory_meet),
        TEST(a_death_is_told_from_one_namespace_to_another),
        TEST(a_locks_holder_that_dies_in_another_namespace_is_missed),
        TEST(a_deadlock_between_two_namespaces_is_found),
        TEST(a_process_of_another_namespace_says_who_it_is_there),
        TEST(who_sees_it_from_outside_is_told_both_numbers),
    };
    return run_suite("isolation", tests, sizeof tests / sizeof tests[0], argc, argv);
}
