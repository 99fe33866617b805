"""The requests: good, bad and hostile, and what every door must make of them.

A row is one request to the byte. Where a door's protocol cannot say what the others say, `but` names the door, what it does, and why.
"""
import dataclasses
import urllib.parse

MARK = "eve-was-here"  # no header of a row that holds this may reach the backend
BODILESS = ("nginx", "caddy")
ASKED = ("nginx", "traefik", "caddy", "envoy")


@dataclasses.dataclass
class Row:
    name: str
    method: str = "GET"
    target: str | bytes = "/tickets/42"
    # Of what the request needs; "public" for a route without a token; None where it is refused.
    detail: object = None
    token: str | None = "good"
    headers: tuple = ()
    body: bytes | None = None
    host: str = "tickets.internal"
    service: str = "tickets"
    # Headers instead of `Authorization: Bearer TOKEN`; `{token}` stands for the token.
    authorization: tuple | None = None
    version: str = "1.1"
    # door: (allowed, why)
    but: dict = dataclasses.field(default_factory=dict)
    # door: the target, detail and service, where the proxy writes the request anew before it asks
    target_at: dict = dataclasses.field(default_factory=dict)
    detail_at: dict = dataclasses.field(default_factory=dict)
    service_at: dict = dataclasses.field(default_factory=dict)
    attacks: str = ""
    chunked: bool = False

    def __post_init__(self):
        # Istio's gateway is an Envoy.
        for given in ("but", "target_at", "detail_at", "service_at"):
            doors = getattr(self, given)
            if "envoy" in doors:
                setattr(self, given, {**doors, "istio": doors["envoy"]})

    def detail_for(self, door):
        return self.detail_at.get(door, self.detail)

    def allowed_at(self, door):
        return self.but[door][0] if door in self.but else self.detail is not None

    def bytes(self, tokens):
        shown = tokens.get(self.token, "")
        target = self.target if isinstance(self.target, bytes) else self.target.encode()
        lines = [self.method.encode() + b" " + target.replace(b"{token}", shown.encode()) + f" HTTP/{self.version}".encode()]
        if self.host is not None:
            lines.append(b"Host: " + self.host.encode())
        if self.authorization is not None:
            lines += [line.replace("{token}", shown).encode("latin-1") for line in self.authorization]
        elif self.token:
            lines.append(b"Authorization: Bearer " + shown.encode())
        named = [header.split(":")[0].lower() for header in self.headers]
        lines += [header.replace("{token}", shown).encode("latin-1") for header in self.headers]
        if "connection" not in named:
            lines.append(b"Connection: close")
        body = (self.body or b"").replace(b"{token}", shown.encode())
        if self.chunked:
            lines.append(b"Transfer-Encoding: chunked")
            body = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
        elif self.body is not None:
            lines.append(b"Content-Length: %d" % len(body))
        return b"\r\n".join(lines) + b"\r\n\r\n" + body


def ticket(action, identifier=None, **constraints):
    return {"type": "ticket", "actions": [action], **({} if identifier is None else {"identifier": identifier}), **constraints}


def file(action, identifier):
    return {"type": "file", "actions": [action], "identifier": identifier}


def read(identifier="42"):
    return ticket("read", identifier)


