// SPDX-License-Identifier: MIT
//
// schema.h - a descriptor that was read, and the two translations that it makes possible.
//
#ifndef FERRY_JSON_SCHEMA_H
#define FERRY_JSON_SCHEMA_H

#include <google/protobuf/descriptor.h>
#include <google/protobuf/descriptor.pb.h>
#include <google/protobuf/dynamic_message.h>
#include <google/protobuf/util/type_resolver.h>

#include <cstdint>
#include <memory>
#include <string>

// What is thrown: a negative errno value, and why.
struct Fault {
    int code;
    std::string sentence;
};

class Schema {
  public:
    void read(const void *descriptor, size_t size);
    std::string encode(const std::string &type, const std::string &text);
    std::string decode(const std::string &type, const void *bytes, size_t size, uint32_t flags);

  private:
    const google::protobuf::Descriptor *find(const std::string &type) const;
    // A whole message of this type. Throws if the bytes are none; `what` begins the sentence.
    std::unique_ptr<google::protobuf::Message> parse(const google::protobuf::Descriptor *type, const void *bytes,
                                                     size_t size, const char *what);

    // The order matters: each is made of the one before.
    google::protobuf::DescriptorPool pool;
    std::unique_ptr<google::protobuf::DynamicMessageFactory> factory;
    std::unique_ptr<google::protobuf::util::TypeResolver> resolver;
};

// Puts the files of a set into the pool, whatever their order. Throws a Fault if they do not fit together.
void build_files(const google::protobuf::FileDescriptorSet &files, google::protobuf::DescriptorPool *pool);

#endif
