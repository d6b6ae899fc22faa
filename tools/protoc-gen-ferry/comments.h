// SPDX-License-Identifier: MIT
//
// comments.h - comments of a .proto, made harmless for C.
//
#ifndef PROTOC_GEN_FERRY_COMMENTS_H
#define PROTOC_GEN_FERRY_COMMENTS_H

#include <google/protobuf/descriptor.h>

#include <string>

// The comment before a service or method, else the one behind it; "" if there is none.
std::string comment_of(const google::protobuf::ServiceDescriptor *service);
std::string comment_of(const google::protobuf::MethodDescriptor *method);

// As lines of a comment of C, each with `indent` and " * " before it; "" for "". Can neither end the comment nor
// draw a warning.
std::string as_comment(const std::string &text, const std::string &indent);

// As a string of C, in quotes; "NULL" for "". What is very long is cut.
std::string as_string(const std::string &text);

#endif
