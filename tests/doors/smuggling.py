"""Raw requests that two readers would take for two things: the own proxy refuses them, or sends on one request that is whole.

The backend reads by the letter of RFC 9112 with a parser of its own, and is the judge.
"""
import socket

import h2.config
import h2.connection
import h2.events
import h2.exceptions

SECOND = b"GET /tickets/smuggled HTTP/1.1\r\nHost: tickets.internal\r\n\r\n"
REFUSED = None  # no request goes on
# The HTTP library under the own proxy goes by `Transfer-Encoding` where a length is there too, takes a length that comes twice for one,
# and ends a line at a bare line feed. What goes on is framed anew, with one length or coding.
TAKEN = b"hello"
BROKEN = object()  # the body is found to be none once it is on its way: what began breaks off


def raw():
    """Name, the attack, the bytes (with `{head}` for what makes a request that is allowed), and the body that may go on."""
    post = b"POST /tickets/42/comments HTTP/1.1\r\n{head}"
    get = b"GET /tickets/42 HTTP/1.1\r\n{head}"
    chunked = b"5\r\nhello\r\n0\r\n\r\n"
    length = b"Content-Length: 5\r\n"
    coding = b"Transfer-Encoding: chunked\r\n"

    def framed(fields, body=chunked):
        return post + fields + b"\r\n" + body + SECOND
    yield "Content-Length, then Transfer-Encoding", "GWY-026", framed(b"Content-Length: 4\r\n" + coding), TAKEN
    yield "Transfer-Encoding, then Content-Length", "GWY-026", framed(coding + b"Content-Length: 4\r\n"), TAKEN
    yield "Content-Length 0 and Transfer-Encoding", "GWY-026", framed(b"Content-Length: 0\r\n" + coding), TAKEN
    for value in [b"chunked, chunked", b",chunked", b"x, chunked"]:
        yield f"Transfer-Encoding: {value!r}", "GWY-026", framed(b"Transfer-Encoding: " + value + b"\r\n"), REFUSED
        yield f"Transfer-Encoding: {value!r}, with a length", "GWY-026", framed(b"Content-Length: 5\r\nTransfer-Encoding: " + value + b"\r\n", b"hello"), REFUSED
    for value in [b"xchunked", b"chunked, identity", b"identity", b"chunked;q=1", b"gzip", b"\x0bchunked", b"chunked\x0b", b"\"chunked\"", b"chunked,", b"chunke", b"", b"chunked chunked"]:
        yield f"Transfer-Encoding: {value!r}", "GWY-026", framed(b"Transfer-Encoding: " + value + b"\r\n"), REFUSED
        yield f"Transfer-Encoding: {value!r}, with a length", "GWY-026", framed(b"Content-Length: 5\r\nTransfer-Encoding: " + value + b"\r\n", b"hello"), REFUSED
    yield "Transfer-Encoding twice, one unknown", "GWY-026", framed(coding + b"Transfer-Encoding: x\r\n"), REFUSED
    yield "Transfer-Encoding twice, chunked last", "GWY-026", framed(b"Transfer-Encoding: x\r\n" + coding), REFUSED
    yield "Transfer-Encoding twice, both chunked", "GWY-026", framed(coding + coding), REFUSED
    yield "Transfer-Encoding with a space before the colon", "GWY-026", framed(b"Transfer-Encoding : chunked\r\n"), REFUSED
    yield "Transfer-Encoding folded", "GWY-026", framed(b"Transfer-Encoding:\r\n chunked\r\n"), REFUSED
    yield "Transfer-Encoding as a fold of another", "GWY-026", framed(b"X-A: b\r\n Transfer-Encoding: chunked\r\n" + length, b"hello"), REFUSED
    yield "Transfer-Encoding with a line feed before it", "GWY-026", framed(b"X-A: b\nTransfer-Encoding: chunked\r\n"), TAKEN
    yield "Transfer_Encoding", "GWY-026", framed(b"Transfer_Encoding: chunked\r\n" + length, b"hello"), b"hello"
    yield "Content-Length 5, then 5", "GWY-026", framed(length + length, b"hello"), TAKEN
    for first, second in [(b"5", b"6"), (b"0", b"5"), (b"5", b"0")]:
        yield f"Content-Length {first.decode()}, then {second.decode()}", "GWY-026", framed(b"Content-Length: %s\r\nContent-Length: %s\r\n" % (first, second), b"hello"), \
            REFUSED
    for value in [b"+5", b"-5", b"0x5", b"5 5", b"5,5", b"5, 6", b"5.0", b"5e0", b"\"5\"", b"5\x0b", b"99999999999999999999", b"", b"five", b"5;", b"\xef\xbc\x95"]:
        yield f"Content-Length: {value!r}", "GWY-026", framed(b"Content-Length: " + value + b"\r\n", b"hello"), REFUSED
    yield "Content-Length with a space before the colon", "GWY-026", framed(b"Content-Length : 5\r\n", b"hello"), REFUSED
    yield "Content-Length folded", "GWY-026", framed(b"Content-Length:\r\n 5\r\n", b"hello"), REFUSED
    for name, body in [("a size with a sign", b"+5\r\nhello\r\n0\r\n\r\n"), ("a size in other digits", b"0x5\r\nhello\r\n0\r\n\r\n"),
                       ("a size past all numbers", b"fffffffffffffffff\r\nhello\r\n0\r\n\r\n"), ("a size that wraps to 5", b"10000000000000005\r\nhello\r\n0\r\n\r\n"),
                       ("no size", b"\r\nhello\r\n0\r\n\r\n"), ("a size that is no number", b"g\r\nhello\r\n0\r\n\r\n"), ("a size below nothing", b"-1\r\nhello\r\n0\r\n\r\n"),
                       ("a chunk longer than its size", b"3\r\nhello\r\n0\r\n\r\n"), ("no end of line behind a chunk", b"5\r\nhello0\r\n\r\n"),
                       ("a line feed behind a size", b"5\nhello\r\n0\r\n\r\n"), ("an extension with a line feed", b"5;a\nb\r\nhello\r\n0\r\n\r\n"),
                       ("a size with a blank inside", b"5 5\r\nhello\r\n0\r\n\r\n")]:
        yield f"chunks: {name}", "GWY-026", framed(coding, body), BROKEN
    for version in [b"HTTP/1.0"]:
        old = post.replace(b"HTTP/1.1", version)
        yield f"Transfer-Encoding in {version.decode()}", "GWY-028", old + coding + b"\r\n" + chunked + SECOND, REFUSED
        yield f"Transfer-Encoding in {version.decode()}, kept alive", "GWY-028", old + coding + b"Connection: keep-alive\r\n\r\n" + chunked + SECOND, REFUSED
    yield "HTTP/0.9", "GWY-028", b"GET /tickets/42\r\n\r\n" + SECOND, REFUSED
    for version in [b"HTTP/2.0", b"HTTP/1.2", b"HTTP/11", b"HTTP/1.1.1", b"http/1.1", b"HTTP/0.9", b"HTTP /1.1", b"HTTP/1.1 x", b"ICY/1.1", b"HTTP/\xef\xbc\x91.1"]:
        yield f"version {version!r}", "GWY-028", get.replace(b"HTTP/1.1", version) + b"\r\n" + SECOND, REFUSED
    for name, attack, fields in [
            ("a space before a colon", "GWY-026", b"X-A : b\r\n"), ("a folded line", "GWY-026", b"X-A: b\r\n c\r\n"),
            ("a line that begins with a blank", "GWY-026", b" X-A: b\r\n"), ("a line without a colon", "GWY-023", b"X-A\r\n"), ("a line without a name", "GWY-023", b": b\r\n"),
            ("NUL in a value", "GWY-023", b"X-A: b\x00c\r\n"), ("NUL in a name", "GWY-023", b"X\x00A: b\r\n"), ("CR in a value", "GWY-023", b"X-A: b\rc\r\n"),
            ("CR at the end of a value", "GWY-023", b"X-A: b\r\r\n"), ("DEL in a value", "GWY-023", b"X-A: b\x7fc\r\n"), ("a letter above ASCII in a name", "GWY-023", b"X-\xc3\xa9: b\r\n"),
            ("brackets in a name", "GWY-023", b"X(A): b\r\n"), ("a control character in a value", "GWY-023", b"X-A: b\x01c\r\n")]:
        yield name, attack, get + fields + b"\r\n", REFUSED
    yield "a line feed that ends the head early", "GWY-023", get + b"X-A: b\n\nGET /tickets/smuggled HTTP/1.1\r\n\r\n", b""
    yield "line feeds alone", "GWY-023", (get + b"\r\n").replace(b"\r\n", b"\n"), b""
    yield "a carriage return alone", "GWY-023", get + b"X-A: b\rTransfer-Encoding: chunked\r\n\r\n", REFUSED
    yield "a tab in the request line", "GWY-023", get.replace(b" ", b"\t", 2) + b"\r\n", REFUSED
    yield "two blanks in the request line", "GWY-023", get.replace(b" /", b"  /", 1) + b"\r\n", REFUSED
    yield "NUL in the path", "GWY-023", get.replace(b"42", b"4\x002") + b"\r\n", REFUSED
    yield "a byte above ASCII in the path", "GWY-023", get.replace(b"42", b"4\xff2") + b"\r\n", REFUSED
    # A body that is refused with its request stays a body.
    for name, target in [("no route", b"/nowhere"), ("a type that no scope has", b"/audit/1")]:
        begin = b"POST " + target + b" HTTP/1.1\r\n{head}"
        yield f"a request in the body of one with {name}", "GWY-029", begin + b"Content-Length: %d\r\n\r\n" % len(SECOND) + SECOND, REFUSED
        yield f"a request in the chunks of one with {name}", "GWY-029", begin + coding + b"\r\n%x\r\n" % len(SECOND) + SECOND + b"\r\n0\r\n\r\n", REFUSED
        yield f"a request in the body, by far too short, of one with {name}", "GWY-029", begin + b"Content-Length: 1000000\r\n\r\n" + SECOND, REFUSED
    yield "a request in a body that goes on", "GWY-029", post + b"Content-Length: %d\r\n\r\n" % len(SECOND) + SECOND, SECOND
    yield "a request in the body of a GET", "GWY-029", get + b"Content-Length: %d\r\n\r\n" % len(SECOND) + SECOND, SECOND
    yield "a body that is awaited", "GWY-029", post + b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(SECOND) + SECOND, SECOND
    upgrade = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n"
    yield "an upgrade to h2c", "GWY-031", get + upgrade + b"\r\n", b""
    yield "an upgrade to h2c with a preface behind it", "GWY-031", get + upgrade + b"\r\nPRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\x00\x00\x00\x04\x00\x00\x00\x00\x00", b""
    yield "an upgrade to h2c without Connection", "GWY-031", get + b"Upgrade: h2c\r\n\r\n", b""
    yield "an upgrade to something else", "GWY-031", get + b"Connection: Upgrade\r\nUpgrade: websocket, h2c\r\n\r\n", b""


