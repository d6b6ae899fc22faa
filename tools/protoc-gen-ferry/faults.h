// SPDX-License-Identifier: MIT
//
// faults.h - a list of faults, each with its place.
//
#ifndef PROTOC_GEN_FERRY_FAULTS_H
#define PROTOC_GEN_FERRY_FAULTS_H

#include <google/protobuf/descriptor.h>

#include <string>
#include <vector>

class Faults {
  public:
    // `what` is wrong at this service, method, message or field.
    template <typename Descriptor> void add(const Descriptor *at, const std::string &what) {
        google::protobuf::SourceLocation location = {};
        bool known = at->GetSourceLocation(&location);
        add_at(at->file(), known ? &location : nullptr, what);
    }

    // The same for a file as a whole: its line 1.
    void add_file(const google::protobuf::FileDescriptor *file, const std::string &what) {
        google::protobuf::SourceLocation location = {};
        add_at(file, &location, what);
    }

    std::string lines() const {
        std::string all;
        for (const std::string &line : list) {
            all += (all.empty() ? "" : "\n") + line;
        }
        return all;
    }

  private:
    // Lines and columns count from 0 in a location.
    void add_at(const google::protobuf::FileDescriptor *file, const google::protobuf::SourceLocation *location,
                const std::string &what) {
        std::string place = file->name();
        if (location != nullptr) {
            place += ":" + std::to_string(location->start_line + 1) + ":" + std::to_string(location->start_column + 1);
        }
        list.push_back(place + ": " + what);
    }

    std::vector<std::string> list;
};

#endif
