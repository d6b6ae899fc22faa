/* SPDX-License-Identifier: MIT
 *
 * interleave_explore.c - one schedule after the other, depth first, until there is none left.
 */
#include "interleave_model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHOICES_MAX 1024
#define SCHEDULES_MAX 1000000u /* more take too long: then the scenario is too large */
#define SCHEDULES_MIN 100u     /* fewer explore nothing */
#define STATES_FIRST (1u << 14)
#define PREEMPTIONS_SHOWN 8u
#define ANEW 64u /* one schedule of so many begins anew: what changes and is in no picture is noticed then */

/* ---- the choices of this schedule ---- */

typedef struct choice {
    uint8_t count;
    uint8_t taken;
    bool kept; /* there is a picture of it: the other ways go on from there */
} choice_t;

static choice_t path[CHOICES_MAX];
static unsigned path_length, path_at;

/* ---- states that were there before ---- */

static uint64_t *states; /* open addressing; 0: free */
static size_t states_size, states_count;

static bool insert(uint64_t *table, size_t size, uint64_t state) {
    size_t at = state & (size - 1);
    for (; table[at]; at = (at + 1) & (size - 1))
        if (table[at] == state)
            return false;
    table[at] = state;
    return true;
}

static void grow(void) {
    size_t size = states_size ? 2 * states_size : STATES_FIRST;
    uint64_t *larger = calloc(size, sizeof *larger);
    assert_non_null(larger);
    for (size_t i = 0; i < states_size; i++)
        if (states[i])
            insert(larger, size, states[i]);
    free(states);
    states = larger;
    states_size = size;
}

/* False: it was there before. */
static bool is_new(uint64_t state) {
    if (2 * states_count >= states_size)
        grow();
    bool inserted = insert(states, states_size, state | 1);
    states_count += inserted;
    return inserted;
}

static void forget_states(void) {
    free(states);
    states = NULL;
    states_size = states_count = 0;
}

static uint64_t digest_of_notes(uint64_t digest) {
    const scenario_t *s = model.scenario;
    for (size_t i = 0; i < s->notes_bytes; i += sizeof(uint64_t)) {
        uint64_t word = 0;
        size_t left = s->notes_bytes - i;
        memcpy(&word, (const char *)s->notes + i, left < sizeof word ? left : sizeof word);
        digest = mix(digest, word);
    }
    return digest;
}

static uint64_t digest_of_thread(uint64_t digest, const model_thread_t *t) {
    digest = mix(digest, t->status);
    if (t->status == READY || t->status == ASLEEP) {
        digest = mix(digest, t->history);
        digest = mix(digest, t->status == ASLEEP ? (uint64_t)t->deadline : (uint64_t)t->result);
    }
    return digest;
}

/* Digest of all that decides what can come. */
static uint64_t state_now(void) {
    uint64_t digest = digest_of_notes(model.memory);
    for (unsigned i = 0; i < model.born; i++)
        digest = digest_of_thread(digest, &model.thread[i]);
    for (unsigned i = 0; i < model.asleep; i++)
        digest = mix(digest, model.sleepers[i]);
    digest = mix(digest, (uint64_t)model.now);
    digest = mix(digest, (uint64_t)model.expiries << 32 | model.delays);
    digest = mix(digest, (uint64_t)model.signals << 32 | model.deaths);
    digest = mix(digest, model.mortals);
    if (model.scenario->preemptions != ANY_NUMBER) {
        /* Who runs now matters only if he could go on: then all others cost a preemption. */
        bool goes_on = model.current != MAIN_FIBER && model.thread[model.current].status == READY;
        digest = mix(digest, goes_on ? model.current : MAIN_FIBER);
        digest = mix(digest, model.preemptions);
    }
    return digest;
}

/* ---- pictures: all that decides what can come, at a choice ---- */

static unsigned char *pictures; /* beside those of the fibers: the model, the object, the notes */
static size_t pictures_room;

static size_t picture_bytes(void) {
    return sizeof model + model.scenario->bytes + model.scenario->notes_bytes;
}

/* Each bit of a picture is put, or taken back. */
static void copy(size_t picture, bool back) {
    const scenario_t *s = model.scenario;
    unsigned char *at = pictures + picture * picture_bytes();
    void *parts[] = {&model, s->memory, s->notes};
    const size_t bytes[] = {sizeof model, s->bytes, s->notes_bytes};
    for (size_t i = 0; i < 3; at += bytes[i++])
        if (bytes[i] > 0)
            memcpy(back ? parts[i] : at, back ? at : parts[i], bytes[i]);
}

/* True: the schedule has gone back to it, to go on in another way. */
static bool keep_picture(void) {
    if ((fibers_kept() + 1) * picture_bytes() > pictures_room) {
        pictures_room = 2 * (fibers_kept() + 1) * picture_bytes();
        pictures = realloc(pictures, pictures_room);
        assert_non_null(pictures);
    }
    copy(fibers_kept(), false);
    return fibers_keep(model.current, model.born);
}

static void forget_pictures(void) {
    while (fibers_kept() > 0)
        fibers_forget();
}

