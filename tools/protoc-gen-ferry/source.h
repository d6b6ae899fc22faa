// SPDX-License-Identifier: MIT
//
// source.h - FILE.ferry.c.
//
#ifndef PROTOC_GEN_FERRY_SOURCE_H
#define PROTOC_GEN_FERRY_SOURCE_H

#include <google/protobuf/descriptor.h>
#include <google/protobuf/io/printer.h>

void write_source(const google::protobuf::FileDescriptor *file, google::protobuf::io::Printer *out);

#endif
