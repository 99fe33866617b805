"""The backend: records exactly the bytes that it received, and reads them by the letter of RFC 9112, as a parser that is nobody's else."""
import base64
import hashlib
import socket
import threading

REPLY = b"HTTP/1.1 200 OK\r\nX-Backend: yes\r\nNarrows-Subject: forged\r\n%sContent-Length: 4\r\n\r\n"


def opens(seen):
    """Whether it asks for a WebSocket (RFC 6455 §4.2.1)."""
    return [value.lower() for value in seen.all("upgrade")] == ["websocket"] and len(seen.all("sec-websocket-key")) == 1


def switching(seen):
    """The answer that opens one (RFC 6455 §4.2.2)."""
    [key] = seen.all("sec-websocket-key")
    accept = base64.b64encode(hashlib.sha1(key.encode() + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
    return b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: " + accept + b"\r\n\r\n"


class Strange(Exception):
    """Not a request by the letter."""


class Seen:
    """One request as it came."""

    def __init__(self, head, body, port):
        self.head, self.body, self.port = head, body, port
        line, *fields = head.decode("latin-1").split("\r\n")
        self.method, self.target, self.version = line.split(" ")
        self.headers = [(name.lower(), value.strip()) for name, _, value in (field.partition(":") for field in fields)]

    def all(self, name):
        return [value for found, value in self.headers if found == name]


def length_of(head):
    """How the body is framed: a number, or "chunked"."""
    line, *fields = head.split(b"\r\n")
    if line.count(b" ") != 2 or not line.endswith((b" HTTP/1.1", b" HTTP/1.0")):
        raise Strange(f"the request line {line!r}")
    lengths, codings = [], []
    for field in fields:
        name, colon, value = field.partition(b":")
        if not colon or not name or name.strip() != name or b"\n" in field or b"\r" in field or field[:1] in b" \t":
            raise Strange(f"the field {field!r}")
        if name.lower() == b"content-length":
            lengths.append(value.strip())
        if name.lower() == b"transfer-encoding":
            codings.append(value.strip().lower())
    if codings:
        if codings != [b"chunked"] or lengths:
            raise Strange(f"framed by {codings} and {lengths}")
        return "chunked"
    if len(lengths) > 1 or not all(length.isdigit() for length in lengths):
        raise Strange(f"framed by {lengths}")
    return int(lengths[0]) if lengths else 0


class Backend:
    """Listens on one port for each name in `services`, and by TLS for each in `secured`, which says how."""

    def __init__(self, services, secured=None):
        self.secured = secured or {}
        # Lines that its answers have besides.
        self.says = b""
        self.lock, self.seen, self.raw, self.strange = threading.Lock(), [], bytearray(), []
        self.listeners = {name: socket.create_server(("127.0.0.1", 0), backlog=64) for name in [*services, *self.secured]}
        self.ports = {name: listener.getsockname()[1] for name, listener in self.listeners.items()}
        for name, listener in self.listeners.items():
            threading.Thread(target=self.listen, args=(name, listener), daemon=True).start()

    def listen(self, name, listener):
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(name, connection), daemon=True).start()

    def serve(self, name, connection):
        buffer = bytearray()

        def more():
            chunk = connection.recv(65536)
            if not chunk:
                raise EOFError
            with self.lock:
                self.raw += chunk
            buffer.extend(chunk)

        def line():
            while b"\r\n" not in buffer:
                more()
            at = buffer.index(b"\r\n")
            taken = bytes(buffer[:at])
            del buffer[:at + 2]
            return taken

        def exactly(count):
            while len(buffer) < count:
                more()
            taken = bytes(buffer[:count])
            del buffer[:count]
            return taken
        with connection:
            try:
                if name in self.secured:
                    connection = self.secured[name].wrap_socket(connection, server_side=True)
                while True:
                    while b"\r\n\r\n" not in buffer:
                        more()
                    end = buffer.index(b"\r\n\r\n")
                    head = bytes(buffer[:end])
                    del buffer[:end + 4]
                    framed = length_of(head)
                    if framed == "chunked":
                        body = b""
                        while size := int(line().split(b";")[0], 16):
                            body += exactly(size)
                            exactly(2)
                        while line():
                            pass
                    else:
                        body = exactly(framed)
                    seen = Seen(head, body, name)
                    with self.lock:
                        self.seen.append(seen)
                    if opens(seen):
                        connection.sendall(switching(seen))
                        while True:  # whatever comes goes back
                            connection.sendall(bytes(buffer))
                            buffer.clear()
                            more()
                    connection.sendall(REPLY % self.says + (b"" if seen.method == "HEAD" else b"done"))
            except (EOFError, OSError):
                if buffer:
                    self.strange.append(f"left over: {bytes(buffer[:80])!r}")
            except (Strange, ValueError) as strange:
                self.strange.append(str(strange))

    def taken(self):
        """What came since this was last asked: the requests, every byte, and what was no request."""
        with self.lock:
            taken = self.seen, bytes(self.raw), self.strange
            self.seen, self.raw, self.strange = [], bytearray(), []
        return taken

    def stop(self):
        for listener in self.listeners.values():
            listener.close()
