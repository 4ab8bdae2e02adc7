"""A server that answers the handshake of MongoDB, and every find with one error."""
import socketserver
import struct
import sys
import threading

import bson  # of pymongo

code, name = int(sys.argv[1]), sys.argv[2]
finds = 0
hello = {
    "helloOk": True, "ismaster": True, "isWritablePrimary": True, "minWireVersion": 0, "maxWireVersion": 21,
    "maxBsonObjectSize": 1 << 24, "maxMessageSizeBytes": 48_000_000, "maxWriteBatchSize": 100_000,
    "logicalSessionTimeoutMinutes": 30, "setName": "rs0", "ok": 1.0,
}


class Connection(socketserver.StreamRequestHandler):
    def handle(self):
        global finds
        while len(head := self.rfile.read(16)) == 16:
            length, request, _, op = struct.unpack("<iiii", head)
            body = self.rfile.read(length - 16)
            if op == 2004:  # OP_QUERY: only the first hello; flags, collection, two numbers
                command = bson.decode(body[body.index(b"\0", 4) + 9:])
                op, before = 1, struct.pack("<iqii", 8, 0, 0, 1)  # OP_REPLY
            else:  # OP_MSG: flags, a section of kind 0
                size = struct.unpack_from("<i", body, 5)[0]
                command = bson.decode(body[5:5 + size])
                before = bytes(5)
            first = next(iter(command)).lower()
            if first in ("hello", "ismaster"):
                answer = hello
            elif first == "find":
                finds += 1
                answer = {"ok": 0.0, "code": code, "codeName": name, "errmsg": name}
            else:
                answer = {"ok": 1.0}
            out = before + bson.encode(answer)
            self.wfile.write(struct.pack("<iiii", 16 + len(out), 0, request, op) + out)


class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True


with Server(("127.0.0.1", 0), Connection) as server:
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(server.server_address[1], flush=True)
    sys.stdin.read()  # until the caller has seen enough
    print(finds)