def converse(port, request):
    """The reply. Its first bytes are awaited; behind them half a second of silence ends it, since a connection may stay open."""
    reply = b""
    with socket.create_connection(("127.0.0.1", port), 10) as connection:
        try:
            connection.sendall(request)
            while chunk := connection.recv(65536):
                reply += chunk
                connection.settimeout(0.5)
        except (TimeoutError, OSError):
            pass
    return reply


def play_raw(claim, backend, port, token):
    head = b"Host: tickets.internal\r\nAuthorization: Bearer " + token.encode() + b"\r\n"
    for name, attack, request, body in raw():
        reply = converse(port, request.replace(b"{head}", head))
        seen, sent_on, strange = backend.taken()
        if body is BROKEN:
            # What was no request at its end is what it has to be here.
            strange = []
        said = reply.split(b"\r\n", 1)[0]
        problem = None
        smuggled = [each for each in seen if each.target != "/tickets/42" and each.target != "/tickets/42/comments"]
        if strange or smuggled or len(seen) > 1:
            problem = f"the backend saw {[each.head[:80] for each in seen]} {strange[:1]}"
        elif token.rpartition(".")[2].encode() in sent_on:
            problem = "the caller's token reached the backend"
        elif body is BROKEN and (seen or reply != b"" and not said.startswith(b"HTTP/1.1 4")):
            problem = f"{len(seen)} requests went on, and the reply was {said!r}"
        elif body is REFUSED and (seen or not (reply == b"" or said.startswith((b"HTTP/1.1 4", b"HTTP/1.0 4", b"HTTP/1.1 505")))):
            problem = f"{len(seen)} requests went on, and the reply was {said!r}"
        elif body not in (REFUSED, BROKEN) and seen and seen[0].body != body:
            problem = f"the body {seen[0].body[:60]!r} went on"
        elif b"101 Switching" in reply:
            problem = f"the protocol was switched: {said!r}"
        verdict = "refused" if body is REFUSED else "breaks off" if body is BROKEN else "one request at most"
        claim(f"{attack} raw, {name}: {verdict}", not problem, problem)


