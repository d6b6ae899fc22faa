// SPDX-License-Identifier: MIT
//
// comments.cpp - a comment may hold anything: its own end, the beginning of another, half a character.
//
#include "comments.h"

using google::protobuf::MethodDescriptor;
using google::protobuf::ServiceDescriptor;
using google::protobuf::SourceLocation;

namespace {

// C11 promises that a string may be so long.
const size_t STRING_MOST = 4000;

// The number of bytes of the character at `at`, 0 if it is not UTF-8 (or longer than need be).
size_t character_at(const std::string &text, size_t at) {
    unsigned char first = static_cast<unsigned char>(text[at]);
    size_t length = first < 0x80 ? 1 : first < 0xc2 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : first < 0xf5 ? 4 : 0;
    if (length == 0 || at + length > text.size()) {
        return 0;
    }
    for (size_t i = 1; i < length; i++) {
        if ((static_cast<unsigned char>(text[at + i]) & 0xc0) != 0x80) {
            return 0;
        }
    }
    unsigned char second = length > 1 ? static_cast<unsigned char>(text[at + 1]) : 0x80;
    bool wrong = (first == 0xe0 && second < 0xa0) || (first == 0xed && second >= 0xa0) ||
                 (first == 0xf0 && second < 0x90) || (first == 0xf4 && second >= 0x90);
    return wrong ? 0 : length;
}

// U+202A to U+202E and U+2066 to U+2069 turn the direction of what follows, so that code looks like something else.
bool turns_direction(const std::string &character) {
    return character.size() == 3 && character[0] == '\xe2' &&
           ((character[1] == '\x80' && character[2] >= '\xaa' && character[2] <= '\xae') ||
            (character[1] == '\x81' && character[2] >= '\xa6' && character[2] <= '\xa9'));
}

// UTF-8 without control characters but ends of lines; '?' stands for what is none.
std::string cleaned(const std::string &text) {
    std::string clean;
    for (size_t i = 0; i < text.size();) {
        size_t length = character_at(text, i);
        std::string character = text.substr(i, length);
        if (length == 0 || turns_direction(character)) {
            clean += '?';
        } else if (text[i] == '\t') {
            clean += ' ';
        } else if (length > 1 || text[i] == '\n' || (text[i] >= ' ' && text[i] != '\x7f')) {
            clean += character;
        } else if (text[i] != '\r') {
            clean += '?';
        }
        i += length == 0 ? 1 : length;
    }
    return clean;
}

// Without spaces and empty lines around it, and without the space that stands before each line.
std::string trimmed(const std::string &text) {
    std::string lines;
    for (size_t begin = 0; begin < text.size();) {
        size_t end = std::min(text.find('\n', begin), text.size());
        std::string line = text.substr(begin, end - begin);
        line.erase(0, !line.empty() && line[0] == ' ' ? 1 : 0);
        line.erase(line.find_last_not_of(' ') + 1);
        lines += line + "\n";
        begin = end + 1;
    }
    lines.erase(0, std::min(lines.find_first_not_of('\n'), lines.size()));
    lines.erase(lines.find_last_not_of('\n') + 1);
    return lines;
}

template <typename Descriptor> std::string comment(const Descriptor *of) {
    SourceLocation location;
    if (!of->GetSourceLocation(&location)) {
        return "";
    }
    std::string before = trimmed(cleaned(location.leading_comments));
    return before.empty() ? trimmed(cleaned(location.trailing_comments)) : before;
}

} // namespace

std::string comment_of(const ServiceDescriptor *service) {
    return comment(service);
}

std::string comment_of(const MethodDescriptor *method) {
    return comment(method);
}

std::string as_comment(const std::string &text, const std::string &indent) {
    std::string lines;
    for (size_t begin = 0; begin < text.size();) {
        size_t end = std::min(text.find('\n', begin), text.size());
        std::string line = text.substr(begin, end - begin);
        // Each star beside a slash gets a space between them, also at the edge of a line.
        std::string spaced;
        for (char c : line) {
            bool meets = !spaced.empty() && ((spaced.back() == '*' && c == '/') || (spaced.back() == '/' && c == '*'));
            spaced += meets ? std::string(" ") + c : std::string(1, c);
        }
        // A trigraph for a backslash at the end of a line draws a warning even here.
        if (spaced.size() >= 3 && spaced.compare(spaced.size() - 3, 3,
                                                 "?"
                                                 "?/") == 0) {
            spaced.insert(spaced.size() - 2, " ");
        }
        lines += indent + (spaced.empty() ? " *" : " * " + spaced) + "\n";
        begin = end + 1;
    }
    return lines;
}

std::string as_string(const std::string &text) {
    if (text.empty()) {
        return "NULL";
    }
    std::string cut = text;
    if (cut.size() > STRING_MOST) {
        cut.resize(STRING_MOST);
        while (!cut.empty() && (static_cast<unsigned char>(cut.back()) & 0xc0) == 0x80) {
            cut.pop_back(); // the tail of a character
        }
        cut.pop_back(); // its head
        cut += " ...";
    }
    std::string quoted;
    for (char c : cut) {
        if (c == '\n') {
            quoted += "\\n";
        } else if (c == '"' || c == '\\' || c == '?') {
            quoted += std::string("\\") + c;
        } else if (static_cast<unsigned char>(c) >= 0x80) {
            unsigned byte = static_cast<unsigned char>(c);
            quoted += std::string("\\") + static_cast<char>('0' + byte / 64) + static_cast<char>('0' + byte / 8 % 8) +
                      static_cast<char>('0' + byte % 8);
        } else {
            quoted += c;
        }
    }
    return "\"" + quoted + "\"";
}
