"""Real, unmodified proxies before one backend: every door and the own proxy decide the same, and what the backend saw is what was decided on."""
import base64
import os
import pathlib
import re
import shutil
import signal
import socket
import sys
import tempfile

import certificates
import smuggling
from backend import Backend
from boundaries import Narrows
from installation import until
from proxies import Proxy
from table import MARK, Row, rows, ticket

BINARY = str(pathlib.Path(sys.argv[1]).resolve())
DOORS = {"own": ["proxy"], "nginx": ["forward_auth"], "traefik": ["forward_auth"], "caddy": ["forward_auth"],
         # The second tells the metadata.
         "envoy": ["ext_authz_grpc", "forward_auth"], "istio": ["ext_authz_grpc", "forward_auth"]}
# What a proxy may say about itself to the backend.
PROXYS_OWN = {"x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-forwarded-port", "x-forwarded-server", "x-envoy-external-address",
              "x-envoy-internal", "x-envoy-expected-rq-timeout-ms"}
passed = failed = 0


def claim(name, holds, seen=""):
    global passed, failed
    passed, failed = passed + bool(holds), failed + (not holds)
    print(f"{'ok    ' if holds else 'not ok'}  {name}{'' if holds else f': {seen}'}", flush=True)


def converse(port, request, seconds=20):
    """The reply to the bytes of a request: as long as it says that it is, or up to the end of the connection."""
    reply = b""
    with socket.create_connection(("127.0.0.1", port), seconds) as connection:
        try:
            connection.sendall(request)
        except OSError:
            pass  # refused before it was whole
        try:
            while chunk := connection.recv(65536):
                reply += chunk
                head, _, body = reply.partition(b"\r\n\r\n")
                length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
                if length and len(body) >= int(length[1]):
                    break
        except ConnectionResetError:
            pass
    return reply


def status(reply):
    parts = reply.split(b" ", 2)
    return int(parts[1]) if len(parts) == 3 and parts[1].isdigit() else 0


def tokens(narrows):
    good = narrows.token()
    head, body, signature = good.split(".")
    unsigned = base64.urlsafe_b64encode(b'{"alg":"none","typ":"at+jwt"}').rstrip(b"=").decode()
    flipped = signature[:10] + ("A" if signature[10] != "A" else "B") + signature[11:]
    found = {
        "good": good, "expired": narrows.token(exp=1_700_000_000), "foreign-audience": narrows.token(aud="api://bank"),
        "wrong-scope": narrows.token(scope="tickets.list"), "no-scope": narrows.token(scope="openid"), "disabled": narrows.token("mallory"),
        "revoked": narrows.token("carol"), "wrong-key": narrows.token(key=narrows.strange_key), "unsigned": f"{unsigned}.{body}.",
        "strange-issuer": narrows.token(iss="https://login.evil.example"), "no-exp": narrows.token(exp=None),
        "not-yet": narrows.token(nbf=4_000_000_000), "id-token": narrows.token(typ="JWT", nonce="x"), "no-typ": narrows.token(typ=""),
        "event": narrows.token(typ="secevent+jwt", events={}), "two-audiences-none-ours": narrows.token(aud=["api://a", "api://b"]),
        "no-sub": narrows.token(sub=None), "scope-array-of-numbers": narrows.token(scope=[1, 2]), "empty-signature": f"{head}.{body}.",
        "cut": good[:-10], "two-parts": f"{head}.{body}", "four-parts": f"{good}.{signature}", "flipped": f"{head}.{body}.{flipped}",
        "padded": f"{good}==",
    }
    # One that a door made is no evidence of a person at the edge.
    converse(narrows.origins["own"], Row("", target="/tickets").bytes(found))
    (seen, *_), _, _ = backend.taken()
    found["ours"] = seen.all("authorization")[0].removeprefix("Bearer ")
    return found


