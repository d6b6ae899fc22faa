/* SPDX-License-Identifier: MIT
 *
 * scene.c - see scene.h.
 */
#include "scene.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- answers ---- */

#define ANSWER_WORDS 40 /* five lines and a bit, not a multiple of one */

typedef struct answer {
    uint64_t number;
    uint64_t bait[ANSWER_WORDS]; /* each could be a header: an inline record of 2 GiB */
} answer_t;

static void answer_fill(answer_t *a, uint64_t number) {
    a->number = number;
    for (unsigned i = 0; i < ANSWER_WORDS; i++)
        a->bait[i] = 0x7fffffc0u | UINT64_C(1) << 32 | UINT64_C(1) << 48;
}

static void answer_check(const void *data, size_t size) {
    answer_t want;
    check_is(size, sizeof want);
    uint64_t number;
    memcpy(&number, data, sizeof number);
    answer_fill(&want, number);
    check(memcmp(data, &want, sizeof want) == 0);
}

/* ---- the victim ---- */

typedef struct victim {
    scene_t *scene;
    scene_shared_t *s;
    ferry_receiver_t *pings;
    ferry_receiver_t *calls;
    ferry_sender_t *answers;
    ferry_sender_t *news;
} victim_t;

static void answer(victim_t *v, uint64_t number) {
    answer_t a;
    answer_fill(&a, number);
    int r = ferry_send(v->answers, &a, sizeof a, SCENE_WAIT);
    check(r == 0 || r == -ETIMEDOUT || r == -EAGAIN || r == -EDQUOT);
    r = ferry_send(v->news, &a, sizeof a, SCENE_WAIT);
    check(r == 0 || r == -EDQUOT);
}

/* Reads every byte: what cannot be read kills us. */
static void read_stranger(victim_t *v, ferry_msg_t *m) {
    const volatile unsigned char *data = ferry_msg_data(m);
    uint64_t sum = 0;
    for (size_t i = 0, n = ferry_msg_size(m); i < n; i++)
        sum += data[i];
    atomic_fetch_add(&v->s->strange, 1);
    atomic_fetch_add(&v->s->strange_sum, sum);
}

static void take_from(victim_t *v, ferry_receiver_t *rx, int64_t timeout) {
    ferry_msg_t *m = NULL;
    int64_t begin = clock_ns();
    int r = ferry_recv(rx, timeout, &m);
    uint64_t took = (uint64_t)(clock_ns() - begin);
    if (took > atomic_load(&v->s->slowest_ns))
        atomic_store(&v->s->slowest_ns, took);
    if (r == -EPROTO)
        atomic_fetch_add(&v->s->expelled, 1);
    if (r < 0) {
        check(r == -EPROTO || r == -ETIMEDOUT || r == -EAGAIN || r == -EPIPE || r == -EDQUOT || r == -ENOMEM);
        return;
    }
    if (info_of(m).sender_node == atomic_load(&v->s->friend_node) && ferry_msg_size(m) == 8)
        answer(v, number_in(m));
    else
        read_stranger(v, m);
    release(m);
}

static void be_victim(void *arg) {
    victim_t v = {.scene = arg, .s = ((scene_t *)arg)->s};
    /* Everything is stated: what is left open, anybody who is admitted may fix. */
    ferry_contract_t small = {.type_name = "answer", .type_size = sizeof(answer_t), .max_size = 4096, .quota = 1 << 20};
    ferry_contract_t news = small;
    news.hold = FERRY_HOLD_NEVER;
    ferry_t *node;
    check_is(ferry_open("test", &v.scene->options, &node), 0);
    v.pings = open_receiver(node, "pings", FERRY_QUEUE, NULL);
    v.calls = open_receiver(node, "calls", FERRY_TOPIC, NULL);
    v.answers = open_sender(node, "answers", FERRY_QUEUE, &small);
    v.news = open_sender(node, "news", FERRY_TOPIC, &news);
    atomic_store(&v.s->victim_node, ferry_node_id(node));
    atomic_fetch_add(&v.s->ready, 1);
    while (!atomic_load(&v.s->leave)) {
        rest_when_asked(&v.s->rest);
        take_from(&v, v.pings, SCENE_WAIT);
        take_from(&v, v.calls, FERRY_NOW);
    }
    drop_sender(v.answers);
    drop_sender(v.news);
    close_receiver(v.pings);
    close_receiver(v.calls);
    close_node(node);
}

