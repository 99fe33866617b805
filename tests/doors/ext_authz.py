"""Envoy's filter in its flavours: heads line by line, heads joined, the request itself by HTTP, and as Istio sets it up. All decide the same."""
import json
import pathlib
import re
import shutil
import socket
import subprocess
import sys
import tempfile

import yaml

import istio
from backend import Backend
from boundaries import Narrows
from installation import free_port, until

ENVOY = pathlib.Path(sys.executable).parent / "envoy"
BY_GRPC = "grpc_service: { envoy_grpc: { cluster_name: narrows }, timeout: 2s }"
LINES, JOINED = "encode_raw_headers: true", "encode_raw_headers: false"
# The same block as in docs/integrations/envoy.md.
BY_HTTP = """allowed_headers: { patterns: [{ safe_regex: { regex: ".*" } }] }
              http_service:
                server_uri: { uri: "http://narrows", cluster: narrows, timeout: 1s }
                authorization_response:
                  allowed_upstream_headers: { patterns: [{ exact: authorization }, { exact: txn-token }] }"""
FLAVOURS = {
    "lines": ("ext_authz_grpc", []),
    "joined": ("ext_authz_grpc", [(LINES, JOINED)]),
    "istio": ("ext_authz_grpc", []),
    "http": ("ext_authz_http", [(LINES, JOINED), (BY_GRPC, BY_HTTP), ("{ http2_protocol_options: {} }", "{ http_protocol_options: {} }")]),
}
SPOOFED = ["Narrows-Subject", "Narrows.Issuer", "Txn-Token", "Forwarded", "X-Forwarded-Prefix", "X-Forwarded-For", "X-Original-URI", "X-Original-URL", "X-HTTP-Method-Override",
           "X-Envoy-Original-Path", "DPoP", "Script-Name", "X-Accel-Mapping", "Proxy", "Remote-User", "X-SSL-Client-Cert"]
passed = failed = 0


def claim(name, holds, seen=""):
    global passed, failed
    passed, failed = passed + bool(holds), failed + (not holds)
    print(f"{'ok    ' if holds else 'not ok'}  {name}{'' if holds else f': {seen}'}", flush=True)


def request(line, *headers, body=b"", host="tickets.internal"):
    lines = [f"{line} HTTP/1.1", f"Host: {host}", "Connection: close", *headers]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def json_body(body):
    return ["Content-Type: application/json", f"Content-Length: {len(body)}"]


def form(body):
    return ["Content-Type: application/x-www-form-urlencoded", f"Content-Length: {len(body)}"]


def rows(bearer):
    """A name, the request, and the target that goes on or the status and reason of the refusal; no reason where Envoy itself refuses."""
    fields, large, hidden = b'{"title":"x"}', b"x" * 70_000, b"access_token=x"
    spoofed = [f"{name}: eve-was-here" for name in SPOOFED]
    yield "a ticket", request("GET /tickets/42?full=1", bearer, *spoofed), "/tickets/42?full=1"
    yield "a public route", request("GET /healthz", bearer, *spoofed), "/healthz"
    yield "absolute form", request("GET http://tickets.internal/tickets/42", bearer, host="other.internal"), "/tickets/42"
    yield "a body that is read", request("PATCH /tickets/42", bearer, *json_body(fields), body=fields), "/tickets/42"
    lie = "X-Envoy-Auth-Partial-Body: true"
    yield "a body that the client says is cut off", request("PATCH /tickets/42", bearer, lie, *json_body(fields), body=fields), "/tickets/42"
    yield "a body that is not read", request("POST /tickets/42/comments", bearer, *json_body(large), body=large), "/tickets/42/comments"
    yield "a form", request("POST /tickets/42/comments", bearer, *form(b"a=b"), body=b"a=b"), "/tickets/42/comments"
    yield "no token", request("GET /tickets/42"), (401, "no_token")
    yield "a token that is none", request("GET /tickets/42", "Authorization: Bearer x.y.z"), (401, "subject_token_invalid")
    yield "what policy forbids", request("DELETE /tickets/42", bearer), (403, "policy_denied")
    yield "no route", request("GET /admin", bearer), (403, "no_route")
    yield "EXA-004 one token twice", request("GET /tickets/42", bearer, bearer), (400, "malformed_request")
    yield "EXA-004 two tokens", request("GET /tickets/42", bearer, "Authorization: Bearer x"), (400, "malformed_request")
    yield "two hosts", request("GET /tickets/42", bearer, "Host: other.internal"), (404, None)
    yield "a path that climbs", request("GET /x/../tickets/42", bearer), (400, "malformed_request")
    yield "two slashes", request("GET //tickets/42", bearer), (400, "malformed_request")
    yield "EXA-007 a token in the query", request("GET /tickets/42?access_token=x", bearer), (400, "malformed_request")
    yield "a token in a form", request("POST /tickets/42/comments", bearer, *form(hidden), body=hidden), (400, "malformed_request")
    yield "EXA-008 no body", request("PATCH /tickets/42", bearer, "X-Envoy-Auth-Partial-Body: false"), (400, "unread_input")
    yield "EXA-008 too large a body", request("PATCH /tickets/42", bearer, *json_body(large), body=large), (413, None)
    yield "a slash that is hidden", request("GET /x/..%2ftickets/42", bearer), (400, None)
    yield "an underscore", request("GET /tickets/42", bearer, "narrows_subject: eve-was-here"), "/tickets/42"
    yield "EXA-002 a path that is no text", request("GET /tickets/4\xff2", bearer), (400, None)


