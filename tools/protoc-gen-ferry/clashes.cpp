// SPDX-License-Identifier: MIT
//
// clashes.cpp - different names of a .proto may be one in C: GetIt and getIt, or a method Init beside protobuf-c's own.
//
#include "check.h"
#include "names.h"

#include <map>
#include <set>

using google::protobuf::Descriptor;
using google::protobuf::FileDescriptor;
using google::protobuf::MethodDescriptor;
using google::protobuf::ServiceDescriptor;

namespace {

class Clashes {
  public:
    explicit Clashes(Faults *list) : faults(list) {
    }

    void add_message(const Descriptor *message) {
        const std::string name = lower_name(message);
        const std::string title = "message \"" + message->full_name() + "\"";
        for (const char *ending :
             {"init", "get_packed_size", "pack", "pack_to_buffer", "unpack", "free_unpacked", "descriptor"}) {
            add(message, title, name + "__" + ending);
        }
        for (int i = 0; i < message->nested_type_count(); i++) {
            add_message(message->nested_type(i));
        }
    }

    void add_service(const ServiceDescriptor *service) {
        const std::string name = lower_name(service);
        const std::string title = "service \"" + service->full_name() + "\"";
        for (const char *ending : {"init", "descriptor", "server__open"}) {
            add(service, title, name + "__" + ending);
        }
        for (int i = 0; i < service->method_count(); i++) {
            const MethodDescriptor *method = service->method(i);
            const std::string stub = name + "__" + method_name(method);
            const std::string of = "method \"" + method->full_name() + "\"";
            add(method, of, stub);
            add(method, of, name + "::" + member_name(method)); // of the struct of handlers
            for (const char *ending : {"call", "start", "wait", "next", "reply", "more"}) {
                add(method, of, stub + "__" + ending);
            }
        }
    }

  private:
    // One sentence for each pair, though they share more names than one.
    template <typename Of> void add(const Of *at, const std::string &title, const std::string &name) {
        auto known = names.emplace(name, title);
        if (!known.second && told.insert({known.first->second, title}).second) {
            faults->add(at, title + ": its name in C, " + name + ", is also one of " + known.first->second);
        }
    }

    Faults *faults;
    std::map<std::string, std::string> names; // and whose they are
    std::set<std::pair<std::string, std::string>> told;
};

} // namespace

void check_clashes(const FileDescriptor *file, Faults *faults) {
    Clashes clashes(faults);
    for (int i = 0; i < file->message_type_count(); i++) {
        clashes.add_message(file->message_type(i));
    }
    for (int i = 0; i < file->service_count(); i++) {
        clashes.add_service(file->service(i));
    }
}
