// SPDX-License-Identifier: MIT
//
// A peer that knows nothing of Ferry: npm's `nats`.
//
//   calls.mjs discover URL NAME              $SRV.PING, INFO and STATS of the services NAME, as one JSON object
//   calls.mjs call URL SUBJECT ARGUMENT      a request; prints the answer, or "error CODE TEXT: DETAIL"
//   calls.mjs serve URL NAME                 serves add, shout, slow, die and refuse; prints "ready"
//   calls.mjs publish URL SUBJECT TEXT...    publishes messages
//   calls.mjs hear URL SUBJECT COUNT         subscribes, prints "ready", then so many messages: their names of headers, and texts
//   calls.mjs put URL SUBJECT TEXT...        puts messages into a stream
//   calls.mjs take URL STREAM COUNT          takes so many by the stream's consumer "ferry", and prints them
import { connect, headers, StringCodec, ServiceError } from "nats";

const [command, servers, ...words] = process.argv.slice(2);
const text = StringCodec();
const nc = await connect({ servers });

async function all(iterator) {
    const found = [];
    for await (const one of await iterator) found.push(one);
    return found;
}

if (command === "discover") {
    const client = nc.services.client({ strategy: "timer", maxWait: 300 });
    const [name] = words;
    const [ping, info, stats] = await Promise.all([
        all(client.ping(name)), all(client.info(name)), all(client.stats(name))]);
    const id = ping.length ? await all(client.info(name, ping[0].id)) : [];
    const everybody = await all(client.ping());
    console.log(JSON.stringify({ ping, info, stats, id, everybody }));
} else if (command === "call") {
    const m = await nc.request(words[0], text.encode(words[1] ?? ""), { timeout: 5000, headers: headers() });
    console.log(ServiceError.isServiceError(m)
        ? `error ${ServiceError.toServiceError(m).code} ${ServiceError.toServiceError(m).message}: ${text.decode(m.data)}`
        : text.decode(m.data));
} else if (command === "publish") {
    for (const one of words.slice(1)) nc.publish(words[0], text.encode(one));
} else if (command === "hear") {
    const heard = nc.subscribe(words[0], { max: Number(words[1]) });
    await nc.flush();
    console.log("ready");
    for await (const m of heard) console.log([...(m.headers?.keys() ?? [])].sort().join(), text.decode(m.data));
} else if (command === "put") {
    for (const one of words.slice(1)) await nc.jetstream().publish(words[0], text.encode(one));
} else if (command === "take") {
    const consumer = await nc.jetstream().consumers.get(words[0], "ferry");
    for await (const m of await consumer.fetch({ max_messages: Number(words[1]), expires: 5000 })) {
        console.log(text.decode(m.data));
        await m.ackAck();
    }
} else if (command === "serve") {
    const service = await nc.services.add({ name: words[0], version: "1.2.3", description: "of another make" });
    service.addEndpoint("add", (error, m) => {
        m.respond(text.encode(String(text.decode(m.data).split("+").reduce((a, b) => a + Number(b), 0))));
    });
    service.addGroup("loud").addEndpoint("shout", (error, m) => m.respond(text.encode(text.decode(m.data).toUpperCase())));
    service.addEndpoint("die", () => process.exit(1));
    service.addEndpoint("slow", (error, m) => setTimeout(() => m.respond(text.encode("at last")), 4000));
    service.addEndpoint("refuse", (error, m) => m.respondError(409, "not today", text.encode("come back")));
    await nc.flush();
    console.log("ready");
    await new Promise((done) => process.on("SIGTERM", done));
}
await nc.drain();
