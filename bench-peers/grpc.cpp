/* SPDX-License-Identifier: MIT
 *
 * gRPC over a UNIX socket, as `ferry bench rpc` compares it: the plain blocking calls of its C++ interface.
 */
#include <grpcpp/grpcpp.h>

#include <memory>
#include <string>

#include "echo.grpc.pb.h"

extern "C" {
#include "bench/callpeer.h"
}

namespace {

class Service final : public ferry::bench::Echo::Service {
  public:
    Service(bench_echo_fn *echo, void *arg) : echo_(echo), arg_(arg) {
    }

    grpc::Status Call(grpc::ServerContext *, const ferry::bench::Bytes *question,
                      ferry::bench::Bytes *answer) override {
        const std::string &asked = question->data();
        std::string *result = answer->mutable_data();

        result->resize(asked.size());
        if (echo_(arg_, asked.data(), asked.size(), &(*result)[0]) != 0)
            return grpc::Status(grpc::StatusCode::DATA_LOSS, "the argument was damaged");
        return grpc::Status::OK;
    }

  private:
    bench_echo_fn *echo_;
    void *arg_;
};

struct Server {
    std::unique_ptr<Service> service;
    std::unique_ptr<grpc::Server> server;
};

struct Client {
    std::unique_ptr<ferry::bench::Echo::Stub> stub;
    ferry::bench::Bytes question, answer;
};

void *serve(const char *path, bench_echo_fn *echo, void *arg) {
    auto server = std::make_unique<Server>();
    grpc::ServerBuilder builder;

    server->service = std::make_unique<Service>(echo, arg);
    builder.AddListeningPort(std::string("unix:") + path, grpc::InsecureServerCredentials());
    builder.RegisterService(server->service.get());
    server->server = builder.BuildAndStart();
    return server->server ? server.release() : nullptr;
}

void stop(void *server) {
    auto *s = static_cast<Server *>(server);

    s->server->Shutdown();
    s->server->Wait();
    delete s;
}

void *connect(const char *path) {
    auto channel = grpc::CreateChannel(std::string("unix:") + path, grpc::InsecureChannelCredentials());
    auto client = std::make_unique<Client>();

    if (!channel->WaitForConnected(std::chrono::system_clock::now() + std::chrono::seconds(5)))
        return nullptr;
    client->stub = ferry::bench::Echo::NewStub(channel);
    return client.release();
}

int call(void *client, const void *data, size_t size, int (*got)(void *arg, const void *data, size_t size), void *arg) {
    auto *c = static_cast<Client *>(client);
    grpc::ClientContext context;

    c->question.set_data(data, size);
    if (!c->stub->Call(&context, c->question, &c->answer).ok())
        return -1;
    return got(arg, c->answer.data().data(), c->answer.data().size());
}

void disconnect(void *client) {
    delete static_cast<Client *>(client);
}

} // namespace

extern "C" {
extern const bench_callpeer_t ferry_bench_callpeer;
const bench_callpeer_t ferry_bench_callpeer = {serve, stop, connect, call, disconnect};
}
