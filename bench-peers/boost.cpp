/* SPDX-License-Identifier: MIT
 *
 * Boost.Interprocess's managed_shared_memory, as `ferry bench region --peer boost` compares it: its default allocator,
 * in a segment that all sides open by name.
 */
#include <boost/interprocess/managed_shared_memory.hpp>
#include <new>

extern "C" {
#include "bench/peer.h"
}

namespace {

using boost::interprocess::managed_shared_memory;
using boost::interprocess::open_or_create;
using boost::interprocess::shared_memory_object;

void *open_heap(const char *name, uint64_t bytes) {
    try {
        return new managed_shared_memory(open_or_create, name, bytes);
    } catch (...) { /* the caller is C, and says that it failed */
        return nullptr;
    }
}

void forget(const char *name) {
    shared_memory_object::remove(name);
}

void *alloc(void *heap, size_t bytes) {
    return static_cast<managed_shared_memory *>(heap)->allocate(bytes, std::nothrow);
}

void free_block(void *heap, void *block) {
    static_cast<managed_shared_memory *>(heap)->deallocate(block);
}

void close_heap(void *heap) {
    delete static_cast<managed_shared_memory *>(heap);
}

} // namespace

extern "C" {
extern const bench_peer_t ferry_bench_peer;
const bench_peer_t ferry_bench_peer = {open_heap, forget, alloc, free_block, close_heap};
}
