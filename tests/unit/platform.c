/* SPDX-License-Identifier: MIT
 *
 * platform.c - the small contracts of src/platform: sealed memory, doorbells, barriers, time; and spinning above them.
 */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/atomic.h"
#include "base/error.h"
#include "channel/wait.h"
#include "platform/barrier.h"
#include "platform/bell.h"
#include "platform/clock.h"
#include "platform/memfd.h"
#include "platform/process.h"
#include "platform/tcp.h"

#define SECOND 1000000000ll

/* ---- memory ---- */

static void memory_for_peers_cannot_be_written_shrunk_or_grown(void **state) {
    (void)state;
    int fd;
    void *map;
    struct stat st;
    size_t bytes = 4 * fi_page_size();
    assert_int_equal(fi_memfd_create("test", bytes, &fd, &map), 0);
    assert_int_equal(fstat(fd, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_true((size_t)st.st_blocks * 512 >= bytes);
    assert_int_equal(ftruncate(fd, 0), -1);
    assert_int_equal(ftruncate(fd, (off_t)bytes * 2), -1);
    assert_int_equal(pwrite(fd, "x", 1, 0), -1);
    assert_int_equal(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, (off_t)bytes), -1);
    assert_ptr_equal(mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), MAP_FAILED);
    assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), -1);
    memset(map, 'x', bytes); /* its owner writes on */
    close(fd);
    fi_memfd_unmap(map, bytes);
}

static void a_peers_memory_shows_what_its_owner_writes(void **state) {
    (void)state;
    int fd;
    void *own;
    const void *seen;
    size_t seen_bytes, bytes = 2 * fi_page_size();
    uint64_t inode;
    assert_int_equal(fi_memfd_create("test", bytes, &fd, &own), 0);
    assert_int_equal(fi_memfd_map_peer(fd, 1, bytes, &seen, &seen_bytes, &inode), 0);
    assert_int_equal(seen_bytes, bytes);
    assert_int_equal(inode, fi_memfd_inode(fd));
    close(fd);
    memcpy((char *)own + bytes - 6, "hello", 6);
    assert_string_equal((const char *)seen + bytes - 6, "hello");
    union {
        const void *from;
        void *to;
    } drop_const = {.from = seen};
    assert_int_equal(mprotect(drop_const.to, bytes, PROT_READ | PROT_WRITE), -1);
    fi_memfd_unmap(seen, bytes);
    fi_memfd_unmap(own, bytes);
}

