"""A redis-server of its own, and a client that shows what is pushed to it."""
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time


class Client:
    """One connection that speaks RESP. Its pushed messages are kept in `pushed`."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), 10)
        self.file = self.socket.makefile("rb")
        self.pushed = []

    def do(self, *words):
        words = [str(w).encode() for w in words]
        self.socket.sendall(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in words))
        while True:
            kind, value = self.read()
            if kind != b">":
                return value
            self.pushed.append(value)

    def read(self):
        line = self.file.readline()
        kind, rest = line[:1], line[1:-2]
        if kind == b"-":
            raise RuntimeError(rest.decode())
        if kind == b"_" or rest == b"-1":
            return kind, None
        if kind in (b"$", b"="):
            return kind, self.file.read(int(rest) + 2)[:-2].decode()
        if kind in (b"*", b"~", b">", b"%"):
            n = int(rest) * (2 if kind == b"%" else 1)
            return kind, [self.read()[1] for _ in range(n)]
        if not kind:
            raise RuntimeError("the server closed the connection")
        return kind, rest.decode()

    def close(self):
        self.file.close()
        self.socket.close()


class Server:
    """redis-server from PATH on a free port, for a `with`."""

    def __init__(self, *options):
        self.options = options

    def __enter__(self):
        binary = shutil.which("redis-server")
        if binary is None:
            print("not run: redis-server is not on PATH")
            sys.exit(75)
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            self.port = s.getsockname()[1]
        self.dir = tempfile.TemporaryDirectory()
        self.process = subprocess.Popen(
            [binary, "--bind", "127.0.0.1", "--port", str(self.port), "--save", "", "--dir", self.dir.name, *self.options],
            stdout=subprocess.DEVNULL,
        )
        for _ in range(200):
            try:
                self.admin = Client(self.port)
                break
            except OSError:
                time.sleep(0.05)
        print("redis-server", self.info("redis_version"))
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()
        self.dir.cleanup()

    def info(self, name):
        return re.search(r"^%s:(.*?)\r?$" % name, self.admin.do("INFO"), re.M).group(1)


def expect(what, have, want):
    """Prints what was seen, and ends with 1 if it is not what we saw."""
    print(f"{what}: {have}")
    if not want(have):
        print(f"CHANGED: {what}")
        sys.exit(1)
