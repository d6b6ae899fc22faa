/* SPDX-License-Identifier: MIT
 *
 * scarcity.c - no descriptors, no memory, no disk: each is told, nothing is lost, nothing is left behind.
 */
#include "harness.h"
#include "mounts.h"
#include "objects.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

/* A region, what stands in it, and cells. */
static int try_shared_memory(ferry_t *node) {
    ferry_region_options_t growing = {.limit = 4 << 20, .prefault = 1}, reading = {.read_only = 1};
    ferry_region_t *region = NULL, *reader = NULL;
    ferry_buffer_t *buffer = NULL;
    ferry_cell_t *cell = NULL;
    ferry_ref_t place = 0, block = 0;
    int answer = ferry_region_open(node, "r", 1 << 20, &growing, &region);
    if (answer == 0)
        answer = ferry_region_open(node, "r", 0, &reading, &reader);
    if (answer == 0)
        answer = ferry_region_alloc(region, 3 << 20, &block);
    if (answer == 0)
        answer = ferry_buffer_open(region, &place, 8, 64, NULL, &buffer);
    if (answer == 0)
        answer = ferry_cell_open(node, "c", NULL, &cell);
    if (answer == 0 && ferry_cell_fd(cell) < 0)
        answer = ferry_cell_fd(cell);
    if (answer == 0)
        answer = ferry_cell_put(cell, "value", 6, NULL);
    check_is(ferry_buffer_close(buffer), 0);
    check_is(ferry_region_close(reader), 0);
    check_is(ferry_region_close(region), 0);
    check_is(ferry_cell_close(cell), 0);
    return answer;
}

static int try_a_published_region(ferry_t *node) {
    ferry_region_writer_t *writer = NULL;
    ferry_region_reader_t *reader = NULL;
    ferry_region_view_t *view = NULL;
    int answer = ferry_region_writer_open(node, "p", 1 << 20, NULL, &writer);
    if (answer == 0)
        answer = ferry_region_reader_open(node, "p", NULL, &reader);
    if (answer == 0)
        answer = ferry_region_publish(writer, PATIENCE, NULL);
    if (answer == 0)
        answer = ferry_region_view(reader, PATIENCE, &view);
    check_is(ferry_view_release(view), 0);
    check_is(ferry_region_reader_close(reader), 0);
    check_is(ferry_region_writer_close(writer), 0);
    return answer;
}

/* Tries everything under some limit; returns 0, or the first error. Whatever failed must have left nothing. */
static int try_everything(const char *words, int scarce) {
    ferry_t *node = NULL;
    ferry_sender_t *tx = NULL;
    ferry_receiver_t *rx = NULL;
    ferry_msg_t *m = NULL;
    ferry_mutex_t *mutex = NULL;
    void *data = NULL;
    int answer = ferry_open("test", NULL, &node);
    if (answer == 0)
        answer = ferry_sender_open(node, "q", FERRY_QUEUE, NULL, &tx);
    if (answer == 0)
        answer = ferry_receiver_open(node, "q", FERRY_QUEUE, NULL, &rx);
    if (answer == 0)
        answer = ferry_msg_new(tx, 1 << 20, PATIENCE, &data, &m);
    if (answer == 0)
        answer = ferry_send_msg(tx, m, PATIENCE);
    if (answer == 0)
        answer = ferry_mutex_open(node, "lock", NULL, &mutex);
    if (answer == 0)
        answer = try_shared_memory(node);
    if (answer == 0)
        answer = try_a_published_region(node);
    if (answer == scarce && !strstr(ferry_last_error(), words))
        fprintf(stderr, "# %s\n", ferry_last_error());
    check(answer != scarce || strstr(ferry_last_error(), words));
    if (answer == 0) {
        check_is(ferry_mutex_trylock(mutex), 0);
        check_is(ferry_mutex_unlock(mutex), 0);
        release(receive(rx));
        release(m);
    }
    check_is(ferry_mutex_close(mutex), 0);
    check_is(ferry_sender_close(tx, FERRY_NOW, NULL), 0);
    check_is(ferry_receiver_close(rx), 0);
    check_is(ferry_close(node), 0);
    return answer;
}

