/* SPDX-License-Identifier: MIT */
#include "ring/give_up.h"

static bool is_trial(const fi_give_up_t *g) {
    return g->lap < FI_GIVE_UP_TRIAL;
}

static bool way(const fi_give_up_t *g) {
    return is_trial(g) ? !g->chosen : g->chosen;
}

static bool counts(const fi_give_up_t *g) {
    return g->lap != 0 && g->lap != FI_GIVE_UP_TRIAL;
}

/* A lap in which somebody else ran must not weigh more than a few others. */
static void average(uint64_t *cost, uint64_t lap) {
    if (*cost == 0) {
        *cost = lap;
    } else if (lap > *cost) {
        *cost += (lap < 2 * *cost ? lap - *cost : *cost) / 8;
    } else {
        *cost -= (*cost - lap) / 8;
    }
}

/* What hardly differs must not flutter. */
static bool other_is_better(const fi_give_up_t *g) {
    uint64_t mine = g->cost[g->chosen];

    return mine != 0 && g->cost[!g->chosen] < mine - mine / 8;
}

static void end_lap(fi_give_up_t *g, uint64_t cost) {
    if (counts(g)) {
        average(&g->cost[way(g)], cost);
    }
    g->lap = (g->lap + 1) % FI_GIVE_UP_CYCLE;
    if (g->lap == FI_GIVE_UP_TRIAL && other_is_better(g)) {
        g->chosen = !g->chosen;
    }
}

bool fi_give_up_pays(fi_give_up_t *g, uint64_t pos, uint32_t lines, uint64_t now) {
    if (g->since != 0 && pos - g->start < lines) {
        return way(g);
    }
    if (g->since != 0) {
        end_lap(g, (now - g->since) * 1024 / (pos - g->start));
    }
    g->since = now;
    g->start = pos;
    return way(g);
}