def http2():
    """Name, header fields over those of a good request (a name without a value is left out), data, and whether it may go on."""
    yield "a good request", [], None, True
    yield "a value with a line break", [(b"x-a", b"b\r\nx-b: c")], None, False
    yield "a value with a line break that would end the head", [(b"x-a", b"b\r\n\r\nGET /tickets/smuggled HTTP/1.1")], None, False
    yield "a value with NUL", [(b"x-a", b"b\x00c")], None, False
    yield "a name with a colon", [(b"x-a: b\r\nx-b", b"c")], None, False
    yield "a name in upper case", [(b"X-A", b"b")], None, False
    yield "a name with a blank", [(b"x a", b"b")], None, False
    yield "a path with a blank", [(b":path", b"/tickets/42 HTTP/1.1\r\nx: y")], None, False
    yield "an empty path", [(b":path", b"")], None, False
    yield "a path without a slash", [(b":path", b"tickets/42")], None, False
    yield "two paths", [(b":path", b"/tickets/42"), (b":path", b"/audit/1")], None, False
    yield "two methods", [(b":method", b"GET"), (b":method", b"DELETE")], None, False
    yield "two authorities", [(b":authority", b"tickets.internal"), (b":authority", b"files.internal")], None, False
    yield "an authority and another host", [(b"host", b"files.internal")], None, False
    yield "an authority with a user", [(b":authority", b"user@tickets.internal")], None, False
    yield "a pseudo header that there is not", [(b":x", b"y")], None, False
    yield "a pseudo header behind the others", [(b"x-a", b"b"), (b":path", b"/audit/1")], None, False
    yield "a method with a blank", [(b":method", b"GET /audit/1 HTTP/1.1\r\n")], None, False
    yield "Connection", [(b"connection", b"keep-alive")], None, False
    yield "Transfer-Encoding", [(b"transfer-encoding", b"chunked")], b"0\r\n\r\nGET /tickets/smuggled HTTP/1.1\r\n\r\n", False
    yield "Upgrade", [(b"upgrade", b"h2c")], None, False
    yield "a length that is too long", [(b":method", b"POST"), (b":path", b"/tickets/42/comments"), (b"content-length", b"50")], b"hello", False
    yield "a length that is too short", [(b":method", b"POST"), (b":path", b"/tickets/42/comments"), (b"content-length", b"2")], b"hello", False
    yield "two lengths", [(b":method", b"POST"), (b":path", b"/tickets/42/comments"), (b"content-length", b"5"), (b"content-length", b"2")], b"hello", False
    yield "a length that is no number", [(b":method", b"POST"), (b":path", b"/tickets/42/comments"), (b"content-length", b"+5")], b"hello", False
    yield "a body", [(b":method", b"POST"), (b":path", b"/tickets/42/comments"), (b"content-length", b"5")], b"hello", True
    yield "two credentials", [(b"authorization", b"Bearer x")], None, False
    # The HTTP library cuts it before it is seen.
    yield "a fragment in the path", [(b":path", b"/tickets/42#x")], None, True
    yield "a dot segment in the path", [(b":path", b"/healthz/../tickets/42")], None, False


