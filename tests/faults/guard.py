"""A guard in a process of its own while its broker is stopped, killed or cut off, and while its clock is stepped.

Without its broker a guard goes on for `revocation.max_age` and then lets nothing through but public requests; it comes back without a
restart, and not before it knows what was revoked and who was disabled meanwhile. A clock that is stepped gives no token a longer life.
"""
import base64
import glob
import http.client
import http.server
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
import urllib.parse

from installation import SECRET, SHOWS_SECRET, Installation, free_port, until

MAX_AGE = 2
AUDIENCE = "https://tickets.internal"
STALE = (503, "revocation_view_stale")
REVOKED = (401, "subject_token_revoked")
EXPIRED = (401, "subject_token_expired")
DISABLED = (401, "subject_disabled")
PASSES = (200, None)

RULES = f"""
@id("jobs-read") permit (principal == Workload::"job", action == Action::"ticket:read", resource is Detail::Ticket);
@id("guards") permit (principal == Workload::"tickets-guard", action == Action::"scope:narrows.data_plane", resource);
"""


class Backend(http.server.BaseHTTPRequestHandler):
    """It checks nothing."""

    def do_GET(self):
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


class Line:
    """What lies between the guard and its broker, and can be cut."""

    def __init__(self, to):
        self.to, self.ends, self.is_cut, self.lock = to, set(), False, threading.Lock()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.listen, daemon=True).start()

    def listen(self):
        while True:
            try:
                near, _ = self.listener.accept()
            except OSError:
                return
            try:
                far = socket.create_connection(("127.0.0.1", self.to), timeout=5)
                far.settimeout(None)
            except OSError:
                near.close()
                continue
            with self.lock:
                if self.is_cut:
                    near.close()
                    far.close()
                    continue
                self.ends |= {near, far}
            for source, sink in ((near, far), (far, near)):
                threading.Thread(target=self.carry, args=(source, sink), daemon=True).start()

    def carry(self, source, sink):
        try:
            while data := source.recv(65536):
                sink.sendall(data)
        except OSError:
            pass
        for end in (source, sink):
            self.end(end)

    def end(self, end):
        try:
            end.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        end.close()
        with self.lock:
            self.ends.discard(end)

    def cut(self):
        with self.lock:
            self.is_cut, ends = True, list(self.ends)
        for end in ends:
            self.end(end)

    def mend(self):
        self.is_cut = False

    def close(self):
        self.cut()
        self.listener.close()