def wrong(row, door, narrows, shown):
    """What is not as it should be, of one request at one door; nothing, if all is."""
    since = narrows.last_record()
    reply = converse(narrows.origins[door], row.bytes(shown))
    seen, raw, strange = backend.taken()
    first = reply.split(b"\r\n", 1)[0][:80]
    told = f"{status(reply)} {first!r}"
    if strange:
        return f"the backend got what is no request: {strange[0][:120]}"
    if MARK.encode() in raw:
        return "what the client said in another's name reached the backend"
    token = shown.get(row.token) or ""
    for part in {token, token.rpartition(".")[2]} if token != shown["ours"] else {token}:
        if len(part) > 8 and part.encode() in raw:
            return "the caller's token reached the backend"
    if not row.allowed_at(door):
        if seen:
            return f"allowed ({told}), and to be refused: {seen[0].head[:200]!r}"
        if status(reply) in range(200, 400):
            return f"refused, and told {told}"
        return None
    if len(seen) != 1:
        return f"{len(seen)} requests reached the backend ({told}): {reply[-300:]!r}"
    request = seen[0]
    sent = row.target if isinstance(row.target, str) else row.target.decode("latin-1")
    target, detail, service = row.target_at.get(door, sent), row.detail_for(door), row.service_at.get(door, row.service)
    if (request.method, request.target, request.port) != (row.method, target, service):
        return f"{request.method} {request.target} at {request.port} went on"
    [host] = request.all("host")
    if not f".{host.lower().partition(':')[0].rstrip('.')}".endswith(f".{service}.internal"):
        return f"it went on for the host {host}"
    if request.body != (row.body or b"").replace(b"{token}", token.encode()):
        return f"a body of {len(request.body)} bytes went on: {request.body[:60]!r}"
    if status(reply) != 200 or not reply.endswith(b"done"):
        return f"the reply was {told}"
    ours = {name for name, _ in request.headers if name.startswith(("narrows", "x-forwarded", "x-original", "x-envoy", "txn", "forwarded"))} - PROXYS_OWN
    if ours or any("_" in name and name.replace("_", "-").startswith(("narrows", "x-")) for name, _ in request.headers):
        return f"these went on: {ours}"
    shown_on = request.all("authorization")
    if detail == "public":
        return None if not shown_on else f"Authorization on a public route: {shown_on}"
    if len(shown_on) != 1:
        return f"{len(shown_on)} headers Authorization went on"
    claims = narrows.claims(shown_on[0].removeprefix("Bearer "))
    audience = f"https://{service}.internal"
    if (claims["iss"], claims["aud"], claims["authorization_details"], claims["act"]["sub"]) != (narrows.issuer, audience, [detail], "edge"):
        return f"the token is for {claims['aud']} {claims['authorization_details']}"
    record = narrows.record_of(claims["jti"], since)
    line = record.get("request", {})
    if (record["boundary"], line.get("method"), line.get("path")) != (door, request.method, request.target.split("?")[0]):
        return f"decided on {line} at {record['boundary']}"
    return None


def play(narrows, shown):
    claim("the table has at least 300 requests", len(list(rows())) >= 300)
    for row in rows():
        found = {door: said for door in DOORS if (said := wrong(row, door, narrows, shown))}
        verdict = "refused" if row.detail is None else "allowed"
        others = f", refused at {', '.join(row.but)}" if row.but else ""
        claim(f"{row.attacks + ' ' if row.attacks else ''}{row.name}: {verdict}{others}", not found, found)


def told(narrows, shown):
    """What callers are told: the challenge and the metadata of their boundary, and nothing by another way."""
    for door in DOORS:
        origin = f"http://127.0.0.1:{narrows.origins[door]}"
        for row, expected, challenge in [(Row("no token", token=None), 401, "Bearer resource_metadata="), (Row("a bad token", token="expired"), 401, 'error="invalid_token"'),
                                         (Row("too little", token="wrong-scope"), 403, 'error="insufficient_scope"'), (Row("no route", target="/admin"), 403, None),
                                         (Row("a path of two meanings", target="/a//b"), 400, None)]:
            reply = converse(narrows.origins[door], row.bytes(shown))
            lines = [line for line in reply.split(b"\r\n\r\n")[0].decode("latin-1").split("\r\n") if line.lower().startswith("www-authenticate:")]
            where = f'resource_metadata="{origin}/.well-known/oauth-protected-resource"'
            holds = status(reply) == expected and (lines == [] if challenge is None else len(lines) == 1 and challenge in lines[0] and where in lines[0])
            claim(f"{door}: {row.name} is told {expected}{' with a challenge' if challenge else ''}", holds, f"{status(reply)} {lines}")
            if door == "nginx":
                claim(f"nginx: {row.name} is told the id of its record", b"\r\nNarrows-Decision: " in reply, reply[:300])
        for target in ("/.well-known/oauth-protected-resource", "/.well-known/oauth-protected-resource/tickets"):
            for named in ((), ("X-Original-Method: GET", "X-Original-URI: /tickets/42"),
                          ("X-Forwarded-Method: GET", "X-Forwarded-Uri: /tickets/42", "X-Forwarded-Host: tickets.internal")):
                reply = converse(narrows.origins[door], Row("", target=target, headers=named).bytes(shown))
                holds = status(reply) == 200 and f'"resource":"{origin}'.encode() in reply and b"eyJ" not in reply
                claim(f"{door}: {target}{' with headers that name a ticket' if named else ''} tells the metadata and no token", holds, reply[:300])
    backend.taken()


