// SPDX-License-Identifier: MIT
//
// ferry-json.cpp - the module's face to C: nothing that C++ throws, and nothing that libprotobuf prints, gets past it.
//
#include "ferry-json.h"

#include "schema.h"

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>

struct ferry_json_schema {
    Schema schema;
};

namespace {

const size_t SENTENCE_MOST = 600;

// One line, not too long, that the caller frees.
void tell(const std::string &sentence, char **error) {
    if (error == nullptr) {
        return;
    }
    std::string line = sentence.substr(0, SENTENCE_MOST);
    for (char &c : line) {
        c = static_cast<unsigned char>(c) < ' ' ? ' ' : c;
    }
    line += sentence.size() > SENTENCE_MOST ? " ..." : "";
    *error = strdup(line.c_str());
}

// Runs `work`, and turns whatever it throws into a negative errno value and a sentence.
template <typename Work> int guarded(char **error, Work work) noexcept {
    try {
        work();
        return 0;
    } catch (const Fault &fault) {
        tell(fault.sentence, error);
        return fault.code;
    } catch (const std::bad_alloc &) {
        return -ENOMEM;
    } catch (const std::exception &e) {
        tell(std::string("libprotobuf gave up: ") + e.what(), error);
        return -EINVAL;
    } catch (...) {
        return -EINVAL;
    }
}

// A copy that C can free, with a '\0' behind it.
char *malloced(const std::string &bytes) {
    char *copy = static_cast<char *>(malloc(bytes.size() + 1));
    if (copy == nullptr) {
        throw std::bad_alloc();
    }
    memcpy(copy, bytes.c_str(), bytes.size() + 1);
    return copy;
}

int open_schema(const void *descriptor, size_t size, ferry_json_schema_t **schema, char **error) {
    return guarded(error, [=] {
        std::unique_ptr<ferry_json_schema> opened(new ferry_json_schema);
        opened->schema.read(descriptor, size);
        *schema = opened.release();
    });
}

int encode(ferry_json_schema_t *schema, const char *type, const char *text, size_t text_size, void **bytes,
           size_t *size, char **error) {
    return guarded(error, [=] {
        std::string message = schema->schema.encode(type, std::string(text, text_size));
        *bytes = malloced(message);
        *size = message.size();
    });
}

int decode(ferry_json_schema_t *schema, const char *type, const void *bytes, size_t size, uint32_t flags, char **text,
           size_t *text_size, char **error) {
    return guarded(error, [=] {
        std::string json = schema->schema.decode(type, bytes, size, flags);
        *text = malloced(json);
        if (text_size != nullptr) {
            *text_size = json.size();
        }
    });
}

void close_schema(ferry_json_schema_t *schema) {
    delete schema;
}

void free_bytes(void *bytes) {
    free(bytes);
}

} // namespace

extern "C" {
__attribute__((visibility("default"))) extern const ferry_json_api_t ferry_json_api;
const ferry_json_api_t ferry_json_api = {FERRY_JSON_VERSION, 0, open_schema, encode, decode, close_schema, free_bytes};
}