/* ---- no descriptors ---- */

static unsigned open_descriptors(void) {
    unsigned count = 0;
    DIR *dir = opendir("/proc/self/fd");
    check(dir != NULL);
    while (readdir(dir))
        count++;
    closedir(dir);
    return count;
}

static void a_process_without_descriptors_is_told_and_loses_nothing(void) {
    struct rlimit before;
    check_is(getrlimit(RLIMIT_NOFILE, &before), 0);
    check_is(try_everything("", 0), 0);
    unsigned held = open_descriptors(), refused = 0;
    int answer = -EMFILE;
    for (unsigned limit = 3; answer == -EMFILE; limit++) {
        check(limit < 200);
        allow_descriptors(limit);
        answer = try_everything("descriptor", -EMFILE);
        allow_descriptors((unsigned)before.rlim_cur);
        check(answer == 0 || answer == -EMFILE);
        check_is(open_descriptors(), held);
        refused += answer != 0;
    }
    check(refused > 0);
    check_is(try_everything("", 0), 0);
}

static void take_all_descriptors_while_linked(void *arg) {
    atomic_uint *stage = arg;
    ferry_t *node = open_node("test");
    ferry_receiver_t *rx = open_receiver(node, "q", FERRY_QUEUE, NULL);
    atomic_store(stage, 1);
    check_is(receive_number(rx), 1);
    allow_descriptors(3); /* nothing that the running link needs */
    atomic_store(stage, 2);
    for (uint64_t i = 2; i < 1000; i++)
        check_is(receive_number(rx), i);
    allow_descriptors(256);
    close_receiver(rx);
    close_node(node);
}

static void a_running_link_needs_no_more_descriptors(void) {
    atomic_uint *stage = share(sizeof *stage);
    pid_t child = child_start(take_all_descriptors_while_linked, stage);
    ferry_t *node = open_node("test");
    ferry_sender_t *tx = open_sender(node, "q", FERRY_QUEUE, NULL);
    await(stage, 1);
    send_number(tx, 1);
    await(stage, 2);
    for (uint64_t i = 2; i < 1000; i++)
        send_number(tx, i);
    close_sender(tx);
    child_join(child);
    close_node(node);
}

#define SIZES 6u

/* New memory comes with a descriptor that cannot be taken in now. */
static void receive_growing_messages(void *arg) {
    atomic_uint *stage = arg;
    ferry_t *node = open_node("test");
    ferry_receiver_t *rx = open_receiver(node, "q", FERRY_QUEUE, NULL);
    ferry_msg_t *m[SIZES];
    atomic_store(stage, 1);
    m[0] = receive(rx);
    allow_descriptors(3);
    atomic_store(stage, 2);
    await(stage, 3);
    nap(60 * MILLISECOND); /* it is waited for the descriptors longer than that */
    allow_descriptors(256);
    for (size_t i = 1; i < SIZES; i++)
        m[i] = receive(rx);
    for (size_t i = 0; i < SIZES; i++) {
        check_is(ferry_msg_size(m[i]), (size_t)10000 << 2 * i);
        check(filled(ferry_msg_data(m[i]), ferry_msg_size(m[i]), i));
        check_is(info_of(m[i]).attempt, 1);
        release(m[i]);
    }
    close_receiver(rx);
    close_node(node);
}

static void a_link_waits_for_descriptors_that_its_memory_needs(void) {
    static unsigned char bytes[10000 << 2 * SIZES];
    atomic_uint *stage = share(sizeof *stage);
    pid_t child = child_start(receive_growing_messages, stage);
    ferry_t *node = open_node("test");
    ferry_sender_t *tx = open_sender(node, "q", FERRY_QUEUE, NULL);
    await(stage, 1);
    for (size_t i = 0; i < SIZES; i++) {
        fill(bytes, (size_t)10000 << 2 * i, i);
        check_is(ferry_send(tx, bytes, (size_t)10000 << 2 * i, PATIENCE), 0);
        await(stage, 2);
        if (i == 1) /* the others come while it waits, or after */
            atomic_store(stage, 3);
    }
    check_is(ferry_sender_flush(tx, PATIENCE), 0);
    close_sender(tx);
    child_join(child);
    close_node(node);
}

