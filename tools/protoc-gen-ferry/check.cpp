// SPDX-License-Identifier: MIT
//
// check.cpp - refuse what would be translated wrongly, or not at all, and say where it stands.
//
#include "check.h"

#include "names.h"

#include <google/protobuf/descriptor.pb.h>

#include <set>

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::FileDescriptor;
using google::protobuf::MethodDescriptor;
using google::protobuf::ServiceDescriptor;

namespace {

// Ferry's rules for names: ferry_service_open, ferry_service_method.
const size_t SERVICE_NAME_MOST = 60;
const size_t METHOD_NAME_MOST = 100;

// Messages have faults once, however many methods use them.
class Checker {
  public:
    explicit Checker(Faults *list) : faults(list) {
    }

    void check(const FileDescriptor *file) {
        if (options_of_c(file).no_generate) {
            faults->add_file(file, "services need protobuf-c's code, but (pb_c_file).no_generate is set");
        }
        for (int i = 0; i < file->extension_count(); i++) {
            check_extension(file->extension(i));
        }
        for (int i = 0; i < file->message_type_count(); i++) {
            check_extensions_within(file->message_type(i));
        }
        for (int i = 0; i < file->service_count(); i++) {
            check_service(file->service(i));
        }
    }

  private:
    void check_service(const ServiceDescriptor *service) {
        if (service->full_name().size() > SERVICE_NAME_MOST) {
            faults->add(service, "service name \"" + service->full_name() + "\" has " +
                                     std::to_string(service->full_name().size()) +
                                     " characters: names of services have at most " +
                                     std::to_string(SERVICE_NAME_MOST) + ", package and dots included");
        }
        for (int i = 0; i < service->method_count(); i++) {
            check_method(service->method(i));
        }
    }

    void check_method(const MethodDescriptor *method) {
        const std::string title = "method \"" + method->name() + "\": ";
        if (method->client_streaming()) {
            faults->add(method, title + "client streaming is not supported: an argument is one message");
        }
        if (method->name().size() > METHOD_NAME_MOST) {
            faults->add(method, title + "its name has " + std::to_string(method->name().size()) +
                                    " characters: names of methods have at most " + std::to_string(METHOD_NAME_MOST));
        }
        if (is_word_of_c(method_name(method))) {
            faults->add(method, title + "protobuf-c would name a member of a struct \"" + method_name(method) +
                                    "\", which is a word of C");
        }
        for (const Descriptor *message : {method->input_type(), method->output_type()}) {
            if (message->file() != method->file() && options_of_c(message->file()).no_generate) {
                faults->add(method, title + "protobuf-c makes no code for \"" + message->full_name() +
                                        "\": (pb_c_file).no_generate is set in " + message->file()->name());
            }
            check_message(message);
        }
        if (!options_of_c(method->output_type()).gen_init_helpers) {
            faults->add(method, title + "gen_init_helpers of protobuf-c is off for \"" +
                                    method->output_type()->full_name() + "\": no empty result can be made");
        }
    }

    // The message and all that can be in it: a list of what is still to be looked at, for types may be nested deeply.
    void check_message(const Descriptor *first) {
        std::vector<const Descriptor *> open = {first};
        while (!open.empty()) {
            const Descriptor *message = open.back();
            open.pop_back();
            if (!seen.insert(message).second) {
                continue;
            }
            if (message->options().message_set_wire_format()) {
                faults->add(message, "message \"" + message->full_name() + "\": message sets are not supported");
            }
            for (int i = 0; i < message->field_count(); i++) {
                const FieldDescriptor *field = message->field(i);
                if (field->type() == FieldDescriptor::TYPE_GROUP) {
                    faults->add(field, "field \"" + field->full_name() + "\": groups are not supported by protobuf-c");
                } else if (field->message_type() != nullptr) {
                    open.push_back(field->message_type());
                }
            }
        }
    }

    // Extensions of options are for tools like this one, and do not reach the wire.
    void check_extension(const FieldDescriptor *extension) {
        const std::string &extended = extension->containing_type()->full_name();
        static const std::string options = "Options";
        bool of_options = extended.compare(0, 16, "google.protobuf.") == 0 && extended.size() > options.size() &&
                          extended.compare(extended.size() - options.size(), options.size(), options) == 0;
        if (!of_options) {
            faults->add(extension, "extension \"" + extension->full_name() + "\" of \"" + extended +
                                       "\": extensions are not supported by protobuf-c");
        }
    }

    void check_extensions_within(const Descriptor *message) {
        for (int i = 0; i < message->extension_count(); i++) {
            check_extension(message->extension(i));
        }
        for (int i = 0; i < message->nested_type_count(); i++) {
            check_extensions_within(message->nested_type(i));
        }
    }

    Faults *faults;
    std::set<const Descriptor *> seen;
};

} // namespace

std::string check_file(const FileDescriptor *file) {
    Faults faults;
    Checker(&faults).check(file);
    check_clashes(file, &faults);
    return faults.lines();
}
