// SPDX-License-Identifier: MIT
//
// glue.h - the part of FILE.ferry.c that is the same for all services. It is put into each, so that what is generated
// needs nothing but Ferry and protobuf-c.
//
#ifndef PROTOC_GEN_FERRY_GLUE_H
#define PROTOC_GEN_FERRY_GLUE_H

extern const char *const GLUE_OPEN;     // always
extern const char *const GLUE_DEPTH;    // looks how deep messages are nested: where a type can contain itself
extern const char *const GLUE_NO_DEPTH; // where none can
extern const char *const GLUE_CALL;     // client, where there are methods
extern const char *const GLUE_WAIT;     // client, methods with one result
extern const char *const GLUE_NEXT;     // client, methods with several results
extern const char *const GLUE_SERVE;    // server, where there are methods
extern const char *const GLUE_RESULT;   // server, methods with one result

#endif
