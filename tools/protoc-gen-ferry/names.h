// SPDX-License-Identifier: MIT
//
// names.h - how protobuf-c spells names in C: bank.v1.Bank is bank__v1__bank in functions, BANK__V1__BANK in macros and
// Bank__V1__Bank in types.
//
#ifndef PROTOC_GEN_FERRY_NAMES_H
#define PROTOC_GEN_FERRY_NAMES_H

#include "options.h"

#include <google/protobuf/descriptor.h>

#include <string>

// "dir/bank.proto" is "dir/bank".
std::string base_name(const google::protobuf::FileDescriptor *file);

// A message, enum or service: in functions, in macros, as a type.
std::string lower_name(const std::string &full_name, const google::protobuf::FileDescriptor *file);
std::string upper_name(const std::string &full_name, const google::protobuf::FileDescriptor *file);
std::string type_name(const std::string &full_name, const google::protobuf::FileDescriptor *file);

template <typename Descriptor> std::string lower_name(const Descriptor *of) {
    return lower_name(of->full_name(), of->file());
}
template <typename Descriptor> std::string upper_name(const Descriptor *of) {
    return upper_name(of->full_name(), of->file());
}
template <typename Descriptor> std::string type_name(const Descriptor *of) {
    return type_name(of->full_name(), of->file());
}

// "WithdrawMoney" is "withdraw_money".
std::string method_name(const google::protobuf::MethodDescriptor *method);
// The same as a member of a struct: with an underscore behind it where C++ has a word of that name.
std::string member_name(const google::protobuf::MethodDescriptor *method);
// Is it a word of C? Then protobuf-c's own code does not compile.
bool is_word_of_c(const std::string &name);

#endif
