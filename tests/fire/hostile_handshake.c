/* SPDX-License-Identifier: MIT
 *
 * hostile_handshake.c - peers that are wrong from the first word: frames, descriptors, floods, false names.
 */
#include "raw.h"
#include "scene.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

/* ---- frames ---- */

typedef void spoil_fn(fi_frame_t *f);

static void spoil_magic(fi_frame_t *f) {
    f->magic ^= 1;
}
static void spoil_type_to_none(fi_frame_t *f) {
    f->type = 0;
}
static void spoil_type_to_unknown(fi_frame_t *f) {
    f->type = FI_FRAME_TYPES;
}
static void spoil_type_to_internal(fi_frame_t *f) {
    f->type = FI_PEER_GONE;
}
static void spoil_type_to_abandon(fi_frame_t *f) {
    f->type = FI_ABANDON;
}
static void spoil_type_to_most(fi_frame_t *f) {
    f->type = UINT16_MAX;
}
static void spoil_text(fi_frame_t *f) {
    memset(f->text, 'x', sizeof f->text);
}
static void spoil_type_name(fi_frame_t *f) {
    memset(f->contract.type_name, 'x', sizeof f->contract.type_name);
}

static spoil_fn *const spoilers[] = {
    spoil_magic,        spoil_type_to_none, spoil_type_to_unknown, spoil_type_to_internal, spoil_type_to_abandon,
    spoil_type_to_most, spoil_text,         spoil_type_name};
#define SPOILERS (sizeof spoilers / sizeof spoilers[0])

static void expect_hung_up(raw_t *raw, const char *after) {
    if (!raw_hung_up(raw, PATIENCE))
        fprintf(stderr, "# the connection lives on after %s\n", after);
    check(raw_hung_up(raw, MILLISECOND));
    raw_close(raw);
}

/* A connection that has introduced itself, or not. */
static raw_t connected(scene_t *scene, bool met) {
    raw_t raw;
    if (met)
        raw_meet(&raw, scene->node);
    else
        check(raw_connect(&raw, scene->node));
    return raw;
}

static void nonsense_ends_the_connection_it_came_on_and_no_other(void) {
    scene_t scene = {0};
    scene_begin(&scene);
    for (unsigned i = 0; i < 2 * SPOILERS; i++) {
        raw_t raw = connected(&scene, i % 2);
        fi_frame_t f = raw_frame(FI_LOOK, 0, 0);
        spoilers[i / 2](&f);
        raw_send(&raw, &f, NULL, 0);
        expect_hung_up(&raw, "a spoiled frame");
        scene_expect_service(&scene);
    }
    scene_end(&scene);
}

static void packets_of_another_size_end_the_connection(void) {
    static const size_t sizes[] = {1, 4, sizeof(fi_frame_t) - 1, sizeof(fi_frame_t) + 1, 4096, 60000};
    static unsigned char bytes[60000];
    scene_t scene = {0};
    scene_begin(&scene);
    for (unsigned i = 0; i < 2 * sizeof sizes / sizeof sizes[0]; i++) {
        raw_t raw = connected(&scene, i % 2);
        fi_frame_t f = raw_frame(FI_LOOK, 0, 0);
        memcpy(bytes, &f, sizeof f);
        raw_send_bytes(&raw, bytes, sizes[i / 2], NULL, 0);
        expect_hung_up(&raw, "a packet of another size");
    }
    scene_end(&scene);
}

/* What a frame must carry: memory first, then other descriptors. */
static unsigned burden(unsigned type, bool *memory) {
    *memory = type == FI_MEET_RECEIVER || type == FI_OFFER || type == FI_ACCEPT || type == FI_SEGMENT ||
              type == FI_RING || type == FI_RING_OK;
    return *memory + (type == FI_HELLO ? 2u : type == FI_MEET_RECEIVER ? 1u : 0u);
}

