/* SPDX-License-Identifier: MIT
 *
 * virtual_locks.h - what is included first by the library's sources that virtual_locks.c compiles once more: where they
 * ask others, they ask the model.
 */
#ifndef FERRY_TESTS_VIRTUAL_LOCKS_H
#define FERRY_TESTS_VIRTUAL_LOCKS_H

#define gettid virtual_gettid
#define fi_look_ask virtual_look_ask
#define fi_peer_send virtual_peer_send
#define fi_space_each_node virtual_each_node
#define fi_space_open_path virtual_open_path
#define pthread_mutex_lock virtual_lock
#define pthread_mutex_unlock virtual_unlock

#endif
