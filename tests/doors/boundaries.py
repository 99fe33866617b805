"""A broker with one boundary for each door, and the identity provider whose tokens callers show."""
import json
import sqlite3
import time
import uuid

import requests
from installation import Installation, free_port, until
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet

CORP = "https://login.corp.example"
EDGE = "api://shop"
SCOPES = "tickets.full files.full"

SERVICES = """
[[services]]
name     = "tickets"
hosts    = ["tickets.internal", "*.tickets.internal"]
upstream = "http://127.0.0.1:{tickets}"
audience = "https://tickets.internal"
[services.routes]
"GET /healthz"                = "public"
"POST /healthz"               = "public"
"GET /tickets"                = "ticket:list"
"GET /tickets/{{id}}"           = "ticket:read/{{id}}"
"PATCH /tickets/{{id}}"         = {{ detail = "ticket:update/{{id}}?fields={{body:keys}}", body_max = "64KiB" }}
"DELETE /tickets/{{id}}"        = "ticket:delete/{{id}}"
"POST /tickets/{{id}}/comments" = "ticket:comment/{{id}}"
"GET /search"                 = "ticket:search?tenant={{query.tenant}}"
"GET /audit/{{id}}"             = "audit:read/{{id}}"
"GET /rooms/{{id}}"             = {{ detail = "ticket:read/{{id}}", upgrade = "websocket", name = "a room, \\"live\\"" }}
"GET /rooms/lobby"            = "ticket:list"

[[services]]
name     = "files"
hosts    = ["files.internal"]
upstream = "http://127.0.0.1:{files}"
audience = "https://files.internal"
[services.routes]
"GET /{{path:rest}}" = "file:read/{{path}}"
"PUT /{{path:rest}}" = "file:write/{{path}}"
"""

# What only speaks TLS, and only to us.
VAULT = """
[[services]]
name         = "vault"
hosts        = ["*.vault.internal"]
upstream     = "https://127.0.0.1:{vault}"
upstream_tls = {{ ca_file = "ca.pem", cert_file = "own.crt", key_file = "own.key" }}
audience     = "https://vault.internal"
[services.routes]
"GET /healthz" = "public"
"GET /search"  = "ticket:search?tenant={{host.1}}"

[[audiences]]
id      = "https://vault.internal"
details = ["ticket"]
"""

TABLES = """
[limits]
requests_per_second = {{ per_client = 100000, per_address = 100000 }}

[[trusted_issuers]]
name       = "corp"
issuer     = "https://login.corp.example"
jwks_file  = "corp.jwks.json"
audiences  = ["api://shop"]
exchangers = ["edge"]

[[clients]]
id   = "edge"
auth = {{ method = "private_key_jwt", jwks_file = "corp.jwks.json" }}

[[audiences]]
id      = "https://tickets.internal"
details = ["ticket", "audit"]

[[audiences]]
id      = "https://files.internal"
details = ["file"]

[[detail_types]]
type            = "ticket"
actions.list    = {{ identifier = "none" }}
actions.read    = {{ identifier = "required" }}
actions.comment = {{ identifier = "required" }}
actions.delete  = {{ identifier = "required" }}
actions.update  = {{ identifier = "required", constraints = ["fields"] }}
actions.search  = {{ identifier = "none", constraints = ["tenant"] }}
constraints     = {{ fields = "subset", tenant = "equal" }}

[[detail_types]]
type    = "audit"
actions = ["read"]

[[detail_types]]
type    = "file"
actions = ["read", "write"]

[[scopes]]
name    = "tickets.full"
details = ["ticket:list", "ticket:search", "ticket:read,update,comment,delete"]

[[scopes]]
name    = "tickets.list"
details = ["ticket:list"]

[[scopes]]
name    = "files.full"
details = ["file:read,write"]
{services}
"""

BOUNDARY = """
[[boundaries]]
name         = "{name}"
client       = "edge"
services     = "*"
origin       = "http://127.0.0.1:{origin}"
{doors}
login        = ["corp"]
"""

RULES = """
@id("edge") permit (principal == Workload::"edge", action, resource);
@id("nobody-deletes") forbid (principal, action == Action::"ticket:delete", resource);
"""


class Narrows(Installation):
    """`doors` says for each name which doors its boundary has; `origins` then is where its clients go."""

    def __init__(self, binary, folder, upstreams, doors):
        super().__init__(binary, folder)
        self.key = ECKey.generate_key("P-256", {"kid": "corp-1", "alg": "ES256", "use": "sig"})
        self.strange_key = ECKey.generate_key("P-256", {"kid": "corp-1", "alg": "ES256", "use": "sig"})
        self.origins = {name: free_port() for name in doors}
        (folder / "corp.jwks.json").write_text(json.dumps({"keys": [self.key.as_dict(private=False)]}))
        tables = TABLES.format(services=(SERVICES + (VAULT if "vault" in upstreams else "")).format(**upstreams))
        for name, kinds in doors.items():
            ports = {kind: self.origins[name] if kind == "proxy" else free_port() for kind in kinds}
            written = "\n".join(f'{kind} = "127.0.0.1:{port}"' for kind, port in ports.items())
            tables += BOUNDARY.format(name=name, origin=self.origins[name], doors=written)
        self.write(tables, RULES)
        self.start()
        self.keys = KeySet.import_key_set(requests.get(f"{self.issuer}/oauth2/jwks", timeout=5).json())

    def snippet(self, proxy, boundary):
        return self.run("snippet", proxy, "--boundary", boundary)

    def token(self, sub="alice", key=None, typ="at+jwt", **claims):
        now = int(time.time())
        every = {"iss": CORP, "sub": sub, "aud": EDGE, "iat": now - 60, "exp": now + 3000, "jti": str(uuid.uuid4()), "client_id": "web",
                 "scope": SCOPES}
        every.update(claims)
        header = {"alg": "ES256", "kid": "corp-1", "typ": typ}
        return jwt.encode(header, {name: value for name, value in every.items() if value is not None}, key or self.key)

    def claims(self, token):
        """Those of one of ours, whose signature holds."""
        return jwt.decode(token, self.keys).claims

    def records(self, since):
        """What is on record behind the place `since`, with its places."""
        with sqlite3.connect(f"file:{self.folder / 'narrows.db'}?mode=ro", uri=True) as store:
            rows = store.execute("SELECT idx, body FROM records WHERE idx > ? ORDER BY idx", [since]).fetchall()
        return [(index, json.loads(body)) for index, body in rows]

    def last_record(self):
        with sqlite3.connect(f"file:{self.folder / 'narrows.db'}?mode=ro", uri=True) as store:
            return store.execute("SELECT max(idx) FROM records").fetchone()[0] or 0

    def record_of(self, jti, since):
        """What is on record of the one use of a token behind the place `since`; one that is used again has another record."""
        def look():
            return next((record for _, record in self.records(since) if record.get("jti") == jti), None)
        return until(f"a record of {jti}", look, 10)
