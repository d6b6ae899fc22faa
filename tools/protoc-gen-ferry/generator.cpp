// SPDX-License-Identifier: MIT
//
// generator.cpp - check, then write.
//
#include "generator.h"

#include "check.h"
#include "header.h"
#include "names.h"
#include "source.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/io/printer.h>
#include <google/protobuf/io/zero_copy_stream.h>

#include <memory>

using google::protobuf::FileDescriptor;
using google::protobuf::compiler::GeneratorContext;
using google::protobuf::io::Printer;
using google::protobuf::io::ZeroCopyOutputStream;

bool Generator::Generate(const FileDescriptor *file, const std::string &parameter, GeneratorContext *context,
                         std::string *error) const {
    if (!parameter.empty()) {
        *error = "protoc-gen-ferry has no option \"" + parameter + "\": it has none at all";
        return false;
    }
    if (file->service_count() == 0) {
        return true;
    }
    *error = check_file(file);
    if (!error->empty()) {
        return false;
    }
    std::unique_ptr<ZeroCopyOutputStream> header(context->Open(base_name(file) + ".ferry.h"));
    Printer header_printer(header.get(), '$');
    write_header(file, &header_printer);
    std::unique_ptr<ZeroCopyOutputStream> source(context->Open(base_name(file) + ".ferry.c"));
    Printer source_printer(source.get(), '$');
    write_source(file, &source_printer);
    return true;
}

bool Generator::GenerateAll(const std::vector<const FileDescriptor *> &files, const std::string &parameter,
                            GeneratorContext *context, std::string *error) const {
    for (const FileDescriptor *file : files) {
        std::string fault;
        if (!Generate(file, parameter, context, &fault)) {
            *error += (error->empty() ? "" : "\n") + fault;
        }
    }
    return error->empty();
}
