/* SPDX-License-Identifier: MIT
 *
 * why_json.c - `ferry why` for scripts.
 */
#include <stdio.h>

#include "json_look.h"
#include "why.h"

static void json_holder(json_t *j, const ferry_look_holder_t *holder) {
    json_open(j, NULL, '{');
    json_id(j, "node", holder->node);
    json_signed(j, "tid", holder->tid);
    json_signed(j, "wait", holder->wait);
    if (holder->token != 0)
        json_count(j, "token", holder->token);
    if (holder->held_ns != 0)
        json_count(j, "held_ns", holder->held_ns);
    json_close(j, '}');
}

static void json_wait(json_t *j, const why_t *why, size_t i) {
    const ferry_look_wait_t *wait = ferry_look_wait(why->look, i);

    json_open(j, NULL, '{');
    json_count(j, "wait", i);
    json_id(j, "node", wait->node);
    json_signed(j, "tid", wait->tid);
    json_text(j, "thread", wait->thread);
    json_text(j, "for", why_words(wait)->key);
    json_text(j, "name", wait->name);
    json_signed(j, "child", wait->pid);
    json_count(j, "age_ns", wait->age_ns);
    json_text(j, "where", wait->where);
    json_text(j, "needs", wait->needs_all ? "all" : "any");
    json_count(j, "circle", wait->circle);
    json_open(j, "holders", '[');
    for (size_t k = 0; k < wait->holders; k++)
        json_holder(j, ferry_look_holder(why->look, i, k));
    json_close(j, ']');
    json_close(j, '}');
}

static void json_other(json_t *j, const ferry_look_other_t *other) {
    json_open(j, NULL, '{');
    json_id(j, "id", other->node.id);
    json_text(j, "name", other->node.name);
    json_signed(j, "pid", other->node.pid);
    json_signed(j, "own_pid", other->node.own_pid);
    json_count(j, "pid_namespace", other->node.pid_namespace);
    json_count(j, "uid", other->node.uid);
    json_bool(j, "answered", other->node.answered != 0);
    json_text(j, "space_directory", other->directory);
    json_close(j, '}');
}

static bool is_shown_in(const why_t *why, size_t i, uint32_t circle) {
    return why->shown[i] && ferry_look_wait(why->look, i)->circle == circle;
}

static void json_circle(json_t *j, const why_t *why, uint32_t circle) {
    size_t i = 0;

    while (i < why->n && !is_shown_in(why, i, circle))
        i++;
    if (i == why->n)
        return;
    json_open(j, NULL, '{');
    json_count(j, "circle", circle);
    json_open(j, "waits", '[');
    for (; i < why->n; i++) {
        if (is_shown_in(why, i, circle))
            json_count(j, NULL, i);
    }
    json_close(j, ']');
    json_close(j, '}');
}

void why_print_json(const why_t *why, const char *base, const char *space) {
    json_t j = {.out = stdout};

    json_open(&j, NULL, '{');
    json_text(&j, "directory", base);
    json_text(&j, "space", space);
    json_open(&j, "nodes", '[');
    for (size_t i = 0; i < ferry_look_nodes(why->look); i++)
        json_node(&j, ferry_look_node(why->look, i));
    json_close(&j, ']');
    json_open(&j, "others", '[');
    for (size_t i = 0; i < ferry_look_others(why->look); i++)
        json_other(&j, ferry_look_other(why->look, i));
    json_close(&j, ']');
    json_open(&j, "waits", '[');
    for (size_t i = 0; i < why->n; i++) {
        if (why->shown[i])
            json_wait(&j, why, i);
    }
    json_close(&j, ']');
    json_open(&j, "circles", '[');
    for (uint32_t circle = 1; circle <= why_last_circle(why); circle++)
        json_circle(&j, why, circle);
    json_close(&j, ']');
    json_close(&j, '}');
    printf("\n");
}
