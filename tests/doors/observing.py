"""Real proxies in front of one backend, with boundaries that only observe: what comes through is what was sent. Then they enforce."""
import datetime
import pathlib
import shutil
import sys
import tempfile

import boundaries
import requests
import run
import smuggling
from backend import Backend
from boundaries import Narrows
from installation import until
from proxies import Proxy
from run import DOORS, converse, status
from table import Row

OBSERVES = f'mode = "observe"\nobserve_until = "{datetime.datetime.now(datetime.UTC).date() + datetime.timedelta(30)}"\n'
# What a client sent that no boundary knew of, or that it would refuse; the last column is what enforcing says.
TRAFFIC = [
    (Row("a ticket", target="/tickets/42?full=1"), 200),
    (Row("a list", target="/tickets"), 200),
    (Row("a public route", target="/healthz", token=None), 200),
    (Row("no token", token=None), 401),
    (Row("a session of before", authorization=("Authorization: Bearer session-of-before",)), 401),
    (Row("another scheme", authorization=("Authorization: Basic dXNlcjpwYXNz",)), 400),
    (Row("a token that has expired", token="expired"), 401),
    (Row("too little", token="wrong-scope"), 403),
    (Row("what a rule forbids", method="DELETE"), 403),
    (Row("no route", target="/reports/2026/11"), 403),
    (Row("no route for this method", method="PUT", target="/tickets/42", body=b"new"), 403),
    (Row("a form with a token in it", method="POST", target="/healthz", body=b"access_token=x",
         headers=("Content-Type: application/x-www-form-urlencoded",)), 400),
    (Row("a body that its route reads, and that is none", method="PATCH", body=b"not json", headers=("Content-Type: application/json",)), 400),
    (Row("a path with a slash at its end", target="/tickets/42/"), 403),
]
# These refuse with another status what they were told to refuse.
COARSE = {"nginx", "caddy", "traefik", "envoy"}


def as_it_came(row, door, narrows, shown):
    """What is not as it was sent; nothing, if all is."""
    reply = converse(narrows.origins[door], row.bytes(shown))
    seen, _, strange = run.backend.taken()
    if strange or len(seen) != 1:
        return f"{len(seen)} requests reached the backend: {reply[:200]!r} {strange}"
    request, sent = seen[0], row.bytes(shown).split(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")[1:]
    credentials = [line.partition(":")[2].strip() for line in sent if line.lower().startswith("authorization:")]
    if (request.method, request.target, request.body) != (row.method, row.target, row.body or b""):
        return f"{request.method} {request.target} with {request.body[:60]!r} went on"
    if request.all("authorization") != credentials:
        return f"{len(request.all('authorization'))} headers Authorization went on, of {len(credentials)}, or another"
    return None if status(reply) == 200 and reply.endswith(b"done") else f"the reply was {reply[:100]!r}"


def enforced(row, expected, door, narrows, shown):
    """What is not as the contract says of a boundary that enforces; nothing, if all is."""
    reply = converse(narrows.origins[door], row.bytes(shown))
    seen, raw, _ = run.backend.taken()
    if expected != 200:
        told = status(reply)
        return None if not seen and (told >= 400 if door in COARSE else told == expected) else f"{told}, {len(seen)} went on"
    token = shown.get(row.token)
    if status(reply) != 200 or len(seen) != 1 or (token and token.encode() in raw):
        return f"{status(reply)}, {len(seen)} went on"
    if row.token is None:
        return None
    return None if narrows.claims(seen[0].all("authorization")[0].removeprefix("Bearer "))["iss"] == narrows.issuer else "not a token of ours"


def whole(narrows, shown):
    """What two readers could take for two things reaches the backend as requests that are whole, or not at all."""
    head = b"Host: tickets.internal\r\nAuthorization: Bearer " + shown["good"].encode() + b"\r\n"
    for name, attack, request, body in smuggling.raw():
        try:
            converse(narrows.origins["own"], request.replace(b"{head}", head), 2)
        except TimeoutError:
            pass  # what is not whole is waited for
        seen, _, strange = run.backend.taken()
        # What its client breaks off breaks off at the backend too.
        others = [] if body is smuggling.BROKEN else [each for each in strange if not each.startswith("left over")]
        # The request behind it may go on as one of its own: nothing is refused here.
        posted = [each.body for each in seen if each.method == "POST"]
        holds = not others and len(posted) <= 1 and not (isinstance(body, bytes) and posted and posted[0] != body)
        run.claim(f"observed: {attack} raw, {name}: whole, or not at all", holds, f"{others} {posted}")


def main():
    folder = pathlib.Path(tempfile.mkdtemp(prefix="narrows-observing-"))
    folder.chmod(0o755)
    boundaries.BOUNDARY += OBSERVES
    run.backend, narrows, proxies = Backend(["tickets", "files"]), None, []
    try:
        narrows = Narrows(run.BINARY, folder, run.backend.ports, DOORS)
        proxies.extend(Proxy(name, narrows, folder) for name in DOORS if name != "own")
        shown = {"good": narrows.token(), "expired": narrows.token(exp=1_700_000_000), "wrong-scope": narrows.token(scope="tickets.list")}
        for name in DOORS:
            # A proxy may listen before it has read its routes.
            ready = Row("", target="/healthz", token=None).bytes(shown)
            until(f"{name} serves", lambda name=name, ready=ready: status(converse(narrows.origins[name], ready)) == 200, 60)
        run.backend.taken()
        for row, _ in TRAFFIC:
            found = {door: said for door in DOORS if (said := as_it_came(row, door, narrows, shown))}
            run.claim(f"observed: {row.name} reaches the backend as it came", not found, found)
        whole(narrows, shown)
        minted = [record for _, record in narrows.records(0) if "jti" in record]
        run.claim("observed: nothing is minted", not minted, minted[:1])

        narrows.config.write_text(narrows.config.read_text().replace(OBSERVES, ""))
        until("they enforce", lambda: requests.get(f"{narrows.issuer}/readyz", timeout=5).json()["observing"] == [])
        for row, expected in TRAFFIC:
            found = {door: said for door in DOORS if (said := enforced(row, expected, door, narrows, shown))}
            run.claim(f"enforced: {row.name} is {expected if expected != 200 else 'let through with a token of ours'}", not found, found)
    finally:
        for each in [*proxies, *([narrows] if narrows else []), run.backend]:
            each.stop()
        if run.failed:
            print(f"what was written is in {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)
    print(f"observing: {run.passed} passed, {run.failed} failed")
    sys.exit(1 if run.failed or not run.passed else 0)


if __name__ == "__main__":
    main()