/* A memory file of two pages with these seals; with a hole unless it is filled. */
static int make_file(int seals, bool filled) {
    int fd = memfd_create("made", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    off_t bytes = 2 * (off_t)fi_page_size();
    assert_true(fd >= 0 && ftruncate(fd, bytes) == 0);
    assert_true(!filled || fallocate(fd, 0, 0, bytes) == 0);
    assert_int_equal(fcntl(fd, F_ADD_SEALS, seals), 0);
    return fd;
}

static void refuse_with(int fd, size_t min_bytes, size_t max_bytes, int error) {
    const void *map;
    size_t bytes;
    uint64_t inode;
    assert_int_equal(fi_memfd_map_peer(fd, min_bytes, max_bytes, &map, &bytes, &inode), error);
    assert_true(fi_error_text()[0] != '\0');
    close(fd);
}

static void refuse(int fd, size_t min_bytes, size_t max_bytes) {
    refuse_with(fd, min_bytes, max_bytes, -EPROTO);
}

static void unfit_memory_is_refused(void **state) {
    (void)state;
    static const int all[] = {F_SEAL_SHRINK, F_SEAL_GROW, F_SEAL_FUTURE_WRITE, F_SEAL_SEAL};
    const int enough = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE | F_SEAL_SEAL;
    size_t bytes = 2 * fi_page_size();
    for (unsigned i = 0; i < 4; i++)
        refuse(make_file(enough & ~all[i], true), 1, bytes);
    refuse(make_file(enough, false), 1, bytes); /* a hole: we would be charged for it */
    refuse(make_file(enough, true), bytes + 1, 2 * bytes);
    refuse_with(make_file(enough, true), 1, bytes - 1, -EFBIG);
    refuse(make_file(enough, false), 1, bytes - 1);
    refuse(open("/dev/zero", O_RDONLY | O_CLOEXEC), 1, bytes);
    refuse(open("/proc/self/exe", O_RDONLY | O_CLOEXEC), 1, SIZE_MAX);
    refuse(-1, 1, bytes);
}

/* ---- bells ---- */

static void a_ring_is_kept_until_it_is_taken(void **state) {
    (void)state;
    fi_bell_t bell;
    assert_int_equal(fi_bell_init(&bell), 0);
    assert_int_equal(fi_bell_wait(bell.rd, fi_deadline(1000000)), 0);
    fi_bell_ring(bell.wr);
    assert_int_equal(fi_bell_wait(bell.rd, fi_deadline(10 * SECOND)), 1);
    assert_int_equal(fi_bell_wait(bell.rd, fi_deadline(10 * SECOND)), 1);
    fi_bell_drain(bell.rd);
    assert_int_equal(fi_bell_wait(bell.rd, fi_deadline(1000000)), 0);
    fi_bell_done(&bell);
    fi_bell_done(&bell);
}

static void a_full_bell_neither_blocks_nor_forgets(void **state) {
    (void)state;
    fi_bell_t bell;
    assert_int_equal(fi_bell_init(&bell), 0);
    for (unsigned i = 0; i < 100000; i++)
        fi_bell_ring(bell.wr);
    assert_int_equal(fi_bell_wait(bell.rd, fi_deadline(10 * SECOND)), 1);
    fi_bell_drain(bell.rd);
    assert_int_equal(fi_bell_wait(bell.rd, fi_deadline(1000000)), 0);
    fi_bell_done(&bell);
}

static void ringing_somebody_who_has_gone_does_nothing(void **state) {
    (void)state;
    fi_bell_t bell;
    signal(SIGPIPE, SIG_DFL); /* would end us */
    assert_int_equal(fi_bell_init(&bell), 0);
    close(bell.rd);
    errno = EDOM;
    fi_bell_ring(bell.wr);
    fi_bell_ring(-1);
    assert_int_equal(errno, EDOM);
    sigset_t pending;
    assert_int_equal(sigpending(&pending), 0);
    assert_int_equal(sigismember(&pending, SIGPIPE), 0);
    close(bell.wr);
}

static void only_the_write_end_of_a_pipe_is_a_bell(void **state) {
    (void)state;
    fi_bell_t bell;
    int blocking[2];
    int null = open("/dev/null", O_WRONLY | O_NONBLOCK | O_CLOEXEC);
    assert_int_equal(fi_bell_init(&bell), 0);
    assert_int_equal(pipe(blocking), 0);
    assert_int_equal(fi_bell_check(bell.wr), 0);
    assert_int_equal(fi_bell_check(bell.rd), -EPROTO);
    assert_int_equal(fi_bell_check(blocking[1]), -EPROTO);
    assert_int_equal(fi_bell_check(null), -EPROTO);
    assert_int_equal(fi_bell_check(-1), -EPROTO);
    close(null);
    close(blocking[0]);
    close(blocking[1]);
    fi_bell_done(&bell);
}

/* ---- processes ---- */

static void a_process_is_known_to_be_dead_once_it_is(void **state) {
    (void)state;
    int fd, pipe_ends[2];
    char byte;
    assert_int_equal(fi_pidfd_self(&fd), 0);
    assert_int_equal(fi_pidfd_check(fd, getpid()), 0);
    assert_int_equal(fi_pidfd_check(fd, getpid() + 1), -EPROTO);
    assert_int_equal(fi_pidfd_check(STDIN_FILENO, 0), -EPROTO);
    assert_false(fi_pidfd_dead(fd));
    close(fd);
    assert_int_equal(pipe(pipe_ends), 0);
    pid_t child = fork();
    if (child == 0) {
        close(pipe_ends[1]);
        _exit(read(pipe_ends[0], &byte, 1) != 0);
    }
    fd = (int)syscall(SYS_pidfd_open, child, 0);
    assert_false(fi_pidfd_dead(fd));
    close(pipe_ends[1]);
    siginfo_t info;
    assert_int_equal(waitid(P_PID, (id_t)child, &info, WEXITED | WNOWAIT), 0);
    assert_true(fi_pidfd_dead(fd)); /* a zombie is dead */
    assert_int_equal(waitpid(child, NULL, 0), child);
    assert_true(fi_pidfd_dead(fd));
    close(fd);
    close(pipe_ends[0]);
}

_Noreturn static void have_five_descriptors_and_wait(int end) {
    char byte = 0;
    end = dup2(end, 1000); /* out of the way */
    for (int fd = 0; fd < 1000; fd++)
        close(fd);
    for (int fd = 0; fd < 4; fd++)
        dup2(end, fd);
    _exit(write(end, &byte, 1) != 1 || read(end, &byte, 1) != 0);
}

static void a_process_lacks_descriptors_when_too_few_are_left_below_its_limit(void **state) {
    (void)state;
    struct rlimit limit;
    int ends[2];
    char byte;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    pid_t child = fork();
    if (child == 0)
        have_five_descriptors_and_wait(ends[1]);
    close(ends[1]);
    assert_int_equal(read(ends[0], &byte, 1), 1);
    assert_int_equal(prlimit(child, RLIMIT_NOFILE, NULL, &limit), 0);
    assert_false(fi_process_lacks_descriptors(child, 4));
    limit.rlim_cur = 10; /* the fifth one, which it has, is above that, and takes no place */
    assert_int_equal(prlimit(child, RLIMIT_NOFILE, &limit, NULL), 0);
    assert_false(fi_process_lacks_descriptors(child, 6));
    assert_true(fi_process_lacks_descriptors(child, 7));
    assert_false(fi_process_lacks_descriptors(0, 7)); /* not to be seen from here */
    shutdown(ends[0], SHUT_RDWR);
    close(ends[0]);
    assert_int_equal(waitpid(child, &(int){0}, 0), child);
    assert_false(fi_process_lacks_descriptors(child, 7));
}

/* ---- time ---- */

static void deadlines_neither_overflow_nor_go_backwards(void **state) {
    (void)state;
    assert_int_equal(fi_deadline(-1), FI_NEVER);
    assert_int_equal(fi_deadline(INT64_MAX), FI_NEVER);
    assert_int_equal(fi_time_left(FI_NEVER), FI_NEVER);
    assert_int_equal(fi_time_left(0), 0);
    int64_t deadline = fi_deadline(10 * SECOND);
    assert_true(fi_time_left(deadline) > 0 && fi_time_left(deadline) <= 10 * SECOND);
    struct timespec t = fi_timespec(-5);
    assert_true(t.tv_sec == 0 && t.tv_nsec == 0);
    t = fi_timespec(3 * SECOND + 7);
    assert_true(t.tv_sec == 3 && t.tv_nsec == 7);
}

/* ---- spinning ---- */

static void a_spin_is_as_long_as_its_policy_says(void **state) {
    (void)state;
    fi_spinner_t block = {.policy = FERRY_WAIT_BLOCK}, spin = {.policy = FERRY_WAIT_SPIN};
    fi_spinner_t adaptive = {.policy = FERRY_WAIT_ADAPTIVE};
    fi_spin_t s = fi_spin_begin();
    assert_false(fi_spin_more(&block, &s));
    s = fi_spin_begin();
    for (unsigned i = 0; i < 100000; i++)
        assert_true(fi_spin_more(&spin, &s));
    for (unsigned wait = 0; wait < 100; wait++) { /* in vain, again and again: each ends */
        int64_t end = fi_deadline(10 * SECOND);
        s = fi_spin_begin();
        assert_true(fi_spin_more(&adaptive, &s));
        while (fi_spin_more(&adaptive, &s))
            assert_true(fi_time_left(end) > 0);
    }
}

static uint32_t let_go;

static void *want_this_core(void *arg) {
    (void)arg;
    for (int64_t end = fi_deadline(60 * SECOND); !fi_load_acquire32(&let_go) && fi_time_left(end) > 0;) {
    }
    return NULL;
}

/* As in a dialogue on one core: what is waited for is there after each yield, since somebody else ran. */
static void wait_beside_another_one(fi_spinner_t *k) {
    for (unsigned wait = 0; wait < 200 && fi_spins_at_length(k); wait++) {
        fi_spin_t s = fi_spin_begin();

        while (fi_spin_more(k, &s) && !s.gave_way) {
        }
        fi_spin_paid(k, &s);
    }
}

static void who_shares_a_core_spins_no_longer_than_shortly(void **state) {
    (void)state;
    cpu_set_t before, one;
    pthread_t other;
    fi_spinner_t quick = {.policy = FERRY_WAIT_ADAPTIVE, .full_ns = 1000}; /* yields at its end only */
    fi_spinner_t slow = {.policy = FERRY_WAIT_ADAPTIVE, .full_ns = 1000000};

    assert_int_equal(pthread_getaffinity_np(pthread_self(), sizeof before, &before), 0);
    CPU_ZERO(&one);
    CPU_SET((unsigned)sched_getcpu(), &one);
    assert_int_equal(pthread_setaffinity_np(pthread_self(), sizeof one, &one), 0);
    assert_int_equal(pthread_create(&other, NULL, want_this_core, NULL), 0); /* which inherits the core */
    wait_beside_another_one(&quick);
    wait_beside_another_one(&slow);
    fi_store_release32(&let_go, 1);
    assert_int_equal(pthread_join(other, NULL), 0);
    assert_int_equal(pthread_setaffinity_np(pthread_self(), sizeof before, &before), 0);
    assert_false(fi_spins_at_length(&quick));
    assert_false(fi_spins_at_length(&slow));

    fi_spin_t s = fi_spin_begin(); /* what comes before the yield makes waits long again */
    while (s.start == 0)
        assert_true(fi_spin_more(&quick, &s));
    fi_spin_paid(&quick, &s);
    assert_true(fi_spins_at_length(&quick));
}

/* ---- barriers ---- */

enum { TURNS = 20000 };

/* Dekker's race: each side stores its word, then looks at the other's; at least one must see the other. */
static uint32_t light_word, heavy_word, light_saw[TURNS], heavy_saw[TURNS], turn_light, turn_heavy;

static void meet_at(uint32_t *mine, const uint32_t *other, uint32_t turn) {
    fi_store_release32(mine, turn);
    for (unsigned spins = 1; fi_load_acquire32(other) < turn; spins++)
        if (spins % 4096 == 0)
            sched_yield(); /* for machines with one core */
}

static void *light_side(void *arg) {
    (void)arg;
    for (uint32_t i = 0; i < TURNS; i++) {
        meet_at(&turn_light, &turn_heavy, i + 1);
        fi_store_relaxed32(&light_word, i + 1);
        fi_barrier_light();
        light_saw[i] = fi_load_relaxed32(&heavy_word);
    }
    return NULL;
}

static void one_of_two_sides_sees_the_other(void **state) {
    (void)state;
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, light_side, NULL), 0);
    for (uint32_t i = 0; i < TURNS; i++) {
        meet_at(&turn_heavy, &turn_light, i + 1);
        fi_store_relaxed32(&heavy_word, i + 1);
        (void)fi_barrier_heavy_global();
        heavy_saw[i] = fi_load_relaxed32(&light_word);
    }
    pthread_join(thread, NULL);
    for (uint32_t i = 0; i < TURNS; i++)
        assert_true(light_saw[i] == i + 1 || heavy_saw[i] == i + 1);
}