static void nothing_is_listened_to_before_the_introduction(void) {
    scene_t scene = {0};
    scene_begin(&scene);
    for (unsigned type = FI_MEET_SENDER; type < FI_FRAME_TYPES; type++) {
        bool memory;
        raw_t raw = connected(&scene, false);
        fi_frame_t f = raw_frame(type, 3, 1);
        unsigned count = burden(type, &memory);
        int page = raw_memory(4096, true, RAW_SEALS, NULL);
        int fds[2] = {memory ? page : raw.bell_wr, raw.bell_wr};
        strcpy(f.text, "pings");
        f.kind = FERRY_QUEUE;
        raw_send(&raw, &f, fds, count);
        close(page);
        if (type == FI_LOOK) { /* what `ferry ls` asks */
            raw_mail_t mail;
            raw_await(&raw, FI_LOOK_DONE, &mail);
            raw_close(&raw);
        } else {
            expect_hung_up(&raw, "a frame before HELLO");
        }
    }
    scene_end(&scene);
}

/* ---- descriptors ---- */

static void too_many_or_too_few_descriptors_end_the_connection(void) {
    scene_t scene = {0};
    scene_begin(&scene);
    for (unsigned type = FI_HELLO; type <= FI_LOOK; type++) {
        for (unsigned count = 0; count < 12; count++) {
            bool memory;
            raw_t raw = connected(&scene, type != FI_HELLO);
            if (count == burden(type, &memory)) {
                raw_close(&raw);
                continue;
            }
            int fds[12];
            for (unsigned i = 0; i < count; i++)
                fds[i] = raw.bell_wr;
            fi_frame_t f = raw_frame(type, 3, 1);
            f.a = raw.id;
            raw_send(&raw, &f, fds, count);
            expect_hung_up(&raw, "a frame with a wrong number of descriptors");
        }
    }
    scene_end(&scene);
}

static int plain_file(void) {
    char path[512];
    snprintf(path, sizeof path, "%s/plain", getenv("FERRY_DIR"));
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    check(fd >= 0 && ftruncate(fd, 65536) == 0);
    check(unlink(path) == 0);
    return fd;
}

static int a_socket(void) {
    return socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
}

static int blocking_pipe(void) {
    int ends[2];
    check(pipe2(ends, O_CLOEXEC) == 0);
    close(ends[0]);
    return ends[1];
}

static int read_end(void) {
    int ends[2];
    check(pipe2(ends, O_CLOEXEC | O_NONBLOCK) == 0);
    close(ends[1]);
    return ends[0];
}

static int an_eventfd(void) {
    return eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
}

static int an_epoll(void) {
    return epoll_create1(EPOLL_CLOEXEC);
}

