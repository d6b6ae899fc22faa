// SPDX-License-Identifier: MIT
//
// generator.h - what protoc talks to.
//
#ifndef PROTOC_GEN_FERRY_GENERATOR_H
#define PROTOC_GEN_FERRY_GENERATOR_H

#include <google/protobuf/compiler/code_generator.h>

#include <string>
#include <vector>

class Generator : public google::protobuf::compiler::CodeGenerator {
  public:
    // Emits nothing for a file without services. False: `*error` has a line for each fault found in it.
    bool Generate(const google::protobuf::FileDescriptor *file, const std::string &parameter,
                  google::protobuf::compiler::GeneratorContext *context, std::string *error) const override;

    // All files are looked at before anything is refused. The usual form of this stops at the first one, and puts
    // its name before an error that begins with it already.
    bool GenerateAll(const std::vector<const google::protobuf::FileDescriptor *> &files, const std::string &parameter,
                     google::protobuf::compiler::GeneratorContext *context, std::string *error) const override;

    // "optional" of proto3 is protobuf-c's affair: without this protoc would refuse it, whether protobuf-c can do it
    // or not.
    uint64_t GetSupportedFeatures() const override {
        return FEATURE_PROTO3_OPTIONAL;
    }
};

#endif