/* What one sender has announced cannot be taken in; the other one needs nothing. */
static void lack_a_descriptor_for_one_sender(void *arg) {
    atomic_uint *stage = arg;
    ferry_t *node = open_node("test");
    ferry_receiver_t *rx = open_receiver(node, "q", FERRY_QUEUE, NULL);
    ferry_receiver_t *beside = open_receiver(node, "beside", FERRY_QUEUE, NULL);
    ferry_msg_t *m = NULL;
    check_is(receive_number(rx), 1);
    check_is(receive_number(beside), 1);
    allow_descriptors(3);
    atomic_store(stage, 1);
    check_error(ferry_recv(rx, PATIENCE, &m), -EMFILE, "q descriptors 3 again");
    check_error(ferry_recv(rx, PATIENCE, &m), -EPIPE, "were given up");
    atomic_store(stage, 2);
    check_is(receive_number(beside), 2); /* the connection is still there, and what else it carries */
    allow_descriptors(256);
    m = receive_once_linked(rx);
    check_is(ferry_msg_size(m), 100000);
    release(m);
    atomic_store(stage, 3);
    close_receiver(beside);
    close_receiver(rx);
    close_node(node);
}

static void a_receiver_without_descriptors_keeps_its_other_links_and_has_all_when_there_are_some(void) {
    char bytes[100000] = "by pointer";
    atomic_uint *stage = share(sizeof *stage);
    pid_t child = child_start(lack_a_descriptor_for_one_sender, stage);
    ferry_t *node = open_node("test");
    ferry_sender_t *tx = open_sender(node, "q", FERRY_QUEUE, NULL);
    ferry_sender_t *other = open_sender(node, "beside", FERRY_QUEUE, NULL);
    send_number(tx, 1);
    send_number(other, 1);
    await(stage, 1);
    check_is(ferry_send(tx, bytes, sizeof bytes, PATIENCE), 0);
    await(stage, 2);
    send_number(other, 2);
    await(stage, 3);
    child_join(child);
    close_sender(tx);
    close_sender(other);
    close_node(node);
}

/* A sender comes whom it cannot be linked with. */
static void lack_a_descriptor_for_a_newcomer(void *arg) {
    atomic_uint *stage = arg;
    ferry_t *node = open_node("test");
    ferry_receiver_t *rx = open_receiver(node, "q", FERRY_QUEUE, NULL);
    ferry_msg_t *m = NULL;
    check_is(receive_number(rx), 1);
    allow_descriptors(3);
    atomic_store(stage, 1);
    check_error(ferry_recv(rx, PATIENCE, &m), -EMFILE, "q descriptors 3 again");
    atomic_store(stage, 2);
    check_is(receive_number(rx), 2);
    allow_descriptors(256);
    check_is(receive_number(rx), 3);
    close_receiver(rx);
    close_node(node);
}

static void a_receiver_without_descriptors_for_another_sender_is_told_and_linked_when_there_are_some(void) {
    atomic_uint *stage = share(sizeof *stage);
    pid_t child = child_start(lack_a_descriptor_for_a_newcomer, stage);
    ferry_t *node = open_node("test");
    ferry_sender_t *tx = open_sender(node, "q", FERRY_QUEUE, NULL);
    send_number(tx, 1);
    await(stage, 1);
    ferry_sender_t *newcomer = open_sender(node, "q", FERRY_QUEUE, NULL);
    await(stage, 2);
    send_number(tx, 2);
    send_number(newcomer, 3);
    check_is(ferry_sender_flush(newcomer, PATIENCE), 0);
    child_join(child);
    close_sender(newcomer);
    close_sender(tx);
    close_node(node);
}

typedef struct keeper {
    atomic_uint holds;
    atomic_uint others; /* have it open, too */
    atomic_uint stranger;
    unsigned spare; /* descriptors: another node would need three */
} keeper_t;

