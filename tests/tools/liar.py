# SPDX-License-Identifier: MIT
"""A node of a space that spans machines that tells nonsense of itself to who looks.

    liar.py PORT SPACE SEED

It asks the space's nodes once, as `ferry ls` does, and from then on answers every look with what they have told, changed at
random.  "ready" on standard output says that it does.
"""
import random
import socket
import struct
import sys

MAGIC = 0x656C617479727265
ME = 0x4242424241414141


class Server:
    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.bytes = b""
        self.send(b'CONNECT {"verbose":false,"echo":false}\r\n')

    def send(self, data):
        self.socket.sendall(data)

    def publish(self, subject, data, reply=b""):
        self.send(b"PUB %s %s %d\r\n%s\r\n" % (subject, reply, len(data), data))

    def more(self):
        """Reads what there is; False: nothing for a moment."""
        self.socket.settimeout(0.2)
        try:
            data = self.socket.recv(1 << 20)
        except TimeoutError:
            return False
        finally:
            self.socket.settimeout(None)
        if not data:
            sys.exit(0)
        self.bytes += data
        return True

    def messages(self):
        """(subject, reply, data) of each; None now and then."""
        while True:
            line, end, rest = self.bytes.partition(b"\r\n")
            words = line.split()
            size = int(words[-1]) + 2 if end and words and words[0] == b"MSG" else 0
            if not end or len(rest) < size:
                if not self.more():
                    yield None
                continue
            self.bytes = rest[size:]
            if words and words[0] == b"PING":
                self.send(b"PONG\r\n")
            elif size:
                yield words[1], words[3] if len(words) == 5 else b"", rest[: size - 2]


def spoil(tale):
    """The head stays readable, most of the time."""
    tale = bytearray(tale)
    struct.pack_into("<Q", tale, 8, ME)
    flags, count = struct.unpack_from("<II", tale, 24)
    struct.pack_into("<II", tale, 24, flags & ~2, random.choice([count, count, count + 1, 0xFFFFFFFF]))
    for _ in range(random.randrange(60)):
        at = random.randrange(32, len(tale)) if len(tale) > 32 and random.random() < 0.98 else random.randrange(16, 24)
        tale[at] = random.choice([0, 1, 0x1B, 0x7F, 0xFF, random.randrange(256)])
    return bytes(tale if random.random() < 0.9 else tale[: random.randrange(len(tale))])


def main():
    random.seed(int(sys.argv[3]))
    server = Server(int(sys.argv[1]))
    who = b"ferry.%s.who" % sys.argv[2].encode()
    inbox = b"_INBOX.liar"
    server.send(b"SUB %s 1\r\nSUB %s 2\r\n" % (who, inbox))
    server.publish(who, struct.pack("<II", 1, 0), inbox)
    tales = []
    ready = False
    for message in server.messages():
        if message is None:
            if tales and not ready:
                ready = True
                print("ready", flush=True)
            continue
        subject, reply, data = message
        if subject == inbox and len(data) >= 32 and struct.unpack_from("<Q", data)[0] == MAGIC:
            tales.append(data)
        elif subject == who and reply and ready:
            server.publish(reply, struct.pack("<QII", ME, 1, 1) + b"\xff\x1b[31m" * 28)
            for _ in range(30 if data else 0):
                server.publish(reply, spoil(random.choice(tales)))
            server.publish(reply, struct.pack("<QQ", MAGIC, ME) + tales[0][16:24] + struct.pack("<II", 2, 0))


main()
