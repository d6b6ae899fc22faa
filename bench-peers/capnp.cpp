/* SPDX-License-Identifier: MIT
 *
 * Cap'n Proto's calls over a UNIX socket, as `ferry bench rpc` compares them.
 */
#include <capnp/ez-rpc.h>
#include <kj/async.h>

#include <future>
#include <memory>
#include <string>
#include <thread>

#include "echo.capnp.h"

extern "C" {
#include "bench/callpeer.h"
}

namespace {

class Service final : public Echo::Server {
  public:
    Service(bench_echo_fn *echo, void *arg) : echo_(echo), arg_(arg) {
    }

    kj::Promise<void> call(CallContext context) override {
        auto question = context.getParams().getQuestion();
        auto answer = context.getResults().initAnswer(static_cast<unsigned>(question.size()));

        KJ_REQUIRE(echo_(arg_, question.begin(), question.size(), answer.begin()) == 0, "the argument was damaged");
        return kj::READY_NOW;
    }

  private:
    bench_echo_fn *echo_;
    void *arg_;
};

using Fulfiller = kj::Own<kj::CrossThreadPromiseFulfiller<void>>;

/* An event loop belongs to the thread that made it. */
struct Server {
    std::promise<bool> started;
    Fulfiller stop;
    std::thread thread;

    void run(const std::string &path, bench_echo_fn *echo, void *arg) {
        bool told = false;
        try {
            capnp::EzRpcServer server(kj::heap<Service>(echo, arg), "unix:" + path);
            auto stopped = kj::newPromiseAndCrossThreadFulfiller<void>();
            stop = kj::mv(stopped.fulfiller);
            server.getPort().wait(server.getWaitScope()); /* it listens */
            told = true;
            started.set_value(true);
            stopped.promise.wait(server.getWaitScope());
        } catch (...) {
            if (!told)
                started.set_value(false);
        }
    }
};

struct Client {
    explicit Client(const std::string &path) : rpc("unix:" + path), echo(rpc.getMain<Echo>()) {
    }

    capnp::EzRpcClient rpc;
    Echo::Client echo;
};

void *serve(const char *path, bench_echo_fn *echo, void *arg) {
    auto server = std::make_unique<Server>();
    auto started = server->started.get_future();
    Server *s = server.get();

    s->thread = std::thread([s, where = std::string(path), echo, arg] { s->run(where, echo, arg); });
    if (started.get())
        return server.release();
    s->thread.join();
    return nullptr;
}

void stop(void *server) {
    auto *s = static_cast<Server *>(server);

    s->stop->fulfill();
    s->thread.join();
    delete s;
}

void *connect(const char *path) {
    try {
        return new Client(path);
    } catch (...) { /* the caller is C, and says that it failed */
        return nullptr;
    }
}

int call(void *client, const void *data, size_t size, int (*got)(void *arg, const void *data, size_t size), void *arg) {
    auto *c = static_cast<Client *>(client);

    try {
        auto request = c->echo.callRequest();
        request.setQuestion(capnp::Data::Reader(static_cast<const kj::byte *>(data), size));
        auto response = request.send().wait(c->rpc.getWaitScope());
        return got(arg, response.getAnswer().begin(), response.getAnswer().size());
    } catch (...) {
        return -1;
    }
}

void disconnect(void *client) {
    delete static_cast<Client *>(client);
}

} // namespace

extern "C" {
extern const bench_callpeer_t ferry_bench_callpeer;
const bench_callpeer_t ferry_bench_callpeer = {serve, stop, connect, call, disconnect};
}