class Envoy:
    """With what `narrows snippet envoy` prints, changed to the flavour; `door` is asked in place of the boundary's own."""

    def __init__(self, flavour, narrows, folder, door):
        self.port, log = narrows.origins[flavour], (folder / f"{flavour}.log").open("w")
        asked = door_of(narrows, flavour, "ext_authz_grpc")
        if flavour == "istio":
            printed = istio.door_replaced(narrows.snippet("istio", flavour), asked, door) if asked != door else narrows.snippet("istio", flavour)
            text = yaml.safe_dump(istio.envoy(printed, self.port))
        else:
            text = narrows.snippet("envoy", flavour)
            for was, now in [*FLAVOURS[flavour][1], (f"port_value: {asked} ", f"port_value: {door} ")]:
                if was not in text:
                    raise RuntimeError(f"{was} is no part of what is printed")
                text = text.replace(was, now)
        config = folder / f"{flavour}.yaml"
        config.write_text(text)
        self.process = subprocess.Popen([ENVOY, "-c", config, "--concurrency", "1", "--use-dynamic-base-id"], stdout=log, stderr=log)
        try:
            until(f"{flavour} listens", lambda: socket.create_connection(("127.0.0.1", self.port), 1).close() or True, 60)
            if self.process.poll() is not None:
                raise RuntimeError(f"somebody else listens where {flavour} would:\n{(folder / f'{flavour}.log').read_text()[-2000:]}")
        except RuntimeError:
            self.stop()
            raise

    def ask(self, sent):
        with socket.create_connection(("127.0.0.1", self.port), 10) as connection:
            connection.sendall(sent)
            reply = b""
            try:
                while chunk := connection.recv(65536):
                    reply += chunk
            except ConnectionResetError:
                pass
        head, _, body = reply.partition(b"\r\n\r\n")
        parts = head.split(b" ", 2)
        return int(parts[1]) if len(parts) > 1 else 0, head, body

    def stop(self):
        self.process.terminate()
        self.process.wait(30)


def door_of(narrows, flavour, kind):
    boundary = narrows.config.read_text().split(f'"{flavour}"')[1]
    return re.search(rf'{kind} = "127.0.0.1:(\d+)"', boundary)[1]


def reason(body):
    start, end = body.find(b"{"), body.rfind(b"}")
    return json.loads(body[start:end + 1]).get("reason") if 0 <= start < end else None


def wrong(reply, backend, expected, narrows, good):
    """What is not as it should be; nothing, if all is."""
    (status, _, body), (seen, raw, strange) = reply, backend.taken()
    if strange or b"eve-was-here" in raw or good.rpartition(".")[2].encode() in raw:
        return f"the backend saw {strange or raw[:300]}"
    if not isinstance(expected, str):
        found = (status, reason(body))
        return None if found == expected and not seen else f"{found}, {len(seen)} went on"
    if status != 200 or len(seen) != 1 or seen[0].target != expected:
        return f"{status} {body[:200]}, {[each.target for each in seen]}"
    tokens = seen[0].all("authorization")
    if expected == "/healthz":
        return None if not tokens else "a token went on"
    [token] = tokens
    claims = narrows.claims(token.removeprefix("Bearer "))
    identifiers = [detail.get("identifier") for detail in claims["authorization_details"]]
    return None if identifiers == ["42"] else f"the token is for {identifiers}"


def main(binary):
    folder, backend = pathlib.Path(tempfile.mkdtemp()), Backend(["tickets", "files"])
    doors = {flavour: ("ext_authz_grpc", "ext_authz_http", "forward_auth") for flavour in FLAVOURS}
    narrows, open_now = Narrows(binary, folder, backend.ports, doors), {}
    try:
        good = narrows.token()
        printed = narrows.snippet("istio", "istio")
        found = list(istio.misfits(printed))
        claim("istio: the schemas know every member of what is printed", not found, found)
        found = istio.filter_of(istio.envoy(printed, 1))
        patched = all(found.get(name) for name in ("encode_raw_headers", "validate_mutations", "decoder_header_mutation_rules"))
        claim("istio: what the filter must be told by a patch, it is told", patched, found)
        for flavour, (key, _) in FLAVOURS.items():
            envoy = open_now[flavour] = Envoy(flavour, narrows, folder, door_of(narrows, flavour, key))
            for name, sent, expected in rows(f"Authorization: Bearer {good}"):
                found = wrong(envoy.ask(sent), backend, expected, narrows, good)
                claim(f"{flavour}: {name}", found is None, found)
            status, _, body = envoy.ask(request("GET /.well-known/oauth-protected-resource"))
            claim(f"{flavour}: the metadata is told", status == 200 and reason(body) is None and b'"resource"' in body, body)
            backend.taken()
            envoy.stop()
            # EXA-001: nobody is there, and somebody who never answers.
            with socket.create_server(("127.0.0.1", 0)) as silent:
                for name, port in (("nobody answers", free_port()), ("the answer never comes", silent.getsockname()[1])):
                    envoy = open_now[flavour] = Envoy(flavour, narrows, folder, port)
                    status, _, _ = envoy.ask(request("GET /healthz"))
                    claim(f"{flavour}: EXA-001 {name}", status == 503 and not backend.taken()[0], status)
                    envoy.stop()
    finally:
        for envoy in open_now.values():
            if envoy.process.poll() is None:
                envoy.stop()
        narrows.stop()
        if failed:
            print(f"logs are in {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)
    print(f"ext_authz: {passed} passed, {failed} failed")
    sys.exit(1 if failed or not passed else 0)


if __name__ == "__main__":
    main(str(pathlib.Path(sys.argv[1]).resolve()))
