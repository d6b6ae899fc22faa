// SPDX-License-Identifier: MIT
//
// schema.cpp - bounded translations, by libprotobuf.
//
#include "schema.h"

#include "ferry-json.h"

#include <google/protobuf/io/zero_copy_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>
#include <google/protobuf/stubs/logging.h>
#include <google/protobuf/util/json_util.h>
#include <google/protobuf/util/type_resolver_util.h>

#include <cerrno>

using google::protobuf::Descriptor;
using google::protobuf::DescriptorPool;
using google::protobuf::FileDescriptorSet;
using google::protobuf::Message;
using google::protobuf::io::ArrayInputStream;
using google::protobuf::io::CodedInputStream;
using google::protobuf::io::CodedOutputStream;
using google::protobuf::io::StringOutputStream;
using google::protobuf::io::ZeroCopyOutputStream;

namespace {

const char *const PREFIX = "type.googleapis.com";

// Refuses to grow beyond the limit.
class BoundedOutput : public ZeroCopyOutputStream {
  public:
    explicit BoundedOutput(std::string *text) : out(text) {
    }
    bool Next(void **data, int *size) override {
        if (out.ByteCount() > static_cast<int64_t>(FERRY_JSON_MOST)) {
            is_full = true;
            return false;
        }
        return out.Next(data, size);
    }
    void BackUp(int count) override {
        out.BackUp(count);
    }
    int64_t ByteCount() const override {
        return out.ByteCount();
    }
    bool full() const {
        return is_full || out.ByteCount() > static_cast<int64_t>(FERRY_JSON_MOST);
    }

  private:
    StringOutputStream out;
    bool is_full = false;
};

// Some begin with the place in the text, and some have none to tell.
std::string sentence_of(const google::protobuf::util::Status &status) {
    std::string sentence(status.message());
    sentence.erase(0, std::min(sentence.find_first_not_of(": "), sentence.size()));
    return sentence.empty() ? status.ToString() : sentence;
}

std::string serialized(const Message &message) {
    std::string bytes;
    StringOutputStream out(&bytes);
    CodedOutputStream coded(&out);
    coded.SetSerializationDeterministic(true);
    message.SerializePartialToCodedStream(&coded);
    coded.Trim();
    return bytes;
}

Fault too_large(const std::string &what) {
    return Fault{-EMSGSIZE, what + " larger than " + std::to_string(FERRY_JSON_MOST >> 20) + " MiB"};
}

bool is_blank(const std::string &text) {
    return text.find_first_not_of(" \t\r\n") == std::string::npos;
}

} // namespace

void Schema::read(const void *descriptor, size_t size) {
    google::protobuf::SetLogHandler(nullptr);
    if (size > FERRY_JSON_DESCRIPTOR_MOST) {
        throw Fault{-EMSGSIZE, "the descriptor has " + std::to_string(size) + " bytes, more than " +
                                   std::to_string(FERRY_JSON_DESCRIPTOR_MOST)};
    }
    FileDescriptorSet files;
    if (size == 0 || !files.ParseFromArray(descriptor, static_cast<int>(size))) {
        throw Fault{-EINVAL,
                    "the descriptor (" + std::to_string(size) + " bytes) is no google.protobuf.FileDescriptorSet"};
    }
    build_files(files, &pool);
    factory.reset(new google::protobuf::DynamicMessageFactory(&pool));
    resolver.reset(google::protobuf::util::NewTypeResolverForDescriptorPool(PREFIX, &pool));
}

const Descriptor *Schema::find(const std::string &type) const {
    const Descriptor *found = pool.FindMessageTypeByName(type.compare(0, 1, ".") == 0 ? type.substr(1) : type);
    if (found == nullptr) {
        throw Fault{-ENOENT, "the descriptor has no message type \"" + type + "\""};
    }
    return found;
}

std::unique_ptr<Message> Schema::parse(const Descriptor *type, const void *bytes, size_t size, const char *what) {
    std::unique_ptr<Message> message(factory->GetPrototype(type)->New());
    CodedInputStream in(static_cast<const uint8_t *>(bytes), static_cast<int>(size));
    in.SetRecursionLimit(FERRY_JSON_DEPTH);
    if (!message->ParsePartialFromCodedStream(&in) || !in.ConsumedEntireMessage()) {
        throw Fault{-EINVAL, std::string(what) + " no " + type->full_name() + ", or nested deeper than " +
                                 std::to_string(FERRY_JSON_DEPTH)};
    }
    if (!message->IsInitialized()) {
        throw Fault{-EINVAL, std::string(what) + " no whole " + type->full_name() + ": missing are " +
                                 message->InitializationErrorString()};
    }
    return message;
}

std::string Schema::encode(const std::string &type, const std::string &text) {
    const Descriptor *found = find(type);
    if (text.size() > FERRY_JSON_MOST) {
        throw too_large("the text is");
    }
    const std::string empty = "{}";
    const std::string &json = is_blank(text) ? empty : text;
    std::string bytes;
    BoundedOutput out(&bytes);
    ArrayInputStream in(json.data(), static_cast<int>(json.size()));
    auto status = google::protobuf::util::JsonToBinaryStream(resolver.get(),
                                                             std::string(PREFIX) + "/" + found->full_name(), &in, &out);
    if (out.full()) {
        throw too_large("the message would be");
    }
    if (!status.ok()) {
        throw Fault{-EINVAL, "the text is no " + found->full_name() + " in JSON: " + sentence_of(status)};
    }
    // These are valid, but not as others would have made them: nothing is packed, and all stands in the text's order.
    return serialized(*parse(found, bytes.data(), bytes.size(), "the text makes"));
}

std::string Schema::decode(const std::string &type, const void *bytes, size_t size, uint32_t flags) {
    const Descriptor *found = find(type);
    if (size > FERRY_JSON_MOST) {
        throw too_large("the message is");
    }
    // Written again: of a map's entry whose key or value was left out, as protobuf-c does, libprotobuf would show nothing.
    const std::string whole = serialized(*parse(found, bytes, size, "these bytes are"));
    google::protobuf::util::JsonPrintOptions options;
    options.add_whitespace = (flags & FERRY_JSON_LINES) != 0;
    options.always_print_primitive_fields = (flags & FERRY_JSON_UNSET) != 0;
    options.preserve_proto_field_names = (flags & FERRY_JSON_PROTO) != 0;
    std::string json;
    BoundedOutput out(&json);
    ArrayInputStream in(whole.data(), static_cast<int>(whole.size()));
    auto status = google::protobuf::util::BinaryToJsonStream(
        resolver.get(), std::string(PREFIX) + "/" + found->full_name(), &in, &out, options);
    if (out.full()) {
        throw too_large("the text would be");
    }
    if (!status.ok()) {
        throw Fault{-EINVAL, "these bytes are no " + found->full_name() + ": " + sentence_of(status)};
    }
    json.erase(json.find_last_not_of('\n') + 1);
    return json;
}