static void keep_without_descriptors(void *arg) {
    keeper_t *k = arg;
    ferry_t *node = open_node("test");
    object_t mutex = object_open(node, MUTEX, "m", NULL);
    check_is(object_take(&mutex, FERRY_NOW), 0);
    atomic_store(&k->holds, 1);
    await(&k->others, 1);
    allow_descriptors(open_descriptors() - 3 + k->spare); /* the count has three of its own */
    atomic_store(&k->holds, 2);
    await(&k->stranger, 1);
    allow_descriptors(256);
    check_is(object_give(&mutex), 0);
    object_close(&mutex);
    close_node(node);
}

static void expect_it_to_be_kept(unsigned spare) {
    keeper_t *k = share(sizeof *k);
    k->spare = spare;
    pid_t keeper = child_start(keep_without_descriptors, k);
    await(&k->holds, 1);
    ferry_t *node = open_node("test");
    object_t mine = object_open(node, MUTEX, "m", NULL);
    check_is(object_take(&mine, FERRY_NOW), -EAGAIN);
    atomic_store(&k->others, 1);
    await(&k->holds, 2);
    ferry_t *stranger = open_node("test");
    object_t its = object_open(stranger, MUTEX, "m", NULL);
    check_is(object_take(&its, FERRY_NOW), -EAGAIN);
    check_is(object_take(&mine, 300 * MILLISECOND), -ETIMEDOUT);
    check_is(object_take(&its, 300 * MILLISECOND), -ETIMEDOUT);
    atomic_store(&k->stranger, 1);
    check_is(object_take(&its, PATIENCE), 0);
    check_is(object_give(&its), 0);
    child_join(keeper);
    object_close(&its);
    object_close(&mine);
    close_node(stranger);
    close_node(node);
}

/* Others cannot be connected with it, or not any more. That it lives the kernel tells them. */
static void who_has_no_descriptors_left_keeps_what_it_holds(void) {
    for (unsigned spare = 0; spare < 3; spare++)
        expect_it_to_be_kept(spare);
}

/* ---- no memory ---- */

#if !UNDER_SANITIZER

static void allow_memory(rlim_t bytes) {
    struct rlimit limit;
    check_is(getrlimit(RLIMIT_AS, &limit), 0);
    limit.rlim_cur = bytes;
    check_is(setrlimit(RLIMIT_AS, &limit), 0);
}

static rlim_t memory_in_use(void) {
    unsigned long pages = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    check(file != NULL && fscanf(file, "%lu", &pages) == 1);
    fclose(file);
    return pages * (rlim_t)sysconf(_SC_PAGESIZE);
}

static void a_process_without_memory_is_told_and_loses_nothing(void) {
    struct rlimit before;
    check_is(getrlimit(RLIMIT_AS, &before), 0);
    check_is(try_everything("", 0), 0);
    unsigned held = open_descriptors(), refused = 0;
    rlim_t used = memory_in_use();
    int answer = -ENOMEM;
    for (rlim_t more = 0; answer == -ENOMEM; more += 128 << 10) {
        check(more < (rlim_t)256 << 20);
        allow_memory(used + more);
        answer = try_everything("memory", -ENOMEM);
        allow_memory(before.rlim_cur);
        check(answer == 0 || answer == -ENOMEM);
        check_is(open_descriptors(), held);
        refused += answer != 0;
    }
    check(refused > 0);
    check_is(try_everything("", 0), 0);
}
#endif

static void a_message_larger_than_files_may_be_is_refused(void) {
    struct rlimit limit = {1 << 20, 1 << 20};
    ferry_t *node = open_node("test");
    ferry_sender_t *tx = open_sender(node, "q", FERRY_QUEUE, NULL);
    ferry_msg_t *m = NULL;
    void *data = NULL;
    check_is(setrlimit(RLIMIT_FSIZE, &limit), 0);
    check(ferry_msg_new(tx, 8 << 20, PATIENCE, &data, &m) < 0); /* and no SIGXFSZ */
    check(strstr(ferry_last_error(), "ulimit -f") != NULL);
    send_number(tx, 1);
    check_is(drop_sender(tx), 1);
    close_node(node);
}

