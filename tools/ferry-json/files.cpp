// SPDX-License-Identifier: MIT
//
// files.cpp - from a set of files to a pool of types.
//
// The set comes from a stranger. It is built without recursion, since he says how many files import each other in a row.
// The files of google/protobuf/ are taken from libprotobuf, not from him: JSON treats their types specially, and relies on what
// stands in them.
//
#include "schema.h"

#include <cerrno>
#include <map>
#include <set>
#include <vector>

using google::protobuf::DescriptorPool;
using google::protobuf::FileDescriptor;
using google::protobuf::FileDescriptorProto;
using google::protobuf::FileDescriptorSet;

namespace {

const int FILES_MOST = 10000;

// Keeps the first of libprotobuf's complaints about a file.
class FirstComplaint : public DescriptorPool::ErrorCollector {
  public:
    void AddError(const std::string &file, const std::string &element, const google::protobuf::Message *, ErrorLocation,
                  const std::string &message) override {
        if (sentence.empty()) {
            sentence = file + ": " + element + ": " + message;
        }
    }
    std::string sentence;
};

// The files by name, and what each still waits for.
class Builder {
  public:
    explicit Builder(DescriptorPool *into) : pool(into) {
    }

    void add(const FileDescriptorProto &file) {
        if (!add_builtin(file.name())) {
            if (file.package() == "google.protobuf") {
                throw Fault{-EINVAL, file.name() + ": package google.protobuf is libprotobuf's own"};
            }
            files[file.name()] = file;
        }
    }

    // What is imported is added if it is libprotobuf's; else it must be in the set.
    void add_import(const std::string &name) {
        add_builtin(name);
    }

    void build() {
        for (auto &[name, file] : files) {
            wait_for_imports(name, file);
        }
        while (!ready.empty()) {
            const std::string name = ready.back();
            ready.pop_back();
            build_file(files.at(name));
            for (const std::string &importer : importers[name]) {
                if (--missing.at(importer) == 0) {
                    ready.push_back(importer);
                }
            }
        }
        for (const auto &[name, count] : missing) {
            if (count > 0) {
                throw Fault{-EINVAL, name + ": an import is missing, or imports this file itself"};
            }
        }
    }

  private:
    // One of libprotobuf's own, and what that imports. False: it is none.
    bool add_builtin(const std::string &name) {
        if (name.compare(0, 16, "google/protobuf/") != 0) {
            return false;
        }
        const FileDescriptor *file = DescriptorPool::generated_pool()->FindFileByName(name);
        if (file == nullptr) {
            return false;
        }
        if (files.count(name) == 0) {
            file->CopyTo(&files[name]);
            for (int i = 0; i < file->dependency_count(); i++) {
                add_builtin(file->dependency(i)->name());
            }
        }
        return true;
    }

    void wait_for_imports(const std::string &name, const FileDescriptorProto &file) {
        std::set<std::string> imports(file.dependency().begin(), file.dependency().end());
        for (const std::string &import : imports) {
            importers[import].push_back(name);
        }
        missing[name] = imports.size();
        if (imports.empty()) {
            ready.push_back(name);
        }
    }

    void build_file(const FileDescriptorProto &file) {
        FirstComplaint complaint;
        if (pool->BuildFileCollectingErrors(file, &complaint) == nullptr) {
            throw Fault{-EINVAL, complaint.sentence.empty() ? file.name() + ": it is wrong" : complaint.sentence};
        }
    }

    DescriptorPool *pool;
    std::map<std::string, FileDescriptorProto> files;
    std::map<std::string, std::vector<std::string>> importers;
    std::map<std::string, size_t> missing; // imports that are not built yet
    std::vector<std::string> ready;        // files without such
};

} // namespace

void build_files(const FileDescriptorSet &files, DescriptorPool *pool) {
    if (files.file_size() > FILES_MOST) {
        throw Fault{-EMSGSIZE, "the descriptor has more than " + std::to_string(FILES_MOST) + " files"};
    }
    Builder builder(pool);
    for (const FileDescriptorProto &file : files.file()) {
        builder.add(file);
        for (const std::string &import : file.dependency()) {
            builder.add_import(import);
        }
    }
    builder.build();
}