def sent_elsewhere(narrows, shown):
    """What a backend answers makes no other request of the one that was decided on."""
    for target in ("/tickets/43", "/admin", "/.narrows-asks", "@narrows_refused"):
        backend.says = f"X-Accel-Redirect: {target}\r\n".encode()
        for door in DOORS:
            reply = converse(narrows.origins[door], Row("").bytes(shown))
            seen, _, _ = backend.taken()
            holds = [each.target for each in seen] == ["/tickets/42"] and status(reply) == 200 and reply.endswith(b"done") and b"eyJ" not in reply
            claim(f"{door}: X-Accel-Redirect to {target} sends nobody anywhere", holds, f"{[each.target for each in seen]} {reply[:300]}")
    backend.says = b""


UPGRADE = ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==")
# A masked frame of text, "ping".
FRAME = b"\x81\x84\x00\x00\x00\x00ping"


class WebSocket:
    """What comes of asking for one."""

    def __init__(self, port, request):
        self.connection = socket.create_connection(("127.0.0.1", port), 20)
        self.connection.sendall(request)
        self.head = b""
        while b"\r\n\r\n" not in self.head and (chunk := self.connection.recv(65536)):
            self.head += chunk

    def opened(self):
        return status(self.head) == 101

    def comes_back(self):
        """Whether a frame goes there and back."""
        self.connection.sendall(FRAME)
        seen = b""
        while len(seen) < len(FRAME) and (chunk := self.connection.recv(65536)):
            seen += chunk
        return seen == FRAME

    def is_ended(self):
        """Whether the other side ends it within the patience of its connection."""
        try:
            return self.connection.recv(65536) == b""
        except ConnectionResetError:
            return True
        except TimeoutError:
            return False

    def close(self):
        self.connection.close()


def websockets(narrows, shown):
    """They open where a route says so, and as that very route; behind Envoy one lives on when its token is revoked."""
    shown = {**shown, "live": narrows.token("dave")}
    opened = {}
    for door in DOORS:
        def ask(target, token="live", door=door, headers=UPGRADE):
            return WebSocket(narrows.origins[door], Row("", target=target, token=token, headers=headers).bytes(shown))
        takes = door in ("own", "envoy", "istio")
        live = ask("/rooms/7")
        seen, raw, _ = backend.taken()
        if not takes:
            claim(f"{door}: no WebSocket opens, not even where a route says so", not live.opened(), live.head[:200])
            live.close()
        else:
            claim(f"{door}: a WebSocket opens where its route says so", live.opened() and live.comes_back(), live.head[:300])
            [bearer] = seen[0].all("authorization") if len(seen) == 1 else [""]
            claims = narrows.claims(bearer.removeprefix("Bearer ")) if bearer else {}
            claim(f"{door}: it opened with a token for that very room, and not with the caller's",
                  claims.get("authorization_details") == [ticket("read", "7")] and shown["live"].encode() not in raw, claims)
            opened[door] = live
        for what, target, token in [("where the route says nothing of it", "/tickets/42", "live"), ("on a public route", "/healthz", None),
                                    ("on a route that is more particular", "/rooms/lobby", "live"), ("without a token", "/rooms/7", None),
                                    ("with a token that has expired", "/rooms/7", "expired"), ("without a route", "/rooms/7/x", "live")]:
            refused = ask(target, token)
            # The own proxy takes what asks in vain for an ordinary request.
            holds = not refused.opened() and (door not in ("envoy", "istio") or status(refused.head) in (401, 403))
            claim(f"{door}: none opens {what}", holds, refused.head[:200])
            refused.close()
        plain = converse(narrows.origins[door], Row("", target="/rooms/lobby").bytes(shown))
        claim(f"{door}: the more particular route is served", status(plain) == 200, plain[:200])
        backend.taken()
    narrows.run("revoke", "--token-stdin", told=shown["live"])
    claim("own: it ends when its token is revoked", opened["own"].is_ended())
    for door in ("envoy", "istio"):
        again = WebSocket(narrows.origins[door], Row("", target="/rooms/7", token="live", headers=UPGRADE).bytes(shown))
        claim(f"{door}: none opens with a token that is revoked", status(again.head) == 401, again.head[:200])
        again.close()
        claim(f"{door}: the one that is open lives on, as its documentation says", opened[door].comes_back())
    for each in opened.values():
        each.close()
    backend.taken()