/* Not even the few bytes that tell others of an end. */
static void an_end_is_refused_where_no_file_may_be_written(void) {
    struct rlimit limit = {0, 0};
    ferry_t *node = open_node("test");
    ferry_sender_t *tx = NULL;
    ferry_receiver_t *rx = NULL;
    check_is(setrlimit(RLIMIT_FSIZE, &limit), 0);
    check_error(ferry_sender_open(node, "q", FERRY_QUEUE, NULL, &tx), -EFBIG, "ulimit -f"); /* and no SIGXFSZ */
    check_error(ferry_receiver_open(node, "q", FERRY_QUEUE, NULL, &rx), -EFBIG, "ulimit -f");
    close_node(node);
}

/* ---- memory that may not be mapped ---- */

static void send_too_much(ferry_kind_t kind) {
    static char bytes[3 << 20];
    const ferry_options_t options = {.max_memory_per_peer = 1 << 20};
    ferry_t *poor = NULL;
    ferry_t *node = open_node("test");
    check_is(ferry_open("test", &options, &poor), 0);
    ferry_receiver_t *rx = open_receiver(poor, "q", kind, NULL);
    ferry_receiver_t *beside = open_receiver(poor, "beside", FERRY_QUEUE, NULL);
    ferry_sender_t *tx = open_sender(node, "q", kind, NULL);
    ferry_sender_t *other = open_sender(node, "beside", FERRY_QUEUE, NULL);
    ferry_msg_t *m = NULL;
    send_number(other, 1);
    check_is(receive_number(beside), 1);
    check_is(ferry_send(tx, bytes, sizeof bytes, PATIENCE), 0);
    check_error(ferry_recv(rx, PATIENCE, &m), -ENOMEM, "max_memory_per_peer (1048576 given");
    check_error(ferry_recv(rx, PATIENCE, &m), -EPIPE, "were given up");
    check_is(ferry_recv(beside, FERRY_NOW, &m), -EAGAIN); /* the connection is still there, and what else it carries */
    send_number(other, 2);
    check_is(receive_number(beside), 2);
    if (kind == FERRY_TOPIC)
        check_is(ferry_sender_flush(tx, PATIENCE), 0); /* it hears that it was given up */
    check_is(drop_sender(tx), kind == FERRY_QUEUE);
    close_sender(other);
    close_receiver(beside);
    close_receiver(rx);
    close_node(node);
    close_node(poor);
}

static void a_receiver_that_may_not_map_a_senders_memory_is_told_and_keeps_its_other_links(void) {
    send_too_much(FERRY_QUEUE);
    send_too_much(FERRY_TOPIC);
}

#if !UNDER_SANITIZER
static void a_receiver_that_cannot_map_a_senders_memory_is_told(void) {
    struct rlimit before;
    ferry_t *poor = open_node("test");
    ferry_t *node = open_node("test");
    ferry_receiver_t *rx = open_receiver(poor, "q", FERRY_QUEUE, NULL);
    ferry_receiver_t *beside = open_receiver(poor, "beside", FERRY_QUEUE, NULL);
    ferry_sender_t *tx = open_sender(node, "q", FERRY_QUEUE, NULL);
    ferry_sender_t *other = open_sender(node, "beside", FERRY_QUEUE, NULL);
    ferry_msg_t *m = NULL, *sent = NULL;
    void *data = NULL;
    check_is(ferry_msg_new(tx, 32 << 20, PATIENCE, &data, &sent), 0);
    check_is(getrlimit(RLIMIT_AS, &before), 0);
    allow_memory(memory_in_use() + (16 << 20));
    check_is(ferry_send_msg(tx, sent, PATIENCE), 0);
    check_error(ferry_recv(rx, PATIENCE, &m), -ENOMEM, "no memory again");
    allow_memory(before.rlim_cur);
    send_number(other, 1);
    check_is(receive_number(beside), 1);
    check_is(drop_sender(tx), 1);
    close_sender(other);
    close_receiver(beside);
    close_receiver(rx);
    close_node(node);
    close_node(poor);
}
#endif

/* ---- no disk ---- */