def routes():
    yield Row("a list", target="/tickets", detail=ticket("list"))
    yield Row("a public route with a token", target="/healthz", detail="public")
    yield Row("a public route without a token", target="/healthz", detail="public", token=None)
    yield Row("a public route with a token that is expired", target="/healthz", detail="public", token="expired")
    yield Row("a public route with a body", "POST", "/healthz", detail="public", token=None, body=b"are you there")
    yield Row("another service", target="/a", host="files.internal", service="files", detail=file("read", "a"))
    yield Row("the remainder of a path", target="/a/b/c.txt", host="files.internal", service="files", detail=file("read", "a/b/c.txt"))
    yield Row("a write", "PUT", "/a/b", host="files.internal", service="files", detail=file("write", "a/b"), body=b"\x00\xff words")
    yield Row("the remainder of nothing", target="/", host="files.internal", service="files")
    # By TLS, where a proxy may say its upstream's name for the host.
    tenant = {"host": "acme.vault.internal", "service": "vault"}
    yield Row("a service by https, and a tenant that its host names", target="/search", detail=ticket("search", tenant="acme"), **tenant)
    yield Row("a public route of a service by https", target="/healthz", token=None, detail="public", **tenant)
    yield Row("no tenant of a service by https", target="/search", host="vault.internal", service="vault")
    yield Row("another service's route", target="/tickets/42", host="files.internal", service="files", detail=file("read", "tickets/42"))
    for target in ("/", "/admin", "/tickets/42/", "/tickets/42/comments", "/tickets/", "/healthz/", "/healthz/x", "/Tickets/42", "/TICKETS",
                   "/ticket", "/ticketss", "/tickets.json", "/.env", "/healthzz", "/search/", "/tickets/42/x/y"):
        yield Row(f"no route: {target}", target=target, attacks="GWY-022" if target == "/TICKETS" else "")
    yield Row("what policy forbids", "DELETE")
    yield Row("a type that no scope maps to", target="/audit/1")


def identifiers():
    plain = ["42", "A-b_c~d", "0", "a.b", ".a", "a.", "...", "-", "_", "~", "!", "$", "&", "'", "(", ")", "*", "+", ",", "=", ":", "@",
             "a:b@c", "a=b&c=d", "x" * 200, "a+b", "null", "true", "-1", "1e3"]
    for text in plain:
        yield Row(f"identifier {text[:20]}", target=f"/tickets/{text}", detail=read(text))
    for text in ["a%20b", "%C3%A9", "%c3%a9", "%E2%9C%93", "%F0%9F%8E%AB", "%22", "%3C%3E", "%7B%7D", "%5B%5D", "%60", "%7C", "%5E",
                 "%26", "%3D", "%2B", "%40", "%3A", "%24", "%2C", "%21"]:
        yield Row(f"identifier {text}", target=f"/tickets/{text}", detail=read(urllib.parse.unquote(text)),
                  target_at={"traefik": f"/tickets/{text.upper()}"} if text == "%c3%a9" else {})
    for text in ["%34%32", "%7E", "%41", "%2D", "%5F", "%61%62"]:
        decoded = urllib.parse.unquote(text)
        yield Row(f"identifier {text}", target=f"/tickets/{text}", detail=read(decoded), target_at={"traefik": f"/tickets/{decoded}"})
    yield Row("identifier 100%25", target="/tickets/100%25", detail=read("100%"))
    for text in ["a%2Fb", "%2F", "a%2fb", "%5C", "a%5cb", "%00", "a%00", "%2e", "%2E%2E", "%2e%2e", ".%2e", "%2e.", "%252e", "%252e%252e",
                 "%252F", "%2525", "%2541", "%25%32%65", "%c0%af", "%c0%ae", "..%c0%af", "%ff", "%C3", "%ED%A0%80", "%", "%4", "%zz", "a%", "%u002e",
                 ";", "a;b", ";a=b", "42;x=1", "..;", "%3B", "42%3Bx", "\\", "a\\b", "..\\", "%3F", "42%3Fx=1", "%23", "42%23x", "%0d%0a", "%0a",
                 "%09", "%1f", "%7f", "%C2%80", "%C2%85", "%2042", "42%20", "%C2%A042", "%20"]:
        attacks = "GWY-017" if "2e" in text.lower() or "%c0" in text else "GWY-020" if ";" in text else "GWY-023" if text == "%00" else ""
        yield Row(f"no identifier: {text}", target=f"/tickets/{text}", attacks=attacks)
    for text in [b"\xff", b"\x80"]:
        yield Row(f"no identifier: {text!r}", target=b"/tickets/" + text, attacks="GWY-023")
    encodes = (True, "percent-encodes it before it asks")
    yield Row("no identifier: a letter above ASCII", target=b"/tickets/caf\xc3\xa9", but={"traefik": encodes, "caddy": encodes},
              detail_at={door: read("caf\xe9") for door in ("traefik", "caddy")}, attacks="GWY-023",
              target_at={door: "/tickets/caf%C3%A9" for door in ("traefik", "caddy")})
    yield Row("no identifier: a dot encoded", target="/tickets/a%2eb", but={"traefik": (True, "decodes what needs no encoding before it asks")},
              detail_at={"traefik": read("a.b")}, target_at={"traefik": "/tickets/a.b"}, attacks="GWY-017")


