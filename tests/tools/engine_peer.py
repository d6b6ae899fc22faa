# SPDX-License-Identifier: MIT
#
# A client of the server in few words, which knows nothing of Ferry: greets, connects, and asks JetStream.
#
#   engine_peer.py URL [WORD...]    prints the server's greeting, as JSON; ends with 0 if it was let in
#
# Environment: FERRY_USER, FERRY_PASSWORD, FERRY_TLS_CA, FERRY_TLS_CERT, FERRY_TLS_KEY. Words: `stream NAME
# REPLICAS` makes a stream, `put SUBJECT TEXT` adds to one, `count NAME` tells on standard error how many it holds.
import json
import os
import re
import socket
import ssl
import sys

scheme, host, port = re.match(r"(nats|nats\+tls)://\[?(.*?)\]?:(\d+)$", sys.argv[1]).groups()
env = os.environ.get


def line(stream):
    text = stream.readline().decode()
    if not text:
        sys.exit("the server has closed the connection")
    return text.strip()


sock = socket.create_connection((host, int(port)), 5)
greeting = b""
while not greeting.endswith(b"\r\n"):
    piece = sock.recv(1)
    if not piece:
        sys.exit("no greeting")
    greeting += piece
info = json.loads(greeting.decode().removeprefix("INFO "))
if scheme == "nats+tls":
    context = ssl.create_default_context(cafile=env("FERRY_TLS_CA"))
    if env("FERRY_TLS_CERT"):
        context.load_cert_chain(env("FERRY_TLS_CERT"), env("FERRY_TLS_KEY"))
    sock = context.wrap_socket(sock, server_hostname=host)
stream = sock.makefile("rwb")


def send(text):
    stream.write(text.encode())
    stream.flush()


def request(subject, body=""):
    send(f"PUB {subject} _INBOX.peer {len(body)}\r\n{body}\r\n")
    while True:
        words = line(stream).split(" ")
        if words[0] == "MSG":
            return json.loads(stream.read(int(words[-1]) + 2).decode())
        if words[0] == "PING":
            send("PONG\r\n")


send("CONNECT " + json.dumps({"verbose": False, "pedantic": False, "user": env("FERRY_USER", ""),
                              "pass": env("FERRY_PASSWORD", "")}) + "\r\nPING\r\n")
answer = line(stream)
while answer.startswith("INFO"):
    answer = line(stream)
if answer != "PONG":
    sys.exit(answer)
send("SUB _INBOX.peer 1\r\n")
words = sys.argv[2:]
while words:
    word = words.pop(0)
    if word == "stream":
        name, replicas = words.pop(0), int(words.pop(0))
        answer = request("$JS.API.STREAM.CREATE." + name,
                         json.dumps({"name": name, "subjects": [name], "storage": "file", "num_replicas": replicas}))
    elif word == "put":
        answer = request(words.pop(0), words.pop(0))
    elif word == "count":
        answer = request("$JS.API.STREAM.INFO." + words.pop(0))
        print(answer["state"]["messages"], file=sys.stderr)
    if "error" in answer:
        sys.exit(json.dumps(answer["error"]))
print(json.dumps(info))
