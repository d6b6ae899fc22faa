/* SPDX-License-Identifier: MIT
 *
 * hostile_fuzz.c - frames by dice: mostly nearly right, with descriptors that are mostly what they should be, so that
 * they come far. The seed is printed; FERRY_FIRE_SEED repeats a run.
 */
#include "raw.h"
#include "scene.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define COUNT(list) (sizeof(list) / sizeof(list)[0])

/* Descriptors that frames carry, made once: sound and unsound ones. */
typedef struct stock {
    int rings[4];
    int ctls[4];
    int page;
    int unsealed;
    int plain; /* standard error, whatever that is */
    struct fi_ring_head *heads[4];
    struct fi_ctl_head *ctl_heads[4];
    struct fi_receiver_page_copy *page_map;
} stock_t;

static const uint32_t sizes[4] = {8, 62, 126, 1000};

static void stock_make(stock_t *s) {
    for (unsigned i = 0; i < 4; i++) {
        s->rings[i] = raw_ring(sizes[i], &s->heads[i]);
        s->ctls[i] = raw_ctl(sizes[i], sizes[i], &s->ctl_heads[i]);
    }
    s->page = raw_good_page(&s->page_map);
    s->unsealed = raw_memory(4096, true, 0, NULL);
    s->plain = dup(2);
}

static void stock_free(stock_t *s) {
    for (unsigned i = 0; i < 4; i++) {
        close(s->rings[i]);
        close(s->ctls[i]);
        munmap(s->heads[i], fi_ring_bytes(sizes[i]));
        munmap(s->ctl_heads[i], fi_ctl_bytes(sizes[i], false));
    }
    close(s->page);
    close(s->unsealed);
    close(s->plain);
    raw_page_drop(s->page_map);
}

/* A number that is likely to mean something. */
static uint64_t number(dice_t *d) {
    static const uint64_t likely[] = {0, 1, 2, 3, 4, 5, 77, 78, 88, 89, 8, 62, 126, 1000, UINT32_MAX, UINT64_MAX};
    return dice_below(d, 16) ? likely[dice_below(d, COUNT(likely))] : dice_roll(d);
}

static void choose_text(dice_t *d, fi_frame_t *f) {
    static const char *const names[] = {"pings", "calls", "answers", "news", "", "nothing", "../x", "a b"};
    strcpy(f->text, names[dice_below(d, COUNT(names))]);
    if (dice_below(d, 64) == 0)
        memset(f->text, (int)dice_below(d, 256), sizeof f->text);
}

static fi_frame_t choose_frame(dice_t *d, const raw_t *raw) {
    fi_frame_t f = raw_frame((unsigned)dice_below(d, FI_FRAME_TYPES + 1), number(d), number(d));
    f.kind = (uint16_t)(dice_below(d, 16) ? 1 + dice_below(d, 2) : dice_roll(d));
    f.a = f.type == FI_HELLO && dice_below(d, 4) ? raw->id : number(d);
    f.b = number(d);
    f.flags = (uint32_t)dice_below(d, 4);
    f.error = (int32_t)number(d);
    if (dice_below(d, 8) == 0)
        f.contract = (fi_contract_t){.type_name = "thing",
                                     .type_size = number(d),
                                     .max_size = number(d),
                                     .hold = (uint32_t)dice_below(d, 4),
                                     .timestamps = (uint32_t)dice_below(d, 3),
                                     .durable = (uint32_t)dice_below(d, 4)};
    choose_text(d, &f);
    for (unsigned i = 0; i < COUNT(f.figures); i++)
        f.figures[i] = number(d);
    if (dice_below(d, 100) == 0)
        ((unsigned char *)&f)[dice_below(d, sizeof f)] ^= (unsigned char)dice_roll(d);
    return f;
}

/* What such a frame should carry, most of the time. */
static unsigned choose_cargo(dice_t *d, const stock_t *s, const raw_t *raw, unsigned type, int fds[3]) {
    unsigned count = 0, size = (unsigned)dice_below(d, 4);
    if (type == FI_HELLO) {
        fds[count++] = raw->pidfd;
        fds[count++] = raw->bell_wr;
    } else if (type == FI_MEET_RECEIVER) {
        fds[count++] = s->page;
        fds[count++] = raw->bell_wr;
    } else if (type == FI_OFFER || type == FI_RING) {
        fds[count++] = s->rings[size];
    } else if (type == FI_ACCEPT || type == FI_RING_OK) {
        fds[count++] = s->ctls[size];
    } else if (type == FI_SEGMENT) {
        fds[count++] = s->rings[3];
    }
    if (count > 0 && dice_below(d, 50) == 0)
        fds[dice_below(d, count)] = dice_below(d, 2) ? s->unsealed : s->plain;
    if (dice_below(d, 100) == 0)
        count = (unsigned)dice_below(d, 3) + (count == 0);
    for (unsigned i = 0; i < count; i++)
        fds[i] = fds[i] ? fds[i] : s->plain;
    return count;
}

/* One connection's life; returns how many frames the victim took. */
static unsigned one_connection(scene_t *scene, dice_t *d, const stock_t *stock) {
    raw_t raw;
    unsigned sent = 0;
    check(raw_connect(&raw, scene->node));
    if (dice_below(d, 16))
        raw_hello(&raw, raw.id, raw.pidfd, raw.bell_wr);
    for (bool alive = true; alive && sent < 200; sent++) {
        raw_mail_t mail;
        int fds[3] = {0};
        fi_frame_t f = choose_frame(d, &raw);
        unsigned count = choose_cargo(d, stock, &raw, f.type, fds);
        size_t size = dice_below(d, 200) ? sizeof f : (size_t)dice_below(d, sizeof f) + 1;
        alive = raw_send_bytes(&raw, &f, size, fds, count);
        int r = 1;
        while (alive && (r = raw_receive(&raw, &mail, 0)) == 1)
            raw_drop(&mail);
        alive = alive && r != 0;
    }
    raw_close(&raw);
    return sent;
}

#define BATCH 20u /* connections of one process */

typedef struct attack {
    scene_t *scene;
    stock_t stock;
    dice_t dice;
    uint64_t frames;
} attack_t;

/* A process of its own: while it lives it may read what it was offered, and the victim rightly keeps that. */
static void connect_some(void *arg) {
    attack_t *attack = arg;
    for (unsigned i = 0; i < BATCH; i++)
        attack->frames += one_connection(attack->scene, &attack->dice, &attack->stock);
}

static void frames_by_dice_harm_nobody(void) {
    scene_t scene = {.options = {.max_links_per_peer = 50, .max_memory_per_peer = 4 << 20}};
    attack_t *attack = share(sizeof *attack);
    unsigned rounds = fire_count("FERRY_FIRE_FRAMES", "connections of up to 200 frames", 6000, 600);
    attack->scene = &scene;
    attack->dice = dice_new("the frames");
    stock_make(&attack->stock);
    scene_begin(&scene);
    for (unsigned i = 0; i < rounds / BATCH; i++) {
        child_join(child_start(connect_some, attack));
        scene_expect_service(&scene);
        if (i % 12 == 0)
            scene_expect_recovery(&scene);
    }
    printf("# %llu frames\n", (unsigned long long)attack->frames);
    check(attack->frames > rounds);
    stock_free(&attack->stock);
    scene_end(&scene);
}

int main(int argc, char **argv) {
    const test_t tests[] = {
        TEST(frames_by_dice_harm_nobody),
    };
    return run_suite("hostile fuzz", tests, sizeof tests / sizeof tests[0], argc, argv);
}