def paths():
    for target in ["//tickets/42", "//tickets.internal/tickets/42", "///", "//", "/tickets//42", "/tickets/42//", "/tickets///42", "/./tickets/42",
                   "/tickets/./42", "/tickets/.", "/tickets/..", "/tickets/../tickets/42", "/../tickets/42", "/a/../tickets/42", "/healthz/../tickets/42",
                   "/healthz/..%2ftickets/42", "/healthz%2f..%2ftickets/42", "/healthz/..;/tickets/42", "/healthz;/../tickets/42",
                   "/healthz/%2e%2e/tickets/42", "/tickets/42/..", "/tickets/42/.", "/tickets/42/../43", "/tickets/42/../../audit/1",
                   "/tickets%2F42", "/%74ickets/..", "/tickets/42;/", "/healthz;x=1", "/tickets/42%23", "tickets/42", "?", "*", ".", "..", "/\\tickets/42", "\\tickets\\42",
                   "/tickets\t/42", "/tickets/%2f%2fevil", "/;/tickets/42", "/%2e/tickets/42"]:
        attacks = "GWY-019" if target.startswith("//") else "GWY-016" if "/../" in target else ""
        yield Row(f"no path: {target}", target=target, attacks=attacks)
    yield Row("a path with a letter encoded", target="/%74ickets/42", detail=read(), target_at={"traefik": "/tickets/42"})
    yield Row("an absolute target", target="http://tickets.internal/tickets/42", detail=read(),
              target_at={door: "/tickets/42" for door in ("own", *ASKED)})
    # Its HTTP library gives the own proxy no fragment to refuse; what went on is what was decided on all the same.
    cuts = {"own": (True, "its library cuts a fragment before it is seen")}
    yield Row("a fragment in the path", target="/tickets/42#x", but=cuts, detail_at={"own": read()}, target_at={"own": "/tickets/42"}, attacks="GWY-008")
    yield Row("a fragment that hides a path", target="/healthz#/../tickets/42", but=cuts, detail_at={"own": "public"}, target_at={"own": "/healthz"},
              attacks="GWY-008")
    yield Row("a fragment behind a query that hides a path", target="/healthz?/../tickets/42#", but=cuts, detail_at={"own": "public"},
              target_at={"own": "/healthz?/../tickets/42"}, attacks="GWY-008")
    yield Row("a fragment behind the query", target="/tickets/42?a#b", but=cuts, detail_at={"own": read()}, target_at={"own": "/tickets/42?a"},
              attacks="GWY-008")
    yield Row("a blank behind the target", target="/tickets/42 ", but={door: (True, "takes two blanks for one") for door in ("nginx", "envoy")},
              detail_at={door: read() for door in ("nginx", "envoy")}, target_at={door: "/tickets/42" for door in ("nginx", "envoy")})
    # RFC 9112, section 3.2.2: the target's host is the one that counts, and they all agree with themselves.
    by_target = (True, "goes by the host of the target alone, as RFC 9112 has it")
    yield Row("an absolute target of another host", target="http://files.internal/tickets/42", but={door: by_target for door in ASKED},
              detail_at={door: file("read", "tickets/42") for door in ASKED}, service_at={door: "files" for door in ASKED},
              target_at={door: "/tickets/42" for door in ASKED})
    yield Row("an absolute target without a host of ours", target="http://evil.example/tickets/42")
    yield Row("an authority as target", target="tickets.internal:80")