/* ---- the friend ---- */

static void be_friend(void *arg) {
    scene_shared_t *s = ((scene_t *)arg)->s;
    ferry_t *node = open_node("test");
    ferry_receiver_t *rx = open_receiver(node, "answers", FERRY_QUEUE, NULL);
    ferry_sender_t *tx = open_sender(node, "pings", FERRY_QUEUE, NULL);
    atomic_store(&s->friend_node, ferry_node_id(node));
    atomic_fetch_add(&s->ready, 1);
    for (uint64_t n = 1; !atomic_load(&s->leave); n++) {
        ferry_msg_t *m = NULL;
        rest_when_asked(&s->rest);
        int r = ferry_send(tx, &n, sizeof n, SCENE_WAIT);
        check(r == 0 || r == -ETIMEDOUT);
        while ((r = ferry_recv(rx, MILLISECOND, &m)) == 0) {
            answer_check(ferry_msg_data(m), ferry_msg_size(m));
            release(m);
            atomic_fetch_add(&s->served, 1);
        }
        check(r == -ETIMEDOUT || (r == -EPIPE && atomic_load(&s->leave)));
    }
    drop_sender(tx);
    close_receiver(rx);
    close_node(node);
}

/* ---- the scene ---- */

void scene_begin(scene_t *scene) {
    scene->s = share(sizeof(scene_shared_t));
    scene->options.size = sizeof scene->options;
    scene->victim = child_start(be_victim, scene);
    await(&scene->s->ready, 1);
    scene->friend = child_start(be_friend, scene);
    await(&scene->s->ready, 2);
    scene->node = atomic_load(&scene->s->victim_node);
    scene_expect_service(scene);
    rest_begin(&scene->s->rest, 2);
    scene->before = holdings_at_rest(scene->victim);
    rest_end(&scene->s->rest);
}

static void expect_alive(pid_t pid, const char *who) {
    int status;
    if (waitpid(pid, &status, WNOHANG) == 0)
        return;
    fprintf(stderr, "# the %s has ended, status %#x\n", who, (unsigned)status);
    exit(1);
}

void scene_expect_service(scene_t *scene) {
    uint64_t before = atomic_load(&scene->s->served);
    int64_t end = clock_ns() + PATIENCE;
    while (atomic_load(&scene->s->served) < before + 5) {
        expect_alive(scene->victim, "victim");
        expect_alive(scene->friend, "friend");
        if (clock_ns() > end) {
            threads_print("the victim", scene->victim);
            threads_print("the friend", scene->friend);
            check_failed("the friend is still served", __FILE__, __LINE__);
        }
        nap(MILLISECOND / 4);
    }
}

static bool more_than_before(const holdings_t *now, const holdings_t *before) {
    return now->sockets > before->sockets || now->pipes > before->pipes || now->pidfds > before->pidfds ||
           now->other > before->other || now->threads > before->threads || now->memfds > before->memfds + 4 ||
           now->own_maps > before->own_maps + 4 || now->peer_maps > before->peer_maps + 4;
}

void scene_expect_recovery(scene_t *scene) {
    int64_t end = clock_ns() + PATIENCE;
    holdings_t now = holdings_of(scene->victim);
    while (more_than_before(&now, &scene->before)) {
        if (clock_ns() > end) {
            holdings_print("the victim before", &scene->before);
            holdings_print("the victim after", &now);
            check_failed("the victim holds nothing of those who attacked it", __FILE__, __LINE__);
        }
        nap(5 * MILLISECOND);
        now = holdings_of(scene->victim);
    }
}

void scene_expect_expelled(scene_t *scene, unsigned times) {
    await(&scene->s->expelled, times);
}

void scene_end(scene_t *scene) {
    scene_expect_service(scene);
    scene_expect_recovery(scene);
    scene_leave(scene);
}

void scene_leave(scene_t *scene) {
    uint64_t slowest = atomic_load(&scene->s->slowest_ns);
    printf("# slowest receive with a timeout of 5 ms: %.1f ms\n", (double)slowest / 1e6);
    fflush(stdout);
    check(slowest < 20 * SECOND);
    atomic_store(&scene->s->leave, 1);
    child_join(scene->victim);
    child_join(scene->friend);
}