/* ---- connections ---- */

typedef struct seen {
    int fd;
    bool any;
} seen_t;

static void see(int fd, void *arg) {
    seen_t *s = arg;
    s->any |= fd == s->fd;
}

static bool is_prompt(const fi_tcp_t *t, void *arg) {
    (void)arg;
    return t->prompt && t->execs && !t->blocks;
}

/* Returns the port that `ends[0]` leads to. */
static uint16_t make_connection(int ends[2]) {
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof here;
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    assert_true(bind(listener, (struct sockaddr *)&here, len) == 0 && listen(listener, 1) == 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&here, &len), 0);
    ends[0] = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(ends[0], (struct sockaddr *)&here, len), 0);
    ends[1] = accept(listener, NULL, NULL);
    assert_true(ends[1] >= 0);
    close(listener);
    return ntohs(here.sin_port);
}

static void only_the_connection_that_is_meant_is_hung_up_on(void **state) {
    (void)state;
    int ends[2], one = 1;
    fi_tcp_t t;
    char byte;
    uint16_t port = make_connection(ends);
    seen_t seen = {.fd = ends[0]};
    fi_descriptors_each(see, &seen);
    assert_true(seen.any);
    assert_int_equal(write(ends[0], "12345", 5), 5);
    assert_true(fi_tcp_look(ends[0], &t));
    assert_true(t.blocks && t.execs && !t.prompt && !t.reuses && !t.resets);
    assert_int_equal(t.sent, 5);
    assert_int_equal(t.port, port);
    assert_true(t.rest >= 0 && t.rest < 5 * SECOND);
    assert_false(fi_tcp_hang_up(ends[0], is_prompt, NULL));
    assert_int_equal(recv(ends[0], &byte, 1, MSG_DONTWAIT), -1);
    assert_int_equal(setsockopt(ends[0], IPPROTO_TCP, TCP_NODELAY, &one, sizeof one), 0);
    assert_int_equal(fcntl(ends[0], F_SETFL, O_NONBLOCK), 0);
    assert_true(fi_tcp_hang_up(ends[0], is_prompt, NULL));
    assert_int_equal(recv(ends[0], &byte, 1, 0), 0);
    assert_false(fi_tcp_look(ends[0], &t)); /* it does not stand any more */
    close(ends[0]);
    close(ends[1]);
}