static int a_directory(void) {
    return open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static int a_path(void) {
    return open("/etc/passwd", O_PATH | O_CLOEXEC);
}

static int device_zero(void) {
    return open("/dev/zero", O_RDWR | O_CLOEXEC);
}

static int pidfd_of_another(void) {
    return (int)syscall(SYS_pidfd_open, getppid(), 0);
}

static int unsealed(void) {
    return raw_memory(4096, true, 0, NULL);
}

static int sealed_less(void) {
    return raw_memory(4096, true, F_SEAL_SHRINK | F_SEAL_GROW, NULL);
}

static int sealed_for_shrinking_only(void) {
    return raw_memory(4096, true, F_SEAL_SHRINK | F_SEAL_FUTURE_WRITE | F_SEAL_SEAL, NULL);
}

static int with_a_hole(void) {
    return raw_memory(8 * 4096, false, RAW_SEALS, NULL);
}

static int empty(void) {
    return raw_memory(0, true, RAW_SEALS, NULL);
}

static int huge_and_empty(void) {
    int fd = memfd_create("ferry-raw", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    check(fd >= 0 && ftruncate(fd, (off_t)1 << 45) == 0 && fcntl(fd, F_ADD_SEALS, RAW_SEALS) == 0);
    return fd;
}

static int write_sealed_zeros(void) {
    return raw_memory(64, true, RAW_SEALS, NULL);
}

typedef int make_fn(void);
static make_fn *const not_a_bell[] = {plain_file, a_socket,    blocking_pipe, read_end, an_eventfd,
                                      an_epoll,   a_directory, device_zero,   unsealed};
static make_fn *const not_our_pidfd[] = {plain_file, a_socket, read_end,        an_eventfd,
                                         an_epoll,   a_path,   pidfd_of_another};
static make_fn *const not_memory[] = {plain_file,  a_socket,    blocking_pipe, an_eventfd,  a_directory,
                                      a_path,      device_zero, unsealed,      sealed_less, sealed_for_shrinking_only,
                                      with_a_hole, empty,       huge_and_empty};
#define COUNT(list) (sizeof(list) / sizeof(list)[0])

static void an_introduction_with_false_descriptors_is_refused(void) {
    scene_t scene = {0};
    scene_begin(&scene);
    for (unsigned i = 0; i < COUNT(not_a_bell) + COUNT(not_our_pidfd); i++) {
        bool bell = i < COUNT(not_a_bell);
        raw_t raw = connected(&scene, false);
        int fd = bell ? not_a_bell[i]() : not_our_pidfd[i - COUNT(not_a_bell)]();
        check(fd >= 0);
        raw_hello(&raw, raw.id, bell ? raw.pidfd : fd, bell ? fd : raw.bell_wr);
        close(fd);
        fprintf(stderr, "# false %s %u\n", bell ? "bell" : "pidfd", i);
        expect_hung_up(&raw, "HELLO with a false descriptor");
    }
    scene_end(&scene);
}

static void send_with_memory(raw_t *raw, unsigned type, int fd) {
    fi_frame_t f = raw_frame(type, 77, 1);
    f.kind = FERRY_QUEUE;
    f.a = 126;
    f.b = 1;
    strcpy(f.text, "pings");
    raw_send(raw, &f, (int[]){fd, raw->bell_wr}, type == FI_MEET_RECEIVER ? 2 : 1);
}

static void memory_that_could_change_under_its_reader_is_refused(void) {
    static const unsigned types[] = {FI_MEET_RECEIVER, FI_OFFER, FI_ACCEPT, FI_SEGMENT, FI_RING, FI_RING_OK};
    scene_t scene = {0};
    scene_begin(&scene);
    for (unsigned i = 0; i < COUNT(types) * COUNT(not_memory); i++) {
        raw_t raw = connected(&scene, true);
        int fd = not_memory[i % COUNT(not_memory)]();
        check(fd >= 0);
        send_with_memory(&raw, types[i / COUNT(not_memory)], fd);
        close(fd);
        expect_hung_up(&raw, "memory that is not sealed, not there or not memory");
    }
    scene_end(&scene);
}

/* Sealed and there, but too small for what it claims to be: every check of its contents must stay inside it. */
static void memory_that_is_too_small_is_not_read_beyond_its_end(void) {
    static const unsigned types[] = {FI_MEET_RECEIVER, FI_OFFER, FI_ACCEPT, FI_SEGMENT, FI_RING, FI_RING_OK};
    scene_t scene = {0};
    scene_begin(&scene);
    for (unsigned i = 0; i < COUNT(types); i++) {
        raw_t raw = connected(&scene, true);
        int fd = write_sealed_zeros();
        send_with_memory(&raw, types[i], fd);
        close(fd);
        scene_expect_service(&scene);
        raw_close(&raw);
    }
    scene_end(&scene);
}

/* ---- names ---- */

static void an_introduction_counts_once(void) {
    scene_t scene = {0};
    scene_begin(&scene);
    raw_t raw = connected(&scene, true);
    raw_hello(&raw, raw.id, raw.pidfd, raw.bell_wr);
    expect_hung_up(&raw, "a second HELLO");
    raw = connected(&scene, false);
    raw_hello(&raw, 0, raw.pidfd, raw.bell_wr);
    expect_hung_up(&raw, "a HELLO from node 0");
    scene_end(&scene);
}

typedef struct service {
    scene_shared_t *s;
    uint64_t served;
} service_t;

static bool more_was_served(void *arg) {
    service_t *service = arg;
    return atomic_load(&service->s->served) >= service->served;
}

/* Says what would end somebody else's links, if it were believed to be him. */
static void speak_as_another(raw_t *raw) {
    static const unsigned endings[] = {FI_CLOSE, FI_EXPEL, FI_REFUSE, FI_END};
    for (unsigned i = 0; i < COUNT(endings); i++)
        for (uint64_t tx = 1; tx < 8; tx++)
            for (uint64_t rx = 1; rx < 8; rx++) {
                fi_frame_t f = raw_frame(endings[i], tx, rx);
                f.kind = FERRY_QUEUE;
                strcpy(f.text, "answers");
                if (!raw_send(raw, &f, NULL, 0))
                    return;
            }
}

static void be_impostor(void *arg) {
    scene_t *scene = arg;
    uint64_t names[] = {atomic_load(&scene->s->friend_node), scene->node};
    for (unsigned i = 0; i < COUNT(names); i++) {
        raw_t raw = connected(scene, false);
        raw_hello(&raw, names[i], raw.pidfd, raw.bell_wr);
        speak_as_another(&raw);
        service_t more = {scene->s, atomic_load(&scene->s->served) + 5};
        await_that(more_was_served, &more, "the friend is not served any more");
        raw_close(&raw);
    }
}

static void nobody_can_speak_as_another_node(void) {
    scene_t scene = {0};
    scene_begin(&scene);
    child_join(child_start(be_impostor, &scene));
    scene_end(&scene);
}

/* A lost peer's names are swept when its process dies: to be told of that must not cost a descriptor for each loss. */
static void who_comes_and_goes_under_a_known_name_uses_nothing_up(void) {
    scene_t scene = {0};
    scene_begin(&scene);
    for (unsigned i = 0; i < 300; i++) {
        raw_t raw = connected(&scene, false);
        raw_hello(&raw, atomic_load(&scene.s->friend_node), raw.pidfd, raw.bell_wr);
        raw_close(&raw);
    }
    scene_expect_service(&scene);
    holdings_t now = holdings_of(scene.victim);
    unsigned few = scene.before.sockets + scene.before.pidfds + 40;
    for (unsigned i = 0; i < 200 && now.sockets + now.pidfds >= few;
         i++) { /* it may still be hearing of the last ones */
        nap(50 * MILLISECOND);
        now = holdings_of(scene.victim);
    }
    holdings_print("the victim", &now);
    check(now.sockets + now.pidfds < few);
    atomic_store(&scene.s->leave, 1);
    child_join(scene.victim);
    child_join(scene.friend);
}

/* ---- slowness and floods ---- */

static void who_says_nothing_is_dropped_after_a_while(void) {
    enum { SILENT = 16 };
    scene_t scene = {0};
    raw_t raw[SILENT];
    fi_frame_t look = raw_frame(FI_LOOK, 0, 0);
    scene_begin(&scene);
    for (unsigned i = 0; i < SILENT; i++)
        raw[i] = connected(&scene, false);
    int64_t begin = clock_ns();
    while (clock_ns() - begin < SECOND) { /* one of them keeps asking: that is no introduction either */
        raw_send_now(&raw[0], &look, sizeof look, NULL, 0);
        raw_hung_up(&raw[0], 20 * MILLISECOND);
        scene_expect_service(&scene);
    }
    for (unsigned i = 0; i < SILENT; i++)
        expect_hung_up(&raw[i], "saying nothing for long");
    scene_end(&scene);
}

static void be_a_newcomer(void *arg) {
    (void)arg;
    ferry_t *node = open_node("test");
    ferry_sender_t *tx = open_sender(node, "pings", FERRY_QUEUE, NULL);
    check_is(ferry_sender_wait(tx, 1, PATIENCE), 1);
    check_is(ferry_send(tx, "hello, I am new", 15, PATIENCE), 0);
    close_sender(tx);
    close_node(node);
}

static void a_flood_of_connections_keeps_only_newcomers_out_and_only_for_a_while(void) {
    enum { FLOOD = 100, LIMIT = 12 };
    scene_t scene = {.options = {.max_peers = LIMIT}};
    raw_t raw[FLOOD];
    unsigned open = 0;
    scene_begin(&scene);
    for (unsigned i = 0; i < FLOOD; i++)
        check(raw_connect(&raw[i], scene.node) || errno == EAGAIN);
    scene_expect_service(&scene);
    for (unsigned i = 0; i < FLOOD; i++)
        open += raw[i].fd >= 0 && !raw_hung_up(&raw[i], 5 * MILLISECOND);
    check(open <= LIMIT);
    scene_expect_service(&scene);
    for (unsigned i = 0; i < FLOOD; i++)
        raw_close(&raw[i]);
    scene_expect_recovery(&scene);
    uint64_t before = atomic_load(&scene.s->strange);
    child_join(child_start(be_a_newcomer, NULL));
    check_is(atomic_load(&scene.s->strange), before + 1);
    scene_end(&scene);
}

/* Asks without end and never reads an answer: what the victim keeps for it must have a limit. */
static void answers_that_nobody_reads_do_not_pile_up(void) {
    static const unsigned questions[] = {FI_LOOK, FI_MEET_SENDER};
    scene_t scene = {0};
    scene_begin(&scene);
    for (unsigned i = 0; i < COUNT(questions); i++) {
        raw_t raw = connected(&scene, true);
        uint64_t memory = status_of(scene.victim, "VmRSS:");
        fi_frame_t f = raw_frame(questions[i], 5, 0);
        f.kind = FERRY_QUEUE;
        strcpy(f.text, "pings");
        for (unsigned n = 0; n < (FIRE_SLOW ? 6000 : 60000) && raw_send(&raw, &f, NULL, 0); n++)
            f.tx++;
        scene_expect_service(&scene);
        holdings_t now = holdings_of(scene.victim);
        uint64_t more = status_of(scene.victim, "VmRSS:") - memory;
        printf("# question %u: %llu KiB more, %u pipes and %u memfds more\n", questions[i], (unsigned long long)more,
               now.pipes - scene.before.pipes, now.memfds - scene.before.memfds);
        fflush(stdout);
        check(more < 16 * 1024 * (FIRE_SLOW ? 4 : 1) || more > UINT64_MAX / 2);
        check(now.pipes < scene.before.pipes + 300);
        raw_close(&raw);
    }
    scene_end(&scene);
}

/* ---- descriptors run out ---- */

static void connections_that_cannot_be_accepted_cost_no_processor_time(void) {
    enum { FLOOD = 40 };
    scene_t scene = {0};
    raw_t raw[FLOOD];
    scene_begin(&scene);
    struct rlimit limit = {60, 60};
    unsigned used = scene.before.sockets + scene.before.pipes + scene.before.pidfds + scene.before.memfds +
                    scene.before.pool_memfds + scene.before.other;
    limit.rlim_cur = limit.rlim_max = used + 5;
    check(prlimit(scene.victim, RLIMIT_NOFILE, &limit, NULL) == 0);
    for (unsigned i = 0; i < FLOOD; i++)
        check(raw_connect(&raw[i], scene.node) || errno == EAGAIN);
    check(kill(scene.friend, SIGSTOP) == 0); /* the victim has nothing to do but its waits of 5 ms */
    nap(50 * MILLISECOND);
    int64_t before = cpu_ns_of(scene.victim);
    nap(SECOND);
    int64_t spent = cpu_ns_of(scene.victim) - before;
    check(kill(scene.friend, SIGCONT) == 0);
    printf("# %.1f ms of processor time in a second, with connections waiting that cannot be accepted\n",
           (double)spent / 1e6);
    fflush(stdout);
    check(spent < (FIRE_SLOW ? 700 : 300) * MILLISECOND);
    scene_expect_service(&scene);
    for (unsigned i = 0; i < FLOOD; i++)
        raw_close(&raw[i]);
    scene_end(&scene);
}

int main(int argc, char **argv) {
    const test_t tests[] = {
        TEST(nonsense_ends_the_connection_it_came_on_and_no_other),
        TEST(packets_of_another_size_end_the_connection),
        TEST(nothing_is_listened_to_before_the_introduction),
        TEST(too_many_or_too_few_descriptors_end_the_connection),
        TEST(an_introduction_with_false_descriptors_is_refused),
        TEST(memory_that_could_change_under_its_reader_is_refused),
        TEST(memory_that_is_too_small_is_not_read_beyond_its_end),
        TEST(an_introduction_counts_once),
        TEST(nobody_can_speak_as_another_node),
        TEST(who_comes_and_goes_under_a_known_name_uses_nothing_up),
        TEST(who_says_nothing_is_dropped_after_a_while),
        TEST(a_flood_of_connections_keeps_only_newcomers_out_and_only_for_a_while),
        TEST(answers_that_nobody_reads_do_not_pile_up),
        TEST(connections_that_cannot_be_accepted_cost_no_processor_time),
    };
    return run_suite("hostile handshake", tests, sizeof tests / sizeof tests[0], argc, argv);
}
