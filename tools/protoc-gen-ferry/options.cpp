// SPDX-License-Identifier: MIT
//
// options.cpp - to a plug-in these options are unknown fields.
//
#include "options.h"

#include <google/protobuf/descriptor.pb.h>
#include <google/protobuf/unknown_field_set.h>

using google::protobuf::Descriptor;
using google::protobuf::FileDescriptor;
using google::protobuf::UnknownField;
using google::protobuf::UnknownFieldSet;

namespace {

// Numbers in protobuf-c/protobuf-c.proto.
const int OPTIONS_OF_C = 1019;
const int FILE_NO_GENERATE = 1;
const int FILE_GEN_INIT_HELPERS = 3;
const int FILE_C_PACKAGE = 6;
const int MESSAGE_GEN_INIT_HELPERS = 2;

// Calls `take` with each field of protobuf-c's options among these unknown ones.
template <typename Take> void each_option(const UnknownFieldSet &unknown, Take take) {
    for (int i = 0; i < unknown.field_count(); i++) {
        const UnknownField &field = unknown.field(i);
        UnknownFieldSet options;
        if (field.number() == OPTIONS_OF_C && field.type() == UnknownField::TYPE_LENGTH_DELIMITED &&
            options.ParseFromString(field.length_delimited())) {
            for (int j = 0; j < options.field_count(); j++) {
                take(options.field(j));
            }
        }
    }
}

} // namespace

OptionsOfC options_of_c(const FileDescriptor *file) {
    OptionsOfC found;
    each_option(file->options().unknown_fields(), [&found](const UnknownField &option) {
        if (option.type() == UnknownField::TYPE_VARINT && option.number() == FILE_NO_GENERATE) {
            found.no_generate = option.varint() != 0;
        } else if (option.type() == UnknownField::TYPE_VARINT && option.number() == FILE_GEN_INIT_HELPERS) {
            found.gen_init_helpers = option.varint() != 0;
        } else if (option.type() == UnknownField::TYPE_LENGTH_DELIMITED && option.number() == FILE_C_PACKAGE) {
            found.c_package = option.length_delimited();
        }
    });
    return found;
}

OptionsOfC options_of_c(const Descriptor *message) {
    OptionsOfC found = options_of_c(message->file());
    each_option(message->options().unknown_fields(), [&found](const UnknownField &option) {
        if (option.type() == UnknownField::TYPE_VARINT && option.number() == MESSAGE_GEN_INIT_HELPERS) {
            found.gen_init_helpers = option.varint() != 0;
        }
    });
    return found;
}
