/* SPDX-License-Identifier: MIT
 *
 * circle.c - circles of waits, of every length and over everything that can be held: each is found, by exactly one of
 * those in it, who is told the names of all locks; and when that one gives back what it holds, all others go on.
 */
#include "objects.h"

#include <stdio.h>
#include <string.h>

#define MEMBERS 8

/* How a place is held by one member and wanted by another. */
typedef struct way {
    kind_t held, wanted;
    bool is_queue; /* held: its only receiver, which takes nothing; wanted: room for one more message */
} way_t;

static const way_t ways[] = {
    {.held = MUTEX, .wanted = MUTEX},   {.held = READER, .wanted = WRITER}, {.held = OWNED, .wanted = OWNED},
    {.held = WRITER, .wanted = READER}, {.held = WRITER, .wanted = WRITER},
};
static const way_t queue = {.is_queue = true};
#define WAYS (sizeof ways / sizeof ways[0])
#define LOCKS (2 * WAYS)
#define PLACES (LOCKS + 2) /* the last two are queues */

/* One member's part in a round: which place it holds, which it wants. */
typedef struct part {
    bool takes_part;
    unsigned turn; /* when it comes to want, if one after the other does */
    unsigned held, wanted;
} part_t;

typedef struct game {
    int64_t deadlock_after;
    const char *odd; /* the space in which every other place lies; NULL: all lie in one, and each has one node */
    atomic_uint members;
    atomic_uint round; /* changed by the test when the parts are written */
    bool over;
    unsigned size;
    part_t parts[MEMBERS];
    atomic_uint turn; /* members whose turn is smaller may want */
    atomic_uint holding;
    atomic_uint ready;
    atomic_uint reported;
    atomic_uint reporter;
    atomic_uint finished;
    char sentence[2048]; /* of the one that reported */
} game_t;

/* What a member has open: the locks always, a queue's ends for a round. */
typedef struct hand {
    ferry_t *node[2]; /* for even places and odd ones */
    object_t locks[LOCKS];
    ferry_receiver_t *rx;
    ferry_sender_t *tx;
} hand_t;

static const way_t *way_of(unsigned place) {
    return place < LOCKS ? &ways[place % WAYS] : &queue;
}

static const char *name_of(unsigned place) {
    static __thread char name[16];
    snprintf(name, sizeof name, "place-%c", 'a' + (int)place);
    return name;
}

static void open_hand(hand_t *hand, ferry_t *node, const game_t *game) {
    ferry_sync_options_t options = {.deadlock_after = game->deadlock_after};
    hand->node[0] = hand->node[1] = node;
    if (game->odd)
        hand->node[1] = open_node(game->odd);
    for (unsigned place = 0; place < LOCKS; place++)
        hand->locks[place] = object_open(hand->node[place % 2], way_of(place)->held, name_of(place), &options);
}

static void close_hand(hand_t *hand) {
    for (unsigned place = 0; place < LOCKS; place++)
        object_close(&hand->locks[place]);
    if (hand->node[1] != hand->node[0])
        close_node(hand->node[1]);
}

static void hold(hand_t *hand, unsigned place) {
    if (way_of(place)->is_queue) {
        hand->rx = open_receiver(hand->node[place % 2], name_of(place), FERRY_QUEUE, NULL);
        return;
    }
    hand->locks[place].kind = way_of(place)->held;
    check_is(object_take(&hand->locks[place], PATIENCE), 0);
}

/* A queue's receiver takes both messages: its sender then goes on, and finds all delivered. */
static void let_go(hand_t *hand, unsigned place) {
    if (way_of(place)->is_queue) {
        check_is(receive_number(hand->rx), 1);
        check_is(receive_number(hand->rx), 2);
        close_receiver(hand->rx);
        return;
    }
    hand->locks[place].kind = way_of(place)->held;
    check_is(object_give(&hand->locks[place]), 0);
}

/* All that comes before the wait itself: a queue must be full. */
static void prepare_to_want(hand_t *hand, unsigned place) {
    ferry_contract_t contract = {.capacity = 1};
    if (!way_of(place)->is_queue)
        return;
    hand->tx = open_sender(hand->node[place % 2], name_of(place), FERRY_QUEUE, &contract);
    check_is(ferry_sender_wait(hand->tx, 1, PATIENCE), 1);
    send_number(hand->tx, 1);
}

static int want(hand_t *hand, unsigned place) {
    uint64_t second = 2;
    if (way_of(place)->is_queue)
        return ferry_send(hand->tx, &second, sizeof second, PATIENCE);
    hand->locks[place].kind = way_of(place)->wanted;
    return object_take(&hand->locks[place], PATIENCE);
}

