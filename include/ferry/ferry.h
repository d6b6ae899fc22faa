/* SPDX-License-Identifier: MIT
 *
 * ferry/ferry.h - the whole API. Every header also compiles alone.
 */
#ifndef FERRY_FERRY_H
#define FERRY_FERRY_H

#include "base.h"
#include "cell.h"
#include "channel.h"
#include "look.h"
#include "message.h"
#include "poll.h"
#include "region.h"
#include "route.h"
#include "rpc.h"
#include "space.h"
#include "steer.h"
#include "sync.h"
#include "watch.h"

#endif
