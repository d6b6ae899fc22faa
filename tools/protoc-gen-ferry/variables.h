// SPDX-License-Identifier: MIT
//
// variables.h - what stands for $x$ in the texts that are written.
//
#ifndef PROTOC_GEN_FERRY_VARIABLES_H
#define PROTOC_GEN_FERRY_VARIABLES_H

#include <google/protobuf/descriptor.h>

#include <map>
#include <string>

using Variables = std::map<std::string, std::string>;

// service: its full name; lower, upper, type: the same in C; server: the struct of handlers.
Variables variables_of(const google::protobuf::ServiceDescriptor *service);

// Those of its service, and method: its name; title: that with the service's; stub: in C; member: in the struct of
// handlers; input, output: types in C; input_name, output_name: in the .proto; input_descriptor, output_descriptor:
// protobuf-c's.
Variables variables_of(const google::protobuf::MethodDescriptor *method);

#endif