def fields(token, changed):
    usual = [(b":method", b"GET"), (b":scheme", b"http"), (b":authority", b"tickets.internal"), (b":path", b"/tickets/42"),
             (b"authorization", b"Bearer " + token.encode())]
    behind = changed[:1] == [(b"x-a", b"b")] and len(changed) > 1
    pseudo = {name for name, _ in changed if name.startswith(b":")} if not behind else set()
    first = [field for field in changed if field[0] in pseudo] + [field for field in usual[:4] if field[0] not in pseudo]
    return first + usual[4:] + [field for field in changed if field[0] not in pseudo]


def speak(port, headers, data, reset=False):
    """What became of one stream: a status, or how it ended."""
    settings = h2.config.H2Configuration(client_side=True, header_encoding="latin-1", validate_outbound_headers=False, normalize_outbound_headers=False)
    connection = h2.connection.H2Connection(settings)
    with socket.create_connection(("127.0.0.1", port), 10) as peer:
        peer.settimeout(10)
        connection.initiate_connection()
        connection.send_headers(1, headers, end_stream=data is None)
        if data is not None:
            try:
                connection.send_data(1, data, end_stream=True)
            except h2.exceptions.ProtocolError:
                # The library counts too; the frame is written by hand.
                peer.sendall(connection.data_to_send())
                peer.sendall(len(data).to_bytes(3, "big") + b"\x00\x01\x00\x00\x00\x01" + data)
        if reset:
            reset_frame = b"\x00\x00\x04\x03\x00\x00\x00\x00\x01\x00\x00\x00\x08"
            data_frame = b"\x00\x00\x05\x00\x01\x00\x00\x00\x01hello"
            peer.sendall(connection.data_to_send() + reset_frame + data_frame)
        else:
            peer.sendall(connection.data_to_send())
        try:
            while chunk := peer.recv(65536):
                for event in connection.receive_data(chunk):
                    if isinstance(event, h2.events.ResponseReceived):
                        return int(dict((str(name), value) for name, value in event.headers)[":status"])
                    if isinstance(event, h2.events.StreamReset):
                        return "reset"
                    if isinstance(event, h2.events.ConnectionTerminated):
                        return "closed"
                peer.sendall(connection.data_to_send())
        except (TimeoutError, OSError, h2.exceptions.ProtocolError):
            return "closed"
    return "closed"


def play_http2(claim, backend, port, token):
    for name, changed, data, goes in http2():
        said = speak(port, fields(token, changed), data)
        seen, sent_on, strange = backend.taken()
        leaked = token.rpartition(".")[2].encode() in sent_on
        whole = len(seen) == 1 and b"#" not in sent_on and seen[0].body == (data or b"") and said == 200
        holds = not leaked and not strange and (whole if goes else not seen and (said in ("reset", "closed") or 400 <= said < 500))
        claim(f"GWY-032 HTTP/2, {name}: {'goes on' if goes else 'refused'}", holds, f"{said}, {[each.head[:90] for each in seen]} {strange[:1]}")
    said = speak(port, fields(token, [(b":method", b"POST"), (b":path", b"/tickets/42/comments")]), None, reset=True)
    alive = speak(port, fields(token, []), None)
    seen, _, strange = backend.taken()
    claim("GWY-049 HTTP/2, a stream that is reset before its data: nothing breaks", alive == 200 and not strange, f"{said}, {alive} {strange[:1]}")
