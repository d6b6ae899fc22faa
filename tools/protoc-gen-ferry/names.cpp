// SPDX-License-Identifier: MIT
//
// names.cpp - must agree with protobuf-c, letter by letter; otherwise what is generated does not compile.
//
#include "names.h"

#include <set>

using google::protobuf::FileDescriptor;
using google::protobuf::MethodDescriptor;

namespace {

bool is_upper(char c) {
    return c >= 'A' && c <= 'Z';
}

bool is_lower(char c) {
    return c >= 'a' && c <= 'z';
}

std::string to_lower(std::string text) {
    for (char &c : text) {
        c = is_upper(c) ? static_cast<char>(c - 'A' + 'a') : c;
    }
    return text;
}

std::string to_upper(std::string text) {
    for (char &c : text) {
        c = is_lower(c) ? static_cast<char>(c - 'a' + 'A') : c;
    }
    return text;
}

// An underscore before each capital letter that does not follow one.
std::string underscored(const std::string &name) {
    std::string spelled;
    bool was_upper = true;
    for (char c : name) {
        if (is_upper(c) && !was_upper) {
            spelled += '_';
        }
        was_upper = is_upper(c);
        spelled += c;
    }
    return spelled;
}

// Capital letters instead of underscores.
std::string camel(const std::string &name) {
    std::string spelled;
    bool begins = true;
    for (char c : name) {
        if (c == '_') {
            begins = true;
            continue;
        }
        spelled += begins ? to_upper(std::string(1, c)) : std::string(1, c);
        begins = false;
    }
    return spelled;
}

// Spells each part between dots, and puts two underscores between them.
template <typename Spell> std::string joined(const std::string &full_name, const FileDescriptor *file, Spell spell) {
    std::string name = full_name;
    const std::string c_package = options_of_c(file).c_package;
    if (!c_package.empty()) {
        name = c_package + "." + name.substr(file->package().empty() ? 0 : file->package().size() + 1);
    }
    std::string spelled;
    for (size_t begin = 0; begin <= name.size();) {
        size_t end = std::min(name.find('.', begin), name.size());
        spelled += (begin == 0 ? "" : "__") + spell(name.substr(begin, end - begin));
        begin = end + 1;
    }
    return spelled;
}

} // namespace

std::string base_name(const FileDescriptor *file) {
    const std::string &name = file->name();
    for (const std::string ending : {".protodevel", ".proto"}) {
        if (name.size() >= ending.size() && name.compare(name.size() - ending.size(), ending.size(), ending) == 0) {
            return name.substr(0, name.size() - ending.size());
        }
    }
    return name;
}

std::string lower_name(const std::string &full_name, const FileDescriptor *file) {
    return joined(full_name, file, [](const std::string &part) { return to_lower(underscored(part)); });
}

std::string upper_name(const std::string &full_name, const FileDescriptor *file) {
    return joined(full_name, file, [](const std::string &part) { return to_upper(underscored(part)); });
}

std::string type_name(const std::string &full_name, const FileDescriptor *file) {
    return joined(full_name, file, camel);
}

std::string method_name(const MethodDescriptor *method) {
    return to_lower(underscored(method->name()));
}

bool is_word_of_c(const std::string &name) {
    static const std::set<std::string> words = {
        "auto",   "break",   "case",     "char",     "const", "continue", "default", "do",     "double",
        "else",   "enum",    "extern",   "float",    "for",   "goto",     "if",      "inline", "int",
        "long",   "return",  "register", "restrict", "short", "signed",   "sizeof",  "static", "struct",
        "switch", "typedef", "union",    "unsigned", "void",  "volatile", "while",
    };
    return words.count(name) != 0;
}

std::string member_name(const MethodDescriptor *method) {
    // "arg" is a member of every server.
    static const std::set<std::string> words = {
        "alignas",   "alignof",  "and",      "and_eq",    "arg",      "asm",      "bitand",  "bitor",     "bool",
        "catch",     "class",    "co_await", "co_return", "co_yield", "compl",    "concept", "consteval", "constexpr",
        "constinit", "decltype", "delete",   "explicit",  "export",   "false",    "friend",  "mutable",   "namespace",
        "new",       "noexcept", "not",      "not_eq",    "nullptr",  "operator", "or",      "or_eq",     "private",
        "protected", "public",   "requires", "template",  "this",     "throw",    "true",    "try",       "typeid",
        "typename",  "typeof",   "using",    "virtual",   "xor",      "xor_eq",
    };
    std::string name = method_name(method);
    return words.count(name) != 0 ? name + "_" : name;
}