static void work_on_a_full_disk(void *arg) {
    (void)arg;
    if (!have_own_mounts()) {
        fprintf(stderr, "# no mount namespace is to be had here: the full disk was not tried\n");
        return;
    }
    unsigned refused = 0;
    int answer = -ENOSPC;
    for (unsigned inodes = 1; answer == -ENOSPC; inodes++) {
        char options[64];
        check(inodes < 64);
        snprintf(options, sizeof options, "nr_inodes=%u,mode=0700", inodes);
        check_is(mount("tmpfs", getenv("FERRY_DIR"), "tmpfs", 0, options), 0);
        ferry_t *node = NULL;
        check(ferry_open("test", NULL, &node) == 0 || strstr(ferry_last_error(), "FERRY_DIR"));
        check_is(ferry_close(node), 0);
        answer = try_everything("", 0);
        check(answer == 0 || (answer == -ENOSPC && ferry_last_error()[0] != '\0'));
        refused += answer != 0;
        check_is(umount2(getenv("FERRY_DIR"), MNT_DETACH), 0);
    }
    check(refused >= 4); /* no room for the space, for the socket, for an entry, for an object's name */
}

static void a_full_disk_is_told(void) {
    child_join(child_start(work_on_a_full_disk, NULL));
}

#if !UNDER_SANITIZER /* they have a calloc of their own */

/* ---- no memory for one thing only ---- */

extern void *__libc_calloc(size_t count, size_t size);
static atomic_bool no_tables;

/* In place of the C library's, also for Ferry: no table of 64 pointers, which a link needs for its first segment. */
void *calloc(size_t count, size_t size) {
    if (atomic_load(&no_tables) && count == 64 && size == sizeof(void *)) {
        errno = ENOMEM;
        return NULL;
    }
    return __libc_calloc(count, size);
}

static void a_receiver_without_memory_for_a_segment_is_told_and_gets_the_message_when_there_is_some(void) {
    char bytes[10000] = "by pointer";
    ferry_msg_t *m = NULL;
    ferry_t *node = open_node("test");
    ferry_sender_t *tx = open_sender(node, "q", FERRY_QUEUE, NULL);
    ferry_receiver_t *poor = open_receiver(node, "q", FERRY_QUEUE, NULL);
    atomic_store(&no_tables, true);
    check_is(ferry_send(tx, bytes, sizeof bytes, PATIENCE), 0);
    check_error(ferry_recv(poor, PATIENCE, &m), -ENOMEM, "memory q again");
    atomic_store(&no_tables, false);
    m = receive_once_linked(poor);
    check_is(ferry_msg_size(m), sizeof bytes);
    check(memcmp(ferry_msg_data(m), bytes, sizeof bytes) == 0);
    release(m);
    close_sender(tx);
    close_receiver(poor);
    close_node(node);
}

#endif

int main(int argc, char **argv) {
    const test_t tests[] = {
        TEST(a_process_without_descriptors_is_told_and_loses_nothing),
        TEST(a_running_link_needs_no_more_descriptors),
        TEST(a_link_waits_for_descriptors_that_its_memory_needs),
        TEST(a_receiver_without_descriptors_keeps_its_other_links_and_has_all_when_there_are_some),
        TEST(a_receiver_without_descriptors_for_another_sender_is_told_and_linked_when_there_are_some),
        TEST(who_has_no_descriptors_left_keeps_what_it_holds),
#if !UNDER_SANITIZER /* they need address space without end */
        TEST(a_process_without_memory_is_told_and_loses_nothing),
        TEST(a_receiver_without_memory_for_a_segment_is_told_and_gets_the_message_when_there_is_some),
        TEST(a_receiver_that_cannot_map_a_senders_memory_is_told),
#endif
        TEST(a_receiver_that_may_not_map_a_senders_memory_is_told_and_keeps_its_other_links),
        TEST(a_message_larger_than_files_may_be_is_refused),
        TEST(an_end_is_refused_where_no_file_may_be_written),
        TEST(a_full_disk_is_told),
    };
    return run_suite("scarcity", tests, sizeof tests / sizeof tests[0], argc, argv);
}