class Guarded:
    """A broker, and a guard before a backend with a line of its own to it."""

    def __init__(self, binary):
        self.binary, self.process = binary, None
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="narrows-faults-guard-"))
        self.backend = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Backend)
        threading.Thread(target=self.backend.serve_forever, daemon=True).start()
        (self.folder / "broker").mkdir()
        (self.folder / "guard").mkdir()
        self.broker = Installation(binary, self.folder / "broker")
        made = self.folder / "made"
        subprocess.run([binary, "init", made], check=True, stdout=subprocess.DEVNULL)
        for name in ("edge.key", "edge.jwks.json"):
            shutil.copy(made / name, self.folder / "broker")
            shutil.copy(made / name, self.folder / "guard")
        self.line = Line(self.broker.ports[0])
        self.port, self.metrics = free_port(), free_port()
        tables = self.tables("127.0.0.1:0")
        self.broker.write(tables, RULES)
        way = (f'\n[broker]\nurls = ["http://127.0.0.1:{self.line.port}"]\nclient = "tickets-guard"\n'
               'key = { file = "edge.key" }\ndeadline = "2s"\n')
        config = f'metrics_listen = "127.0.0.1:{self.metrics}"\n' + self.broker.head + self.tables(f"127.0.0.1:{self.port}") + way
        (self.folder / "guard/narrows.toml").write_text(config)
        self.step = self.folder / "step"

    def tables(self, listen):
        return f"""
[revocation]
max_age = "{MAX_AGE}s"
[[clients]]
id   = "job"
auth = {SHOWS_SECRET}
[[clients]]
id       = "tickets-guard"
receives = ["{AUDIENCE}"]
auth     = {{ method = "private_key_jwt", jwks_file = "edge.jwks.json" }}
[[audiences]]
id      = "{AUDIENCE}"
details = ["ticket"]
[[audiences]]
id     = "{self.broker.issuer}"
scopes = ["narrows.data_plane"]
[[scopes]]
name    = "narrows.data_plane"
details = []
[[detail_types]]
type    = "ticket"
actions = ["read"]
[[services]]
name     = "tickets"
hosts    = ["tickets.internal"]
upstream = "http://127.0.0.1:{self.backend.server_port}"
audience = "{AUDIENCE}"
[services.routes]
"GET /healthz"      = "public"
"GET /tickets/{{id}}" = "ticket:read/{{id}}"
[[guards]]
service = "tickets"
client  = "tickets-guard"
listen  = "{listen}"
"""

    def start_guard(self, environment=None):
        with (self.folder / "log").open("a") as log:
            self.process = subprocess.Popen(
                [self.binary, "guard"], cwd=self.folder / "guard", env=os.environ | (environment or {}),
                stdout=subprocess.DEVNULL, stderr=log, start_new_session=True)
        until("the guard hears its broker", lambda: self.ask("/readyz", port=self.metrics)[0] == 200)

    def stop_guard(self):
        if self.process:
            self.process.kill()
            self.process.wait()

    def end(self):
        self.stop_guard()
        for process in self.broker.processes:
            process.poll() is None and os.killpg(process.pid, signal.SIGCONT)
        self.broker.kill()
        self.line.close()
        self.backend.shutdown()
        shutil.rmtree(self.folder, ignore_errors=True)

    def ask(self, path="/tickets/1", token=None, port=None):
        """Status and reason."""
        connection = http.client.HTTPConnection("127.0.0.1", port or self.port, timeout=10)
        try:
            headers = {"host": "tickets.internal"} | ({"authorization": f"Bearer {token}"} if token else {})
            connection.request("GET", path, headers=headers)
            response = connection.getresponse()
            body = response.read()
            return response.status, json.loads(body).get("reason") if body else None
        finally:
            connection.close()

    def token(self, life=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.broker.ports[0], timeout=10)
        form = {"grant_type": "client_credentials", "client_id": "job", "client_secret": SECRET, "audience": AUDIENCE,
                "authorization_details": json.dumps([{"type": "ticket", "actions": ["read"], "identifier": "1"}])}
        form |= {"expires_in": life} if life else {}
        try:
            connection.request("POST", "/oauth2/token", urllib.parse.urlencode(form), {"content-type": "application/x-www-form-urlencoded"})
            return json.loads(connection.getresponse().read())["access_token"]
        finally:
            connection.close()

    def comes_to(self, expected, token):
        """Asks until this comes of it; gives all that came before."""
        came = []

        def asked():
            came.append(self.ask(token=token))
            return came[-1] == expected
        until(f"{expected}, and not {came[-1:]}", asked)
        return came


def claims_of(token):
    payload = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))


def away(claim, guarded, name, go, back):
    """The broker is away and comes back; meanwhile one token is revoked, where it can be."""
    good, revoked = guarded.token(), guarded.token()
    claim(f"{name}: both tokens pass before", [guarded.ask(token=token) for token in (good, revoked)] == [PASSES] * 2)
    go(revoked)
    came = guarded.comes_to(STALE, good)
    claim(f"{name}: the guard goes on, and then does not", set(came) <= {PASSES, STALE}, set(came))
    later = [guarded.ask(token=token) for token in (good, revoked) * 5]
    claim(f"{name}: nothing passes any more", set(later) == {STALE}, set(later))
    claim(f"{name}: public requests do", guarded.ask("/healthz") == PASSES)
    claim(f"{name}: it is not ready", guarded.ask("/readyz", port=guarded.metrics)[0] == 503)
    back()
    seen = []

    def again():
        # The revoked one first and last: what comes between them passes only if it is known by then.
        seen.extend([("revoked", guarded.ask(token=revoked)), ("good", guarded.ask(token=good)), ("revoked", guarded.ask(token=revoked))])
        return seen[-2][1] == PASSES
    until(f"{name}: it passes again", again)
    lives = guarded.process.poll() is None
    claim(f"{name}: a good token passes again without a restart", lives)
    return {came for which, came in seen if which == "revoked"}


def broker_is_away(claim, guarded):
    def freeze(number):
        [os.killpg(process.pid, number) for process in guarded.broker.processes]

    def revoke(token):
        guarded.broker.run("revoke", "--jti", claims_of(token)["jti"])

    def cut(token):
        guarded.line.cut()
        revoke(token)

    def kill(token):
        guarded.broker.kill()
        revoke(token)

    away(claim, guarded, "broker stopped", lambda _: freeze(signal.SIGSTOP), lambda: freeze(signal.SIGCONT))
    for name, go, back in (("broker killed", kill, guarded.broker.start), ("feed cut", cut, guarded.line.mend)):
        came = away(claim, guarded, name, go, back)
        claim(f"{name}: what was revoked meanwhile never passes afterwards", came <= {STALE, REVOKED} and REVOKED in came, came)


