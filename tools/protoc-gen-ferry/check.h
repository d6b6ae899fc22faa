// SPDX-License-Identifier: MIT
//
// check.h - what a .proto may say that cannot be translated.
//
#ifndef PROTOC_GEN_FERRY_CHECK_H
#define PROTOC_GEN_FERRY_CHECK_H

#include "faults.h"

#include <google/protobuf/descriptor.h>

#include <string>

// Lines of "FILE:LINE:COLUMN: SENTENCE", one for each fault of a file that has services, in their order; "" if there is
// none.
std::string check_file(const google::protobuf::FileDescriptor *file);

// Names of C that would be there twice, of what protobuf-c and this make of the file.
void check_clashes(const google::protobuf::FileDescriptor *file, Faults *faults);

#endif