def queries():
    for query in ["a=b", "", "a", "a=", "=", "a=b&a=c", "a=%2F..%2F", "a=/../..", "a=//", "a=b;c=d", "a=%00", "a=%zz", "a=%", "q=%C3%A9", "a=1&&b=2", "&",
                  "x=/healthz", "token=x", "access=token", "my_access_token=x", "access_tokens=1", "a=access_token", "a=access_token%3Dx", "a[]=1",
                  "a='", "a={b}", "a|b^c`d", "a\\b", "??", "a?b=c", "a:b@c/d", "%41=%42", "a+b=c+d"]:
        # Go reads `;` as `&`, and says so to whom it asks.
        at = {"traefik": f"/tickets/42?{query.replace(';', '&')}"} if ";" in query else {}
        yield Row(f"query ?{query}", target=f"/tickets/42?{query}", detail=read(), target_at=at, attacks="GWY-007" if "/healthz" in query else "")
    strict = {"own": (False, "its HTTP library takes no more than a URI may hold")}
    for query in ['a="', "a=<b>"]:
        yield Row(f"query ?{query}", target=f"/tickets/42?{query}", detail=read(), but=strict)
    for query in ["access_token=x", "access_token={token}", "a=b&access_token=x", "access_token", "access_token=", "ACCESS_TOKEN=x", "Access_Token=x",
                  "access%5Ftoken=x", "%61ccess_token=x", "access%5ftoken={token}", "a=b;access_token=x", "access.token=x", "access+token=x",
                  "access%20token=x", "+access_token=x", "access_token%20=x", "a&access_token=x&b"]:
        yield Row(f"a token in the query: ?{query}", target=f"/tickets/42?{query}", attacks="GWY-014")
    yield Row("a token in the query of a public route", target="/healthz?access_token={token}", attacks="GWY-014")
    yield Row("a token in the query alone", target="/tickets/42?access_token={token}", authorization=(), attacks="GWY-013")
    yield Row("a byte above ASCII in the query", target=b"/tickets/42?a=\xc3\xa9")
    yield Row("a query that is read", target="/search?tenant=acme", detail=ticket("search", tenant="acme"))
    yield Row("a query that is read, encoded", target="/search?tenant=a%20b", detail=ticket("search", tenant="a b"))
    for query in ["", "tenant", "tenant=acme&tenant=acme", "tenant=acme&tenant=other", "tenant=acme&x=1", "tenant=acme&Tenant=x", "x=1", "tenant=%zz",
                  "%74enant=acme&tenant=other", "tenant=acme;tenant=other", "tenant[]=acme", "tenant=acme&%74enant=other"]:
        yield Row(f"a query that is not read whole: ?{query}", target=f"/search?{query}")