def somebody_is_disabled(claim, guarded):
    """Whoever is disabled or enabled while the feed is there, and while it is cut."""
    for kind, name, refused in (("client", "job", REVOKED), ("subject", "narrows|job", DISABLED)):
        token = guarded.token()
        claim(f"{kind} disabled: its token passes before", guarded.ask(token=token) == PASSES)
        for verb, expected in (("disable", refused), ("enable", PASSES)):
            guarded.broker.run(kind, verb, name)
            came = guarded.comes_to(expected, token)
            claim(f"{kind} {verb}d: it is known", set(came) <= {PASSES, refused}, set(came))
        for verb, expected in (("disable", refused), ("enable", PASSES)):
            guarded.line.cut()
            guarded.broker.run(kind, verb, name)
            guarded.comes_to(STALE, token)
            guarded.line.mend()
            came = guarded.comes_to(expected, token)
            claim(f"{kind} {verb}d while the feed was cut: nothing else comes afterwards", set(came) <= {STALE, expected}, set(came))


def faketime():
    """The library that steps the clock of one process, installed if it is not there."""
    for command in ("true", "apt-get install -y -qq faketime", "apt-get update -qq && apt-get install -y -qq faketime"):
        subprocess.run(["sh", "-c", command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
        if found := glob.glob("/usr/lib/*/faketime/libfaketimeMT.so.1"):
            return found[0]
    return None


def clock_is_stepped(claim, guarded):
    """The clock of the wall is another from one moment to the next; the one that measures ages goes on, as a kernel's does."""
    library = faketime()
    if not library:
        claim("a clock can be stepped", False, "faketime is not installed and could not be")
        return

    def set_clock(step):
        guarded.step.with_suffix(".new").write_text(step)
        guarded.step.with_suffix(".new").rename(guarded.step)

    set_clock("+0")
    guarded.start_guard({"LD_PRELOAD": library, "FAKETIME_TIMESTAMP_FILE": str(guarded.step), "FAKETIME_NO_CACHE": "1",
                         "FAKETIME_DONT_FAKE_MONOTONIC": "1"})
    short, unshown, good, revoked = guarded.token(4), guarded.token(4), guarded.token(), guarded.token()
    came = [guarded.ask(token=token) for token in (short, good, revoked)]
    claim("clock: tokens pass before", came == [PASSES] * 3, came)
    until("the short ones are over", lambda: guarded.ask(token=short) == EXPIRED)
    guarded.broker.run("revoke", "--jti", claims_of(revoked)["jti"])
    guarded.comes_to(REVOKED, revoked)
    # Into the life of what is over, and far behind all of it.
    for step in (claims_of(unshown)["iat"] + 1 - int(time.time()), -3600, -86400):
        set_clock(str(step))
        came = [guarded.ask(token=token) for token in (short, unshown) for _ in range(5)]
        claim(f"clock {step} s: no expired token passes", set(came) == {EXPIRED}, set(came))
        came = guarded.ask(token=guarded.token())
        claim(f"clock {step} s: a new token passes", came == PASSES, came)
        came = guarded.ask(token=revoked)
        claim(f"clock {step} s: what was revoked stays so", came == REVOKED, came)
    # So far ahead that all that was ever revoked is long over.
    set_clock("+40000000")
    came = [guarded.ask(token=token) for token in (short, unshown, good)]
    claim("clock a year ahead: whoever is unsure lets nothing through", set(came) == {EXPIRED}, set(came))
    set_clock("+0")
    came = guarded.comes_to(PASSES, good)
    claim("clock set right: a good token passes again without a restart", guarded.process.poll() is None, came)
    came = [guarded.ask(token=token) for token in (short, unshown, revoked) for _ in range(5)]
    claim("clock set right: nothing that is over has come back", set(came) == {EXPIRED, REVOKED}, set(came))


def run(claim, binary):
    guarded = Guarded(binary)
    try:
        guarded.broker.start()
        guarded.start_guard()
        broker_is_away(claim, guarded)
        somebody_is_disabled(claim, guarded)
        guarded.stop_guard()
        clock_is_stepped(claim, guarded)
    finally:
        guarded.end()