static void have_had(hand_t *hand, unsigned place) {
    if (way_of(place)->is_queue) {
        close_sender(hand->tx);
        return;
    }
    hand->locks[place].kind = way_of(place)->wanted;
    check_is(object_give(&hand->locks[place]), 0);
}

static void report(game_t *game, unsigned self) {
    snprintf(game->sentence, sizeof game->sentence, "%s", ferry_last_error());
    atomic_store(&game->reporter, self);
    atomic_fetch_add(&game->reported, 1);
}

static void play_part(hand_t *hand, game_t *game, unsigned self) {
    const part_t *part = &game->parts[self];
    hold(hand, part->held);
    atomic_fetch_add(&game->holding, 1);
    await(&game->holding, game->size);
    prepare_to_want(hand, part->wanted);
    atomic_fetch_add(&game->ready, 1);
    await(&game->ready, game->size);
    await(&game->turn, part->turn + 1);
    int answer = want(hand, part->wanted);
    check(answer == 0 || answer == -EDEADLK);
    if (answer == -EDEADLK)
        report(game, self);
    else
        have_had(hand, part->wanted);
    let_go(hand, part->held);
    if (answer == -EDEADLK) {
        check_is(want(hand, part->wanted), 0); /* this time it is to be had */
        have_had(hand, part->wanted);
    }
}

static void play(ferry_t *node, void *arg) {
    game_t *game = arg;
    unsigned self = atomic_fetch_add(&game->members, 1);
    hand_t hand;
    open_hand(&hand, node, game);
    for (unsigned round = 1;; round++) {
        await(&game->round, round);
        if (game->over)
            break;
        if (game->parts[self].takes_part)
            play_part(&hand, game, self);
        atomic_fetch_add(&game->finished, 1);
    }
    close_hand(&hand);
}

/* ---- the test's own side ---- */

/* Gives the parts of a circle: `players` in this order, each holding the place of its number, wanting the next
 * one's. */
static void deal(game_t *game, const unsigned *players, const unsigned *places, unsigned size) {
    game->size = size;
    for (unsigned i = 0; i < MEMBERS; i++)
        game->parts[i].takes_part = false;
    for (unsigned i = 0; i < size; i++)
        game->parts[players[i]] =
            (part_t){.takes_part = true, .turn = i, .held = places[i], .wanted = places[(i + 1) % size]};
    atomic_store(&game->holding, 0);
    atomic_store(&game->ready, 0);
    atomic_store(&game->reported, 0);
    atomic_store(&game->finished, 0);
}

static void begin_round(game_t *game, unsigned turn) {
    atomic_store(&game->turn, turn);
    atomic_fetch_add(&game->round, 1);
}

static void end_round(game_t *game) {
    await(&game->finished, MEMBERS);
    check_is(atomic_load(&game->reported), 1);
    for (unsigned i = 0; i < MEMBERS; i++) {
        if (!game->parts[i].takes_part || strstr(game->sentence, name_of(game->parts[i].held)))
            continue;
        fprintf(stderr, "# %s is not named: %s\n", name_of(game->parts[i].held), game->sentence);
        check(!"the sentence names all places of the circle");
    }
}

static crew_t *begin_game(where_t where, game_t *game) {
    crew_t *crew = crew_begin(where);
    for (unsigned i = 0; i < MEMBERS; i++)
        crew_add(crew, play, game);
    crew_node(crew);
    return crew;
}

static void end_game(crew_t *crew, game_t *game) {
    game->over = true;
    atomic_fetch_add(&game->round, 1);
    crew_end(crew);
}

/* Choose `count` of the numbers below `bound`, in a random order. */
static void choose(uint64_t *seed, unsigned *chosen, unsigned count, unsigned bound) {
    unsigned all[PLACES];
    for (unsigned i = 0; i < bound; i++)
        all[i] = i;
    for (unsigned i = 0; i < count; i++) {
        unsigned k = i + random_below(seed, bound - i);
        chosen[i] = all[k];
        all[k] = all[i];
    }
}

/* ---- tests ---- */

static const unsigned in_order[MEMBERS] = {0, 1, 2, 3, 4, 5, 6, 7};

/* Two mutexes, all as it is when nobody says otherwise: after 50 ms, and not before. */
static void an_embrace_of_two_is_found(where_t where) {
    static const unsigned two_mutexes[] = {0, WAYS};
    game_t *game = share(sizeof *game);
    crew_t *crew = begin_game(where, game);
    deal(game, in_order, two_mutexes, 2);
    int64_t begin = monotonic();
    begin_round(game, MEMBERS);
    end_round(game);
    check(monotonic() - begin >= 50 * MILLISECOND);
    end_game(crew, game);
}

