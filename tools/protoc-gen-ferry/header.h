// SPDX-License-Identifier: MIT
//
// header.h - FILE.ferry.h.
//
#ifndef PROTOC_GEN_FERRY_HEADER_H
#define PROTOC_GEN_FERRY_HEADER_H

#include <google/protobuf/descriptor.h>
#include <google/protobuf/io/printer.h>

void write_header(const google::protobuf::FileDescriptor *file, google::protobuf::io::Printer *out);

#endif