static void what_is_no_tcp_connection_is_not_taken_for_one(void **state) {
    (void)state;
    int pair[2];
    fi_tcp_t t;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    assert_false(fi_tcp_look(pair[0], &t));
    assert_false(fi_tcp_look(-1, &t));
    assert_false(fi_tcp_look(STDIN_FILENO, &t));
    close(pair[0]);
    close(pair[1]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_for_peers_cannot_be_written_shrunk_or_grown),
        cmocka_unit_test(a_peers_memory_shows_what_its_owner_writes),
        cmocka_unit_test(unfit_memory_is_refused),
        cmocka_unit_test(a_ring_is_kept_until_it_is_taken),
        cmocka_unit_test(a_full_bell_neither_blocks_nor_forgets),
        cmocka_unit_test(ringing_somebody_who_has_gone_does_nothing),
        cmocka_unit_test(only_the_write_end_of_a_pipe_is_a_bell),
        cmocka_unit_test(a_process_is_known_to_be_dead_once_it_is),
        cmocka_unit_test(a_process_lacks_descriptors_when_too_few_are_left_below_its_limit),
        cmocka_unit_test(deadlines_neither_overflow_nor_go_backwards),
        cmocka_unit_test(a_spin_is_as_long_as_its_policy_says),
        cmocka_unit_test(who_shares_a_core_spins_no_longer_than_shortly),
        cmocka_unit_test(one_of_two_sides_sees_the_other),
        cmocka_unit_test(only_the_connection_that_is_meant_is_hung_up_on),
        cmocka_unit_test(what_is_no_tcp_connection_is_not_taken_for_one),
    };
    return cmocka_run_group_tests_name("platform", tests, NULL, NULL);
}
