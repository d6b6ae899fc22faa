/* SPDX-License-Identifier: MIT
 *
 * node/shown.h - how sentences name a channel itself, without more words.
 */
#ifndef FI_SHOWN_H
#define FI_SHOWN_H

/** Of calls and replies, by their service, which is all that a program knows of them. Valid until the thread asks
 * again. */
const char *fi_channel_shown(const char *channel);

#endif
