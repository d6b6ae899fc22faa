/* SPDX-License-Identifier: MIT */
#include "ferry/base.h"

#include "base/error.h"

#define TEXT_OF(x) #x
#define TEXT(x) TEXT_OF(x)

const char *ferry_version(void) {
    return TEXT(FERRY_VERSION_MAJOR) "." TEXT(FERRY_VERSION_MINOR) "." TEXT(FERRY_VERSION_PATCH);
}

const char *ferry_last_error(void) {
    return fi_error_text();
}