int model_choose(unsigned count) {
    if (count == 1)
        return 0;
    if (path_at < path_length) {
        if (path[path_at].count != count)
            model.failure = "the same choices have led to another state: the model is wrong";
        return path[path_at++].taken;
    }
    if (!is_new(state_now())) {
        model.known = true;
        return -1;
    }
    if (path_length == CHOICES_MAX) {
        model.failure = "it goes on and on";
        return -1;
    }
    /* The program's own stack cannot be put back; it chooses at the very beginning only. */
    path[path_length++] = (choice_t){(uint8_t)count, 0, model.current != MAIN_FIBER};
    path_at++;
    return path[path_length - 1].kept && keep_picture() ? path[path_length - 1].taken : 0;
}

/* Goes on to the next schedule; false: that was the last one. */
static bool next_path(void) {
    for (; path_length > 0 && path[path_length - 1].taken + 1u == path[path_length - 1].count; path_length--)
        if (path[path_length - 1].kept)
            fibers_forget();
    if (path_length == 0)
        return false;
    path[path_length - 1].taken++;
    return true;
}

/* ---- one schedule ---- */

static uint64_t digest_at_first; /* of the object; set_up makes the same one each time */

/* Those who were in the middle of something shall not go on with it. */
static void tear_down(unsigned first) {
    model.tears_down = true;
    for (unsigned i = first; i < model.born; i++)
        if (model.thread[i].begun)
            fiber_switch(MAIN_FIBER, i);
    model.tears_down = false;
}

static void begin(const scenario_t *s) {
    bool prints = model.prints;
    tear_down(0);
    memset(s->memory, 0, s->bytes);
    if (s->notes)
        memset(s->notes, 0, s->notes_bytes);
    model = (model_t){.scenario = s,
                      .current = MAIN_FIBER,
                      .alone = true,
                      .prints = prints,
                      .now = 1000 * MILLISECOND,
                      .mortals = s->mortals,
                      .preemptions = s->preemptions,
                      .expiries = s->expiries,
                      .delays = s->delays,
                      .signals = s->signals,
                      .deaths = s->deaths};
    if (s->set_up)
        s->set_up();
    model.alone = false;
    model.memory = digest_at_first;
    for (; model.born < s->threads; model.born++)
        model.thread[model.born] = (model_thread_t){.status = READY};
    path_at = 0;
}

static void end(const scenario_t *s) {
    model.alone = true;
    if (!model.failure && model.memory != model_digest())
        model.failure = "the object was changed by other means than the model's";
    if (!model.failure && !model.known && s->finish)
        s->finish();
}

static void run_schedule(const scenario_t *s) {
    begin(s);
    model_schedule();
    end(s);
}

/* From the last choice on. The picture has all but those who were born after it. */
static void run_rest(const scenario_t *s) {
    model_t then;
    memcpy(&then, pictures + (fibers_kept() - 1) * picture_bytes(), sizeof then);
    tear_down(then.born);
    copy(fibers_kept() - 1, true);
    fibers_go_back();
    end(s);
}

/* ---- all of them ---- */

/* How many schedules there were; the last one has failed if model.failure is set. */
static unsigned run_all(const scenario_t *s) {
    unsigned count = 0;
    path_length = 0;
    forget_pictures();
    begin(s);
    digest_at_first = model_digest();
    do {
        if (path_length > 0 && path[path_length - 1].kept && count % ANEW != 0)
            run_rest(s);
        else
            run_schedule(s);
        count++;
    } while (!model.failure && count < SCHEDULES_MAX && next_path());
    return count;
}

void model_print(const char *format, ...) {
    va_list args;
    if (!model.prints)
        return;
    if (model.current == MAIN_FIBER)
        printf("#           ");
    else
        printf("# thread %u: ", model.current);
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    printf("\n");
}

/* Again, with few preemptions at first: who reads a schedule is glad of a short one. */
static void show_shortest(const scenario_t *s) {
    scenario_t narrow = *s;
    uint32_t most = s->preemptions < PREEMPTIONS_SHOWN ? s->preemptions : PREEMPTIONS_SHOWN;
    model.failure = NULL;
    for (uint32_t i = 0; !model.failure && i <= most + 1; i++) {
        narrow.preemptions = i <= most ? i : s->preemptions;
        forget_states();
        run_all(&narrow);
    }
    model.prints = true;
    run_schedule(&narrow);
    model.prints = false;
    printf("# -> %s\n", model.failure ? model.failure : "it does not happen again");
}

void explore(const scenario_t *s) {
    static bool made;
    if (!made)
        fibers_make(model_live);
    made = true;
    unsigned count = run_all(s);
    printf("# %u schedules, %zu states\n", count, states_count);
    bool failed = model.failure != NULL;
    if (failed)
        show_shortest(s);
    forget_states();
    fflush(stdout);
    if (failed)
        fail_msg("a schedule breaks a rule");
    if (count >= SCHEDULES_MAX)
        fail_msg("more schedules than can be explored");
    if (count < SCHEDULES_MIN)
        fail_msg("so few schedules explore nothing");
}
