// SPDX-License-Identifier: MIT
//
// options.h - options of protobuf-c's own: (pb_c_file) and (pb_c_msg) in protobuf-c/protobuf-c.proto.
//
#ifndef PROTOC_GEN_FERRY_OPTIONS_H
#define PROTOC_GEN_FERRY_OPTIONS_H

#include <google/protobuf/descriptor.h>

#include <string>

// As far as they matter here.
struct OptionsOfC {
    bool no_generate = false;     // protobuf-c makes nothing of this file
    bool gen_init_helpers = true; // protobuf-c's descriptors can make an empty message
    std::string c_package;        // stands for the package in C, unless empty
};

OptionsOfC options_of_c(const google::protobuf::FileDescriptor *file);
// The file's, where the message has none of its own.
OptionsOfC options_of_c(const google::protobuf::Descriptor *message);

#endif
