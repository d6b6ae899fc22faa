/* SPDX-License-Identifier: MIT
 *
 * UCX's tagged messages, as `ferry bench peers` compares them. It chooses the transport by itself, between processes of
 * one machine shared memory. Whoever waits drives it, and may sleep when there was nothing to do.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ucp/api/ucp.h>

#include "bench/wire.h"

enum { TAG = 1 };

typedef struct end {
    size_t size;
    int spins;
    char there[4300]; /* where the other side's address is */
    ucp_context_h context;
    ucp_worker_h worker;
    ucp_ep_h peer;
    unsigned char *buffer[2];
} end_t;

static void *room(void *end) {
    const end_t *e = end;

    return e->buffer[0];
}

/* Until the request is done. */
static ucs_status_t finish(const end_t *e, void *request) {
    ucs_status_t status;

    if (UCS_PTR_IS_ERR(request) || request == NULL)
        return UCS_PTR_STATUS(request);
    while ((status = ucp_request_check_status(request)) == UCS_INPROGRESS) {
        if (ucp_worker_progress(e->worker) == 0 && !e->spins)
            ucp_worker_wait(e->worker);
    }
    ucp_request_free(request);
    return status;
}

static int put(void *end) {
    const end_t *e = end;
    const ucp_request_param_t plain = {0};

    return finish(e, ucp_tag_send_nbx(e->peer, e->buffer[0], e->size, TAG, &plain)) != UCS_OK;
}

static int take(void *end, bench_got_fn *got, void *arg) {
    const end_t *e = end;
    const ucp_request_param_t plain = {0};

    if (finish(e, ucp_tag_recv_nbx(e->worker, e->buffer[1], e->size, TAG, UINT64_MAX, &plain)) != UCS_OK)
        return -1;
    return got(arg, e->buffer[1], e->size);
}

/* --- coming and going -------------------------------------------------------------------------------------------- */

static void close_end(void *end) {
    end_t *e = end;
    const ucp_request_param_t plain = {0};

    if (e->peer != NULL)
        finish(e, ucp_ep_close_nbx(e->peer, &plain));
    if (e->worker != NULL)
        ucp_worker_destroy(e->worker);
    if (e->context != NULL)
        ucp_cleanup(e->context);
    free(e->buffer[0]);
    free(e->buffer[1]);
    free(e);
}

static int start(end_t *e) {
    const ucp_params_t params = {.field_mask = UCP_PARAM_FIELD_FEATURES,
                                 .features = UCP_FEATURE_TAG | (e->spins ? 0 : UCP_FEATURE_WAKEUP)};
    const ucp_worker_params_t worker = {.field_mask = UCP_WORKER_PARAM_FIELD_THREAD_MODE,
                                        .thread_mode = UCS_THREAD_MODE_SINGLE};

    return ucp_init(&params, NULL, &e->context) != UCS_OK ||
           ucp_worker_create(e->context, &worker, &e->worker) != UCS_OK;
}

static int tell_address(const end_t *e, const char *path) {
    ucp_address_t *address;
    size_t size;

    if (ucp_worker_get_address(e->worker, &address, &size) != UCS_OK)
        return -1;
    FILE *file = fopen(path, "wbe");
    int failed = file == NULL || fwrite(address, size, 1, file) != 1;
    failed |= file != NULL && fclose(file) != 0;
    ucp_worker_release_address(e->worker, address);
    return failed;
}

static void *open_end(const bench_wire_place_t *place) {
    end_t *e = calloc(1, sizeof *e);
    char here[4300];

    if (e == NULL)
        return NULL;
    e->size = place->size;
    e->spins = place->spins;
    e->buffer[0] = calloc(1, place->size);
    e->buffer[1] = calloc(1, place->size);
    snprintf(here, sizeof here, "%s.%u", place->path, place->side);
    snprintf(e->there, sizeof e->there, "%s.%u", place->path, 1 - place->side);
    if (e->buffer[0] != NULL && e->buffer[1] != NULL && start(e) == 0 && tell_address(e, here) == 0)
        return e;
    close_end(e);
    return NULL;
}

static int join(void *end) {
    end_t *e = end;
    unsigned char address[65536] __attribute__((aligned(16)));
    FILE *file = fopen(e->there, "rbe");
    size_t size = file != NULL ? fread(address, 1, sizeof address, file) : 0;
    const ucp_ep_params_t params = {.field_mask = UCP_EP_PARAM_FIELD_REMOTE_ADDRESS,
                                    .address = (const ucp_address_t *)address};

    if (file != NULL)
        fclose(file);
    return size == 0 || ucp_ep_create(e->worker, &params, &e->peer) != UCS_OK;
}

const bench_wire_t ferry_bench_wire = {open_end, join, room, put, take, close_end};