def away(narrows, shown):
    """Nobody answers: nothing goes on."""
    os.kill(narrows.processes[0].pid, signal.SIGSTOP)
    try:
        # A thread that runs on another processor goes on for a moment.
        threads = pathlib.Path(f"/proc/{narrows.processes[0].pid}/task").glob("*/stat")
        until("the broker stands still", lambda stats=list(threads): all(") T " in stat.read_text() for stat in stats))
        # Traefik waits for as long as it likes.
        for door in DOORS.keys() & {"nginx", "caddy", "envoy", "istio"}:
            for row in (Row("a ticket"), Row("a public route", target="/healthz")):
                reply = converse(narrows.origins[door], row.bytes(shown))
                claim(f"{door}: {row.name} is refused while the broker hangs", status(reply) >= 400 and not backend.taken()[0], reply[:200])
    finally:
        os.kill(narrows.processes[0].pid, signal.SIGCONT)
    narrows.stop()
    for door in DOORS.keys() - {"own"}:
        for row in (Row("a ticket"), Row("a public route", target="/healthz")):
            reply = converse(narrows.origins[door], row.bytes(shown))
            claim(f"{door}: {row.name} is refused without the broker", status(reply) >= 400 and not backend.taken()[0], reply[:200])


def main():
    global backend
    folder = pathlib.Path(tempfile.mkdtemp(prefix="narrows-doors-"))
    folder.chmod(0o755)
    backend, narrows, proxies = Backend(["tickets", "files"], {"vault": certificates.network(folder)}), None, []
    try:
        narrows = Narrows(BINARY, folder, backend.ports, DOORS)
        for name in DOORS:
            if name != "own":
                proxies.append(Proxy(name, narrows, folder))
        shown = tokens(narrows)
        narrows.run("subject", "disable", "corp|mallory")
        narrows.run("revoke", "--token-stdin", told=shown["revoked"])
        for name in ("disabled", "revoked"):
            request = Row("", token=name).bytes(shown)
            until(f"{name} is known", lambda request=request: status(converse(narrows.origins["own"], request)) == 401)
        for name in DOORS:
            # A proxy may listen before it has read its routes.
            ready = Row("", target="/healthz", token=None).bytes(shown)
            until(f"{name} serves", lambda name=name: status(converse(narrows.origins[name], ready)) == 200, 60)
        backend.taken()
        play(narrows, shown)
        told(narrows, shown)
        sent_elsewhere(narrows, shown)
        websockets(narrows, shown)
        smuggling.play_raw(claim, backend, narrows.origins["own"], shown["good"])
        smuggling.play_http2(claim, backend, narrows.origins["own"], shown["good"])
        away(narrows, shown)
    finally:
        for each in [*proxies, *([narrows] if narrows else []), backend]:
            each.stop()
        if failed:
            print(f"what was written is in {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)
    print(f"doors: {passed} passed, {failed} failed")
    sys.exit(1 if failed or not passed else 0)


if __name__ == "__main__":
    main()