static void circles_of_every_length_are_found(where_t where) {
    game_t *game = share(sizeof *game);
    game->deadlock_after = 5 * MILLISECOND;
    crew_t *crew = begin_game(where, game);
    for (unsigned size = 2; size <= MEMBERS; size++) {
        unsigned places[MEMBERS];
        for (unsigned i = 0; i < size; i++)
            places[i] = (i + size) % PLACES; /* begins with another way each time */
        deal(game, in_order, places, size);
        begin_round(game, MEMBERS);
        end_round(game);
    }
    end_game(crew, game);
}

static void find_circles_through(where_t where, const char *odd) {
    game_t *game = share(sizeof *game);
    game->deadlock_after = 5 * MILLISECOND;
    game->odd = odd;
    crew_t *crew = begin_game(where, game);
    for (unsigned size = 2; size <= MEMBERS; size += size < 4 ? 1 : 2) {
        unsigned places[MEMBERS];
        for (unsigned i = 0; i < size; i++)
            places[i] = (i + size) % PLACES;
        deal(game, in_order, places, size);
        begin_round(game, MEMBERS);
        end_round(game);
        check(strcmp(odd, "test") == 0 || strstr(game->sentence, "in space \""));
    }
    end_game(crew, game);
}

/* Each holds something in one space, and waits in the other. */
static void circles_through_two_spaces_are_found(where_t where) {
    find_circles_through(where, "other");
}

/* And here by two nodes of its process in one space. */
static void circles_through_two_nodes_of_a_process_are_found(where_t where) {
    find_circles_through(where, "test");
}

/* One falls asleep after the other: the last one closes the circle. It wants the place of number `last`. */
static void close_circles(where_t where, unsigned last) {
    game_t *game = share(sizeof *game);
    game->deadlock_after = 5 * MILLISECOND;
    crew_t *crew = begin_game(where, game);
    for (unsigned size = 2; size <= MEMBERS; size += 2) {
        unsigned places[MEMBERS];
        for (unsigned i = 0; i < size; i++)
            places[i] = (last + i) % PLACES;
        deal(game, in_order, places, size);
        begin_round(game, 0);
        for (unsigned turn = 1; turn < size; turn++) {
            atomic_store(&game->turn, turn);
            await_waits(turn);
        }
        check_is(atomic_load(&game->reported), 0);
        atomic_store(&game->turn, size);
        end_round(game);
        check_is(atomic_load(&game->reporter), size - 1);
    }
    end_game(crew, game);
}

static void the_wait_for_a_lock_that_closed_the_circle_ends(where_t where) {
    close_circles(where, 0);
}

static void the_wait_for_room_that_closed_the_circle_ends(where_t where) {
    close_circles(where, LOCKS);
}

/* Three of four go over locks only, for which all look after a millisecond; a queue's sender looks after 50. */
static void play_random_rounds(where_t where, const char *odd, unsigned rounds, unsigned most, uint64_t seed) {
    game_t *game = share(sizeof *game);
    game->deadlock_after = MILLISECOND;
    game->odd = odd;
    crew_t *crew = begin_game(where, game);
    for (unsigned round = 0; round < rounds; round++) {
        unsigned players[MEMBERS], places[MEMBERS];
        unsigned size = 2 + random_below(&seed, most - 1);
        choose(&seed, players, size, MEMBERS);
        choose(&seed, places, size, random_below(&seed, 4) ? LOCKS : PLACES);
        deal(game, players, places, size);
        begin_round(game, MEMBERS);
        end_round(game);
    }
    end_game(crew, game);
}

static void many_small_circles_are_all_found(where_t where) {
    play_random_rounds(where, NULL, 80, 3, 1);
}

static void many_large_circles_are_all_found(where_t where) {
    play_random_rounds(where, NULL, 40, MEMBERS, 2);
}

static void many_circles_through_two_spaces_are_all_found(where_t where) {
    play_random_rounds(where, "other", 25, 5, 3);
}

int main(int argc, char **argv) {
    const test_t tests[] = {
        TEST_ALL(an_embrace_of_two_is_found),
        TEST_ALL(circles_of_every_length_are_found),
        TEST_BOTH(circles_through_two_spaces_are_found),
        TEST_BOTH(circles_through_two_nodes_of_a_process_are_found),
        TEST_ALL(the_wait_for_a_lock_that_closed_the_circle_ends),
        TEST_ALL(the_wait_for_room_that_closed_the_circle_ends),
        TEST_BOTH(many_small_circles_are_all_found),
        TEST_BOTH(many_large_circles_are_all_found),
        TEST_BOTH(many_circles_through_two_spaces_are_all_found),
    };
    return run_suite("circle", tests, sizeof tests / sizeof tests[0], argc, argv);
}