def credentials():
    # A public route is not asked here: these are at the route of one ticket.
    for name in ["expired", "foreign-audience", "wrong-scope", "no-scope", "disabled", "revoked", "wrong-key", "unsigned", "strange-issuer", "no-exp",
                 "not-yet", "id-token", "no-typ", "event", "two-audiences-none-ours", "no-sub", "scope-array-of-numbers", "empty-signature",
                 "cut", "two-parts", "four-parts", "flipped", "padded", "ours"]:
        yield Row(f"token: {name}", token=name)
    yield Row("token: another's, and its own ticket list", target="/tickets", token="wrong-scope", detail=ticket("list"))
    good = [("Bearer in lower case", "Authorization: bearer {token}"), ("Bearer in upper case", "Authorization: BEARER {token}"),
            ("the header in lower case", "authorization: Bearer {token}"), ("the header in upper case", "AUTHORIZATION: Bearer {token}"),
            ("blanks around the value", "Authorization:   Bearer {token}  ")]
    for name, line in good:
        yield Row(name, authorization=(line,), detail=read())
    wrong = ["", "Bearer", "Bearer ", "Bearer  {token}", "Bearer\t{token}", "Bearer {token},", "Bearer {token} x", "Bearer {token};", "{token}", "Basic YTpi",
             "DPoP {token}", "Negotiate x", "Digest x", "Bearer={token}", "Bearer: {token}", "Bearer \"{token}\"", "Bearer {token},Bearer {token}",
             "Bearer {token}, Basic YTpi", "Token {token}", "Bearer x", "Bearer null", "Bearer undefined", "Bearer ..", "Bearer a.b.c", "Bearer \xa0{token}",
             "Bearer {token}%20", "BearerX {token}", "Bearer {token}\x0b", "Bearer " + "a" * 17000]
    for value in wrong:
        yield Row(f"Authorization: {value[:40]!r}", authorization=(f"Authorization: {value}",), attacks="GWY-011")
    yield Row("no Authorization", authorization=())
    bearer = "Authorization: Bearer {token}"
    yield Row("two that are the same", authorization=(bearer, bearer), attacks="GWY-011")
    yield Row("two, the second bad", authorization=(bearer, "Authorization: Bearer x"))
    yield Row("two, the first bad", authorization=("Authorization: Bearer x", bearer))
    yield Row("two, one Basic", authorization=("Authorization: Basic YTpi", bearer))
    yield Row("two, one empty", authorization=("Authorization:", bearer), but={"envoy": (True, "takes an empty line for none")}, detail_at={"envoy": read()})
    yield Row("two of other case", authorization=(bearer, "AUTHORIZATION: Bearer {token}"))
    yield Row("in Proxy-Authorization alone", authorization=("Proxy-Authorization: Bearer {token}",))
    yield Row("in a cookie alone", authorization=("Cookie: access_token=x; session=y",), attacks="GWY-010")


def hosts():
    for host in ["TICKETS.INTERNAL", "Tickets.Internal", "tickets.internal:80", "tickets.internal:8430", "eu.tickets.internal", "a-b.tickets.internal"]:
        yield Row(f"host {host}", host=host, detail=read(), attacks="GWY-022" if host.isupper() else "")
    normal = {"nginx": (True, "cuts a dot at its end, and a port of any shape, before it asks")}
    for host in ["tickets.internal.", "tickets.internal:x", "tickets.internal:", "tickets.internal:99999"]:
        yield Row(f"no host of ours: {host!r}", host=host, but=normal, detail_at={"nginx": read()})
    for host in ["evil.example", "internal", "xtickets.internal", "a.b.tickets.internal", ".tickets.internal",
                 "tickets..internal", "tickets.internal.evil.example", "tickets.internal@evil.example", "user@tickets.internal", "tickets.internal, files.internal",
                 "tickets.internal,files.internal", "127.0.0.1", "localhost", "[::1]", "", "tickets.internal/x",
                 "tickets.internal files.internal", "tickets\x00.internal", "*.tickets.internal"]:
        yield Row(f"no host of ours: {host!r}", host=host)
    yield Row("two hosts", headers=("Host: files.internal",))
    yield Row("one host twice", headers=("Host: tickets.internal",))
    yield Row("no host at all", host=None)
    yield Row("no host at all, HTTP/1.0", host=None, version="1.0")


