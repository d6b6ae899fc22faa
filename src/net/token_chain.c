/* SPDX-License-Identifier: MIT
 *
 * Putting messages that have a token into a durable channel's stream. See token.h.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/bits.h"
#include "channel/messages.h"
#include "net/ask.h"
#include "net/last.h"
#include "net/token.h"
#include "platform/clock.h"

#define ANSWER_NS 2000000000ll /* an answer that takes longer has been lost */
#define PAUSE_NS 50000000ll    /* after an answer that says nothing */

static void ask(fi_bridge_t *b, fi_depositor_t *d, char what, const char *api, const char *json, int64_t now) {
    char reply[FI_SUBJECT_MAX], word[64];

    snprintf(word, sizeof word, "d.%" PRIx32 ".%c%" PRIx32, d->number, what, d->chain.round);
    fi_net_node_subject(b->net, reply, b->net->node->id, word);
    d->chain.asked_at = now;
    b->progress = true;
    (void)fi_nats.natsConnection_PublishRequest(b->net->bulk, api, reply, json, (int)strlen(json));
}

static void ask_last(fi_bridge_t *b, const fi_deposit_t *p, fi_depositor_t *d, int64_t now) {
    char base[FI_SUBJECT_MAX], stream[FI_SUBJECT_MAX], api[FI_DURABLE_API_MAX];

    fi_durable_names(b->net, p->kind, p->channel, base, stream);
    fi_durable_api(api, "STREAM.INFO", stream, "");
    d->chain.round++;
    d->chain.state = FI_CHAIN_LAST;
    ask(b, d, 'l', api, "", now);
}

static void ask_fence(fi_bridge_t *b, const fi_deposit_t *p, fi_depositor_t *d, int64_t now) {
    char subject[FI_SUBJECT_MAX], stream[FI_SUBJECT_MAX], api[FI_DURABLE_API_MAX], json[FI_SUBJECT_MAX + 32];

    fi_token_names(b->net, p->kind, p->channel, subject, stream);
    fi_durable_api(api, "STREAM.MSG.GET", stream, "");
    snprintf(json, sizeof json, "{\"last_by_subj\":\"%s\"}", subject);
    d->chain.state = FI_CHAIN_FENCE;
    ask(b, d, 't', api, json, now);
}

bool fi_chain_is_ready(fi_bridge_t *b, const fi_deposit_t *p, fi_depositor_t *d, int64_t now) {
    fi_chain_t *c = &d->chain;

    if (c->state == FI_CHAIN_LINKED && c->token == fi_put_at(d, d->sent + 1)->token) {
        return true;
    }
    if (d->sent != d->stored) {
        return false; /* what is under way moves the stream's end */
    }
    if (c->state == FI_CHAIN_LINKED || c->state == FI_CHAIN_NONE || now - c->asked_at > ANSWER_NS) {
        ask_last(b, p, d, now);
    }
    return false;
}

int64_t fi_chain_due(const fi_depositor_t *d, int64_t now) {
    return d->chain.state == FI_CHAIN_LAST || d->chain.state == FI_CHAIN_FENCE ? d->chain.asked_at + ANSWER_NS - now
                                                                               : -1;
}

void fi_chain_break(fi_depositor_t *d) {
    d->chain.state = FI_CHAIN_NONE;
    d->chain.round++;
}

natsStatus fi_chain_head(const fi_depositor_t *d, natsMsg *msg) {
    char text[FI_MESSAGE_ID];

    snprintf(text, sizeof text, "%" PRIu64, d->chain.last);
    natsStatus s = fi_nats.natsMsgHeader_Set(msg, "Nats-Expected-Last-Sequence", text);
    if (s == NATS_OK && d->chain.before) {
        fi_deposit_id(d, d->chain.before, d->chain.again, text);
        s = fi_nats.natsMsgHeader_Set(msg, "Nats-Expected-Last-Msg-Id", text);
    }
    return s;
}

void fi_chain_goes_on(fi_depositor_t *d, const fi_put_t *put) {
    d->chain.last++;
    d->chain.before = put->seq;
    d->chain.again = put->again;
}

/* ---- answers ---- */

/* A newer token was used: what the depositor has with this one goes nowhere, and its sender learns it before it is
 * released. */
static void refuse(fi_bridge_t *b, fi_depositor_t *d, uint64_t token, uint64_t newer) {
    uint64_t last = d->stored;

    while (last < d->taken && fi_put_at(d, last + 1)->token == token) {
        last++;
    }
    fi_sender_fenced(b->net->node, d->tx, token, newer, last - d->stored);
    while (d->stored < last) {
        fi_depositor_settle(d, d->stored + 1);
    }
    fi_chain_break(d);
    b->progress = true;
}

static void take_last(fi_bridge_t *b, fi_deposit_t *p, fi_depositor_t *d, natsMsg *msg, int64_t now) {
    if (fi_nats.natsMsg_IsNoResponders(msg) || fi_durable_error(msg) ||
        !fi_durable_number(msg, "\"last_seq\":", &d->chain.last)) {
        fi_durable_mend(&p->mending, now);
        fi_chain_break(d);
        d->paused_until = now + PAUSE_NS;
        return;
    }
    d->chain.before = 0;
    ask_fence(b, p, d, now);
}

/* There is no fence: whoever removed the channel has removed it, too. Who sends with a token has raised it before. */
static bool has_none(fi_depositor_t *d, int code) {
    if (code == JSStreamNotFoundErr) {
        return fi_ask_is_gone(&d->chain.gone);
    }
    d->chain.gone = 0;
    return code == JSNoMessageFoundErr;
}

/* False: the answer says nothing. */
static bool read_fence(fi_depositor_t *d, natsMsg *msg, uint64_t *token) {
    fi_fence_t fence = {.version = 1, .token = 0};
    fi_last_t last;
    int code = 0;

    if (fi_nats.natsMsg_IsNoResponders(msg) || fi_nats.natsMsg_GetDataLength(msg) == 0) {
        return false;
    }
    if (fi_last_read(msg, &code, &last) != NATS_OK) {
        *token = 0;
        return has_none(d, code);
    }
    d->chain.gone = 0;
    if (last.len != sizeof fence) {
        return false;
    }
    fi_last_copy(&last, &fence);
    *token = fence.token;
    return fence.version == 1;
}

static void take_fence(fi_bridge_t *b, fi_depositor_t *d, natsMsg *msg, int64_t now) {
    uint64_t wanted = d->stored < d->taken && d->sent == d->stored ? fi_put_at(d, d->stored + 1)->token : 0;
    uint64_t used;

    if (wanted == 0) {
        fi_chain_break(d);
    } else if (!read_fence(d, msg, &used)) {
        fi_chain_break(d);
        d->paused_until = now + PAUSE_NS;
    } else if (used > wanted) {
        refuse(b, d, wanted, used);
    } else {
        d->chain.state = FI_CHAIN_LINKED;
        d->chain.token = wanted;
        b->progress = true;
    }
}

void fi_chain_answer(fi_bridge_t *b, fi_deposit_t *p, fi_depositor_t *d, natsMsg *msg, const char *word, int64_t now) {
    if (strtoul(word + 1, NULL, 16) != d->chain.round) {
        return;
    }
    if (word[0] == 'l' && d->chain.state == FI_CHAIN_LAST) {
        take_last(b, p, d, msg, now);
    } else if (word[0] == 't' && d->chain.state == FI_CHAIN_FENCE) {
        take_fence(b, d, msg, now);
    }
}