def spoofed():
    taken_off = ["Narrows-Subject", "Narrows-Issuer", "Narrows-Actor", "Narrows-Task", "narrows-subject", "NARROWS-SUBJECT", "Txn-Token", "Forwarded",
                 "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Port", "X-Forwarded-Server", "X-Forwarded-Prefix", "X-Forwarded-Method",
                 "X-Forwarded-Uri", "X-Forwarded-User", "X-Forwarded-Client-Cert", "X-Original-URL", "X-Original-URI", "X-Original-Method",
                 "X-Original-Host", "X-Rewrite-URL", "X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override", "X-Envoy-Original-Path",
                 "X-Envoy-External-Address", "Proxy-Authorization", "DPoP",
                 # Another path or host, another file in the answer, and where a program is to ask.
                 "Script-Name", "X-Script-Name", "Path-Info", "Path-Translated", "X-ProxyContextPath", "X-Host", "X-HTTP-Host-Override",
                 "X-Accel-Mapping", "X-Accel-Redirect", "X-Sendfile-Type", "Proxy",
                 # Who asks, as a proxy might tell it.
                 "Remote-User", "Remote-Groups", "X-Remote-User", "X-Forwarded-Email", "X-Forwarded-Groups", "X-Forwarded-Preferred-Username",
                 "X-WEBAUTH-USER", "X-Auth-Request-User", "X-Auth-Request-Email", "Client-Cert", "Client-Cert-Chain", "X-Client-Cert",
                 "X-SSL-Client-Cert", "X-SSL-Client-Verify", "SSL-Client-Cert"]
    for name in taken_off:
        yield Row(f"spoofed {name}", headers=(f"{name}: {MARK} {MARK}, x",), detail=read(), attacks="GWY-004" if name.startswith("X-") else "GWY-001")
        yield Row(f"spoofed {name} on a public route", target="/healthz", headers=(f"{name}: {MARK}",), token=None, detail="public")
    yield Row("spoofed Narrows-Subject without a token", headers=(f"Narrows-Subject: {MARK}",), authorization=())
    yield Row("spoofed Narrows-Subject on a public route", target="/healthz", headers=(f"Narrows-Subject: {MARK}",), token=None, detail="public",
              attacks="GWY-001")
    unknown = ["Narrows-Anything", "X-Forwarded-Anything", "X-Original-Anything", "X-Envoy-Anything", "X-Accel-Anything", "X-SSL-Client-Anything"]
    for name in unknown:
        # A proxy that takes headers off by name alone leaves these to the door, which refuses.
        named = (False, "takes headers off by their whole name; the door refuses the rest")
        yield Row(f"spoofed {name}", headers=(f"{name}: {MARK}",), detail=read(), but={"nginx": named, "traefik": named})
    for name in ["Narrows_Subject", "narrows_subject", "Narrows.Subject", "X_Forwarded_For", "X-Forwarded_For", "X.Forwarded.For", "Txn_Token", "X_Original_URI",
                 "X_Original_Method", "X_HTTP_Method_Override", "Authorization_", "Narrows-Subject_", "X_Forwarded_Uri", "Proxy_Authorization", "D_PoP",
                 "SCRIPT_NAME", "PATH_INFO", "X_Script_Name", "REMOTE_USER", "X_SSL_Client_Cert", "Client_Cert"]:
        refuses = {} if name in ("D_PoP", "X_Forwarded_For", "X-Forwarded_For", "X_Forwarded_Uri") else {"traefik": (False, "has no word for names with `_` or `.`; the door refuses them")}
        shown = f"{name}: {MARK}"
        harmless = name == "D_PoP"  # the twin of no header of ours
        yield Row(f"twin {name}", headers=(shown if not harmless else f"{name}: x",), detail=read(), but=refuses, attacks="GWY-002")
    yield Row("twin of Authorization", headers=("Authorizatio_n: x",), detail=read())
    yield Row("another address by X-Forwarded-Uri", target="/audit/1", headers=("X-Forwarded-Uri: /healthz",), attacks="GWY-005")
    yield Row("another address by X-Original-URI", target="/audit/1", headers=("X-Original-URI: /healthz", "X-Original-Method: GET"), attacks="GWY-005")
    yield Row("another method by X-Original-Method", "DELETE", headers=("X-Original-Method: GET",))
    yield Row("another method by X-HTTP-Method-Override", "DELETE", headers=("X-HTTP-Method-Override: GET",))
    yield Row("another host by X-Forwarded-Host", host="evil.example", headers=("X-Forwarded-Host: tickets.internal",))
    yield Row("all that a proxy would say", headers=("X-Forwarded-Method: GET", "X-Forwarded-Uri: /healthz", "X-Forwarded-Host: tickets.internal"),
              target="/audit/1")
    yield Row("without a token, all that a proxy would say", headers=("X-Original-Method: GET", "X-Original-URI: /healthz"), authorization=())
    for named in ["Authorization", "authorization, x-forwarded-for", "Host", "Content-Length", "Narrows-Subject", "close, keep-alive, Authorization, DPoP"]:
        takes_off = (False, "takes off what Connection names before it asks")
        before = {door: takes_off for door in ("traefik", "envoy")} if "authorization" in named.lower() else {}
        if named == "Host":
            before = {"envoy": (False, "takes no request that would lose its host")}
        # The others take `Connection` off before they ask.
        before["own"] = (False, "lets nobody take off what was decided on")
        yield Row(f"Connection: {named}", headers=(f"Connection: close, {named}",), detail=read(), but=before)
    yield Row("harmless headers", headers=("Accept: */*", "X-Request-Id: 7", "Cookie: a=b", "If-None-Match: \"x\"", "Range: bytes=0-1"), detail=read())
    yield Row("an upgrade that no route has", headers=("Connection: close, Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13",
                                                       "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="), detail=read(),
              but={"envoy": (False, "takes no upgrade that it was not told of")})
    yield Row("an upgrade to h2c", headers=("Connection: close, Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA"),
              detail=read(), attacks="GWY-031")


def methods():
    for method in ["HEAD", "POST", "PUT", "OPTIONS", "PROPFIND", "LOCK", "MKCOL", "PURGE", "get", "Get", "GETT", "G", "X-CUSTOM", "TRACE", "TRACK", "CONNECT", "DEBUG", "PRI",
                   "QUERY", "G%45T", "GET,POST", "G\x00T", "Ġ"]:
        yield Row(f"method {method}", method)
    yield Row("method OPTIONS without a token", "OPTIONS", authorization=(), headers=("Origin: https://a.example", "Access-Control-Request-Method: GET"))
    yield Row("method HEAD of a public route", "HEAD", "/healthz")


def bodies():
    blind = {door: (False, "shows no body to whom it asks") for door in BODILESS}
    text = "Content-Type: application/json"

    def patch(name, body, fields=None, headers=(text,), **more):
        detail = None if fields is None else ticket("update", "42", fields=fields)
        return Row(f"PATCH {name}", "PATCH", body=body, headers=headers, detail=detail, but=blind if detail else {}, **more)
    yield patch("of one field", b'{"state":"open"}', ["state"])
    yield patch("of two fields", b'{"state":"open", "title": "x"}', ["state", "title"])
    yield patch("in chunks", b'{"state":"open"}', ["state"], chunked=True)
    yield patch("in UTF-8, which it says", b'{"state":"\xc3\xa9"}', ["state"], headers=("Content-Type: application/json; charset=utf-8",))
    yield patch("of 60 KiB", b'{"state":"' + b"a" * 60_000 + b'"}', ["state"])
    for name, body in [("without a body", None), ("with an empty body", b""), ("with a list", b'[{"state":1}]'), ("with a text", b'"state"'), ("with no JSON", b"state=open"),
                       ("with a member twice", b'{"state":1,"state":2}'), ("with a member twice, escaped", b'{"state":1,"st\\u0061te":2}'),
                       ("with more behind it", b'{"state":1} {"owner":2}'), ("with a byte order mark", b'\xef\xbb\xbf{"state":1}'),
                       ("in Latin-1", b'{"state":"\xe9"}'), ("that ends early", b'{"state":1'), ("with a comma at its end", b'{"state":1,}'),
                       ("nested deep", b'{"state":' + b"[" * 50 + b"]" * 50 + b"}"), ("of null", b"null"), ("of NaN", b'{"state":NaN}')]:
        yield patch(name, body)
    yield patch("past what the route takes", b'{"state":"' + b"a" * 70_000 + b'"}')
    yield patch("past what any door takes", b'{"state":"' + b"a" * 1_200_000 + b'"}')
    for headers in [("Content-Type: text/plain",), ("Content-Type: application/json; charset=utf-16",), ("Content-Type: application/json", "Content-Type: text/plain"),
                    (), ("Content-Type: application/json", "Content-Encoding: gzip"), ("Content-Type: application/json", "Content-Encoding: identity"),
                    ("Content-Type: multipart/form-data; boundary=x",), ("Content-Type: application/x-www-form-urlencoded",)]:
        yield patch(f"as {list(headers)}", b'{"state":1}', headers=headers, attacks="GWY-046" if "gzip" in str(headers) else "")
    yield patch("without a token", b'{"state":1}', authorization=())
    yield patch("with an expired token", b'{"state":1}', token="expired")
    yield patch("of another ticket in the query", b'{"state":1}', ["state"], target="/tickets/42?id=7")

    def comment(name, body, allowed=True, headers=(), **more):
        detail = ticket("comment", "42") if allowed else None
        return Row(f"a comment {name}", "POST", "/tickets/42/comments", body=body, headers=headers, detail=detail, **more)
    yield comment("in JSON", b'{"text":"hello"}', headers=(text,))
    yield comment("of any bytes", bytes(range(256)))
    yield comment("that is empty", b"")
    yield comment("without a body", None)
    yield comment("in chunks", b"hello", chunked=True)
    yield comment("that is large", b"a" * 300_000)
    yield comment("that looks like a request", b"GET /audit/1 HTTP/1.1\r\nHost: tickets.internal\r\n\r\n")
    yield comment("in several parts", b"--x\r\n\r\nhello\r\n--x--\r\n", headers=("Content-Type: multipart/form-data; boundary=x",))
    form = "Content-Type: application/x-www-form-urlencoded"
    formless = {door: (False, "shows no body to whom it asks, and a token may hide in a form") for door in BODILESS}
    yield comment("as a form", b"text=hello", headers=(form,), but=formless)
    yield comment("as a form in chunks", b"text=hello", headers=(form,), but=formless, chunked=True)
    for body in [b"access_token={token}", b"text=a&access_token=x", b"access%5Ftoken=x", b"ACCESS_TOKEN=x", b"a=b;access_token={token}", b"access.token=x"]:
        yield comment(f"as a form with a token: {body.decode()}", body, allowed=False, headers=(form,), attacks="GWY-013")
    yield comment("as a form that is coded", b"\x1f\x8b", allowed=False, headers=(form, "Content-Encoding: gzip"))
    yield comment("as a form by another name", b"access_token=x", allowed=False, headers=("Content-Type: Application/X-WWW-Form-URLencoded; charset=utf-8",))
    yield Row("a form with a token on a public route", "POST", "/healthz", body=b"access_token={token}", headers=(form,), attacks="GWY-013")
    yield Row("a form without a body", headers=(form,), detail=read(),
              but={**formless, **{door: (False, "shows an empty body and none alike") for door in ("traefik", "envoy")}})
    unseen = {door: (False, "shows no such form, which may name another method") for door in (*BODILESS, "traefik", "envoy")}
    yield Row("a form in parts where another method enforces", body=b"--x\r\n\r\nhello\r\n--x--\r\n",
              headers=("Content-Type: multipart/form-data; boundary=x",), detail=read(), but=unseen, attacks="GWY-016")
    yield Row("a list with a body", target="/tickets", body=b"hello", detail=ticket("list"))


def large():
    yield Row("a header of 8 KiB", headers=("X-Long: " + "a" * 8000,), detail=read())
    yield Row("fifty headers", headers=tuple(f"X-Many-{at}: {at}" for at in range(50)), detail=read())
    yield Row("a header of 2 MiB", headers=("X-Long: " + "a" * 2_000_000,), attacks="GWY-040")
    yield Row("a token of 64 KiB", authorization=("Authorization: Bearer " + "a" * 65536,), attacks="GWY-040")
    yield Row("ten thousand headers", headers=tuple(f"X-Many-{at}: {'a' * 200}" for at in range(10_000)), attacks="GWY-040")
    yield Row("a target of 20 KiB", target="/tickets/" + "a" * 20_000)
    yield Row("a query of 20 KiB", target="/tickets/42?a=" + "a" * 20_000)


def rows():
    for part in (routes, identifiers, paths, queries, credentials, hosts, spoofed, methods, bodies, large):
        yield from part()
