"""Backends that check for themselves, each with what `narrows snippet` prints for it, decide every request as the Rust guard does.

Usage: run.py NARROWS VERDICTS PYTHON BUILT; the second is the example `verdicts` of narrows-guard, the third has what requirements.txt lists, and
the last is what cargo says (`--message-format=json`) of what it built for that example: what is printed for axum is compiled against it.
"""
import concurrent.futures
import http.server
import json
import pathlib
import queue
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time

HERE = pathlib.Path(__file__).parent
BINARY, VERDICTS, PYTHON = (str(pathlib.Path(each).absolute()) for each in sys.argv[1:4])
# What a mode is called in the table, and what the configuration says for it.
MODES = {"none": ("none", ""), "same_resource": ("same_resource", ""), "any": ("any", ""), "fixed": ("same_resource", 'tenant = "acme"')}
KINDS = ("fastapi", "express", "java")
CRATES = ("axum", "fetch", "narrows_guard", "tokio")
SLOW = "slow"
passed = failed = 0


def claim(name, holds, seen=""):
    global passed, failed
    passed, failed = passed + bool(holds), failed + (not holds)
    print(f"{'ok    ' if holds else 'not ok'}  {name}{'' if holds else f': {seen}'}", flush=True)


class Keys(http.server.ThreadingHTTPServer):
    """The broker, as far as a backend knows it: its key set, and for the layer a token of its own, a feed that says nothing is revoked
    and nobody disabled, and an ear for what it refused. No token is opaque here, and of single uses it knows nothing."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Answer)
        self.issuer, self.reply = f"http://127.0.0.1:{self.server_port}", (503, b"")
        self.asked = self.lured = self.refusals = self.used = 0
        threading.Thread(target=self.serve_forever, daemon=True).start()


class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/v1/revocations/stream":
            self.beat()
            return
        if self.path != "/oauth2/jwks":
            self.server.lured += 1
            self.tell(200, self.server.good)
            return
        self.server.asked += 1
        if self.server.reply == SLOW:
            self.dribble()
        else:
            self.tell(*self.server.reply)

    def do_POST(self):
        said = self.rfile.read(int(self.headers["Content-Length"]))
        answers = {"/oauth2/token": (200, {"access_token": "own", "expires_in": 3600}), "/oauth2/introspect": (200, {"active": False}),
                   "/v1/uses": (400, {"reason": "subject_token_invalid"}), "/v1/usage": (200, {}), "/v1/guards/tickets/sightings": (200, {}),
                   "/v1/guards/tickets/places": (200, {"seen_twice": 0})}
        if self.path == "/v1/guards/tickets/refusals":
            told = json.loads(said)["refusals"]
            self.server.refusals += len(told)
            self.tell(200, json.dumps({"recorded": len(told)}).encode())
            return
        self.server.used += self.path == "/v1/usage"
        status, reply = answers[self.path]
        self.tell(status, json.dumps(reply).encode())

    def beat(self):
        """A feed, until nobody listens."""
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        try:
            self.wfile.write(b'event: standing\ndata: {"begins":true,"disabled":[],"enabled":[]}\n\n')
            while True:
                self.wfile.write(b'event: heartbeat\ndata: {"seq":0}\n\n')
                self.wfile.flush()
                time.sleep(0.5)
        except OSError:
            pass

    def dribble(self):
        """A body of which a byte comes each second, until nobody listens."""
        self.send_response(200)
        self.send_header("Content-Length", "3600")
        self.end_headers()
        try:
            while True:
                self.wfile.write(b" ")
                time.sleep(1)
        except OSError:
            pass

    def tell(self, status, body):
        self.send_response(status)
        if status == 302:
            self.send_header("Location", "/elsewhere")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Backend:
    """One program with one middleware; it prints its port."""

    def __init__(self, kind, mode, folder):
        self.kind, self.mode = kind, mode
        commands = {"fastapi": [PYTHON, "app.py"], "express": ["node", "--expose-gc", "--max-http-header-size=65536", "app.mjs"],
                    "java": ["java", "-XX:TieredStopAtLevel=1", "-Dsun.net.httpserver.maxReqTime=20", "-Dsun.net.httpserver.drainAmount=0",
                             "-cp", "classes", "App"], "axum": ["./app"]}
        self.process = subprocess.Popen(commands[kind], cwd=folder, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)
        line = queue.Queue()
        threading.Thread(target=lambda: line.put(self.process.stdout.readline()), daemon=True).start()
        self.port = int(line.get(timeout=60))

    def ask(self, row):
        """Status, headers and body of the reply to a row."""
        body = (row["body"] or "").encode()
        head = [f"{row['method']} {row['target']} HTTP/1.1", f"Host: {row['host']}", *(f"{name}: {value}" for name, value in row["headers"])]
        head += [f"Content-Length: {len(body)}"] if row["body"] is not None else []
        head += [] if any(name == "connection" for name, _ in row["headers"]) else ["Connection: close"]
        reply = b""
        with socket.create_connection(("127.0.0.1", self.port), 20) as connection:
            try:
                connection.sendall("\r\n".join([*head, "", ""]).encode() + body)
                while chunk := connection.recv(65536):
                    reply += chunk
                    whole = re.match(rb"(?is)(.*?)\r\n\r\n(.*)", reply)
                    length = whole and re.search(rb"(?i)\r\ncontent-length: *(\d+)", whole[1])
                    if length and len(whole[2]) >= int(length[1]):
                        break
                    if whole and row["method"] == "HEAD":
                        break
            except (ConnectionError, TimeoutError) as error:
                reply = reply or f"no reply: {error!r} on {row.get('name')}".encode()
        first, _, rest = reply.partition(b"\r\n")
        heads, _, text = rest.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in heads.decode("latin-1").lower().split("\r\n") if ": " in line)
        challenge = re.search(r"(?im)^www-authenticate: *(.*?)\r?$", heads.decode("latin-1"))
        if headers.get("transfer-encoding") == "chunked":
            text = b"".join(part for part in text.split(b"\r\n")[1::2])
        status = int(first.split(b" ")[1]) if first.startswith(b"HTTP/1.1 ") else 0
        return status, headers, challenge and challenge[1], text if status else first

    def begin(self, row, length, sent=b""):
        """A connection on which a row's request has begun: of its body, which is to have this length, a part was sent."""
        head = [f"{row['method']} {row['target']} HTTP/1.1", f"Host: {row['host']}", *(f"{name}: {value}" for name, value in row["headers"])]
        connection = socket.create_connection(("127.0.0.1", self.port), 60)
        connection.sendall("\r\n".join([*head, f"Content-Length: {length}", "", ""]).encode() + sent)
        return connection

    def differs(self, row):
        """Wherein this backend differs from the guard; nothing, if it does not."""
        wanted = row["of_layer" if self.kind == "axum" else "verdicts"][self.mode]
        status, headers, challenge, text = self.ask(row)
        seen = f"{status} {text[:200]!r}"
        if status != wanted["status"]:
            return f"{wanted} and {seen}"
        if row["method"] == "HEAD":
            return ""
        if status == 400 and headers.get("content-type") != "application/problem+json":
            return ""  # the server took it for no request
        told = json.loads(text)
        if status == 200:
            same = {name: told.get(name) for name in ("subject", "route")} == {name: wanted.get(name) for name in ("subject", "route")}
            body = (row["body"] or "").encode()
            same &= told["length"] == len(body) if "length" in told else "body" in told
            return "" if same else f"{wanted} and {seen}"
        good = told["reason"] == wanted["reason"] and told["status"] == status and headers["content-type"] == "application/problem+json"
        good &= challenge == wanted["challenge"] and headers["cache-control"] == "no-store"
        return "" if good else f"{wanted} and {seen}, {challenge}"


def print_out(keys, mode, folder):
    """An installation, and what is printed for it."""
    run = lambda *words: subprocess.run([BINARY, *words], cwd=folder, check=True, capture_output=True, text=True, timeout=60).stdout
    run("init", ".")
    excess, fixed = MODES[mode]
    text = (HERE / "narrows.toml").read_text()
    for name, value in (("@ISSUER@", keys.issuer), ("@EXCESS@", excess), ("@FIXED@", fixed)):
        text = text.replace(name, value)
    (folder / "narrows.toml").write_text(text)
    for kind, printed, app in (("fastapi", "narrows_guard.py", "app.py"), ("express", "narrows.mjs", "app.mjs"), ("java", "NarrowsFilter.java", "App.java")):
        (folder / printed).write_text(run("snippet", kind, "--service", "tickets"))
        shutil.copy(HERE / app, folder)
    shutil.copy(HERE / "scopes.py", folder)
    (folder / "node_modules").symlink_to(HERE.absolute() / "node_modules")
    (folder / "tickets_guard.rs").write_text(run("snippet", "axum", "--service", "tickets"))
    shutil.copy(HERE / "app.rs", folder)
    return subprocess.Popen(["javac", "-Xlint:all", "-Werror", "-d", "classes", "NarrowsFilter.java", "App.java"], cwd=folder)


def compile_rust(folder, crates):
    """The layer as it is printed, against what cargo has built of these crates; with a word of what is wrong."""
    found = [word for name in CRATES for word in ("--extern", f"{name}={crates[name]}")]
    ran = subprocess.run(["rustc", "--edition", "2024", "-D", "warnings", "-L", f"dependency={pathlib.Path(crates['tokio']).parent}", *found, "app.rs"],
                         cwd=folder, capture_output=True, text=True, timeout=300)
    return ran.stderr


def built(messages):
    """Where the library of each crate is."""
    artifacts = (json.loads(line) for line in pathlib.Path(messages).read_text().splitlines())
    libraries = (each for each in artifacts if each.get("reason") == "compiler-artifact" and "lib" in each["target"]["kind"])
    return {each["target"]["name"].replace("-", "_"): next(name for name in each["filenames"] if name.endswith(".rlib")) for each in libraries
            if any(name.endswith(".rlib") for name in each["filenames"])}


def until(holds, seconds):
    """Asks until it holds, or for so long."""
    ends = time.monotonic() + seconds
    while not (found := holds()) and time.monotonic() < ends:
        time.sleep(0.2)
    return found


def keys_are_fetched_from_the_broker_alone(keys, backends, right):
    """Before there is a key set nobody gets in; nobody follows it elsewhere; and then everybody does."""
    def told():
        return {each.ask(right)[0] for each in backends}

    def nobody_gets_in(reply):
        keys.reply, before, seen, ends = reply, keys.asked, set(), time.monotonic() + 30
        while keys.asked - before < len(backends) and time.monotonic() < ends:
            seen |= told()
            time.sleep(0.2)
        return (seen | told()) == {503} and keys.asked - before >= len(backends)

    keys.reply, one_of_each = SLOW, [each for each in backends if each.mode == "any"]
    with concurrent.futures.ThreadPoolExecutor(len(one_of_each)) as several:
        seen = list(several.map(lambda each: each.ask(right)[0], one_of_each))
    claim("nobody waits for ever for a key set that comes a byte at a time", set(seen) == {503}, seen)
    claim("where the key set is elsewhere nobody goes there, and nobody gets in", nobody_gets_in((302, b"")) and keys.lured == 0, keys.lured)
    claim("a key set that comes with an error is none", nobody_gets_in((500, keys.good)))
    claim("one that is too large is none", nobody_gets_in((200, keys.good + b" " * 262_144)))
    claim("a set with a shared secret is none",
          nobody_gets_in((200, b'{"keys":[{"kty":"oct","k":"c2VjcmV0"},' + keys.good.removeprefix(b'{"keys":['))))
    keys.reply = (200, keys.good)
    claim("once it is there, right tokens are taken", until(lambda: told() == {200}, 30), told())


def a_new_key_is_found(keys, backends, matrix):
    """A key that is not known is worth a look, and not one for every token."""
    token = matrix["next"]["token"]
    row = {"method": "GET", "host": "tickets.internal", "target": "/tickets/7", "headers": [["authorization", f"Bearer {token}"]], "body": None}
    lenient = [each for each in backends if each.mode in ("any",)]
    before = keys.asked
    for each in lenient:
        for _ in range(20):
            each.ask(row)
    claim("20 tokens with an unknown key are worth one look at the key set", keys.asked - before <= len(lenient), keys.asked - before)
    keys.reply = (200, json.dumps({"keys": [*matrix["jwks"]["keys"], matrix["next"]["jwk"]]}).encode())
    taken = until(lambda: all(each.ask(row)[0] == 200 for each in lenient), 45)
    claim("a new key of the broker is found by itself", taken, [(each.kind, each.ask(row)[3][:150]) for each in lenient])
    keys.reply = (503, b"")
    claim("without the broker its keys serve on", all(each.ask(row)[0] == 200 for each in lenient))


def a_large_body_is_refused(backends, rows):
    """A route says how much of a body is read."""
    row = next(row for row in rows if row["name"].startswith("POST rest") and row["verdicts"]["any"]["status"] == 200)
    large = {**row, "body": json.dumps({"at": {"a": "x" * 1024}})}
    lenient = [each for each in backends if each.mode == "any"]
    claim("a body that is larger than its route takes is refused", {each.ask(large)[0] for each in lenient} == {413})
    claim("one that is as large as it takes is not", {each.ask({**row, "body": row["body"].ljust(1024)})[0] for each in lenient} == {200})


def status_of(connection):
    """What is answered on a connection; nothing, where it is closed."""
    with connection:
        try:
            reply = connection.recv(65536)
        except ConnectionError:
            return 0
    return int(reply.split(b" ")[1]) if reply.startswith(b"HTTP/1.1 ") else 0


def no_body_is_waited_for_in_vain(backends, right):
    """Who shows no token that is one is told so before a body comes; who shows one has ten seconds for it, and so has a form on a public route."""
    form = ["content-type", "application/x-www-form-urlencoded"]
    bad = [[name, "Bearer a.b.c" if name == "authorization" else value] for name, value in right["headers"]]
    bodies = {"no token": ({**right, "headers": [form]}, {401}), "a bad token": ({**right, "headers": [*bad, form]}, {401}),
              "no route": ({**right, "target": "/x", "headers": [form]}, {403}),
              "a right token": ({**right, "headers": [*right["headers"], form]}, {400, 0}),
              "a public route": ({**right, "target": "/healthz", "headers": [form]}, {400, 0})}
    lenient = [each for each in backends if each.mode == "any"]
    for name, (row, wanted) in bodies.items():
        told = {each.kind: status_of(connection) for each, connection in [(each, each.begin(row, 5)) for each in lenient]}
        claim(f"with {name} nobody waits for ever for a form that does not come", set(told.values()) <= wanted, told)
    public = {**right, "target": "/healthz", "headers": [form]}
    told = [[each.ask({**public, "body": "a" * length})[0] for each in lenient] for length in (65536, 65537)]
    claim("a form on a public route may have 64 KiB and no more", told == [[200] * len(lenient), [413] * len(lenient)], told)
    for each in lenient:
        if each.kind == "java":
            continue  # it reads no more of them at a time than it has threads
        many = [each.begin(public, 65000, b"a" * 64000) for _ in range(300)]
        told = {status_of(connection) for connection in many}
        claim(f"{each.kind} holds 16 MiB of such forms and no more", {429} < told <= {400, 429}, told)
        claim(f"and {each.kind} gives them back", each.ask({**public, "body": "a=b"})[0] == 200)


def what_was_used_is_told_at_the_end(keys, layers, right):
    """And by then, not when it would have been anyway: a request is made of each, which is told to end."""
    before = keys.used
    for each in layers:
        each.ask(right)
        each.process.terminate()
    ended = [each.process.wait(timeout=20) for each in layers]
    claim("a layer that is told to end tells first what was used", ended == [0] * len(layers) and keys.used >= before + len(layers), (ended, keys.used - before))


def other_scopes(folder):
    """What FastAPI hands on beside requests at the root."""
    ran = subprocess.run([PYTHON, "scopes.py"], cwd=folder, capture_output=True, text=True, timeout=60)
    claim("FastAPI's WebSockets, mounts and root paths get round nothing", ran.returncode == 0, ran.stderr[-600:])


def main():
    keys, backends, started = Keys(), [], []
    with tempfile.TemporaryDirectory() as place:
        try:
            folders = {mode: pathlib.Path(place) / mode for mode in MODES}
            for folder in folders.values():
                folder.mkdir()
            compilers = [print_out(keys, mode, folder) for mode, folder in folders.items()]
            claim("what is printed for Java compiles without a warning", all(each.wait(timeout=120) == 0 for each in compilers))
            wrong = [compile_rust(folder, built(sys.argv[4])) for folder in folders.values()]
            claim("what is printed for axum compiles without a warning", not any(wrong), wrong)
            # Its tokens live for some minutes from now on.
            told = subprocess.run([VERDICTS, keys.issuer, str(int(time.time()))], check=True, capture_output=True, text=True, timeout=120).stdout
            matrix = json.loads(told)
            keys.good = json.dumps(matrix["jwks"], separators=(",", ":")).encode()
            for mode, folder in folders.items():
                backends += [Backend(kind, mode, folder) for kind in KINDS]
            right = next(row for row in matrix["rows"] if all("subject" in verdict for verdict in row["verdicts"].values()))
            keys_are_fetched_from_the_broker_alone(keys, backends, right)
            layers = [Backend("axum", mode, folder) for mode, folder in folders.items()]
            started += layers
            ready = until(lambda: all(each.ask(right)[0] == 200 for each in layers), 60)
            claim("the layer finds keys and feed of the broker by itself", ready, [each.ask(right) for each in layers])
            judge(backends + layers, matrix["rows"])
            claim("what the layer refuses is told to the broker", until(lambda: keys.refusals > len(matrix["rows"]), 30), keys.refusals)
            what_was_used_is_told_at_the_end(keys, layers, right)
            a_large_body_is_refused(backends, matrix["rows"])
            no_body_is_waited_for_in_vain(backends, right)
            other_scopes(folders["any"])
            a_new_key_is_found(keys, backends, matrix)
        finally:
            started += backends
            for each in started:
                each.process.terminate()
            for each in started:
                each.process.wait(timeout=20)
    print(f"\nbackends: {passed} passed, {failed} failed")
    return failed


def differences(backend, rows):
    """A line for each row that a backend decides otherwise."""
    found = []
    for row in rows:
        try:
            if why := backend.differs(row):
                found.append(f"{row['name']}: {why}")
        except Exception as error:
            found.append(f"{row['name']}: {error!r}")
    return found


def judge(backends, rows):
    """Every row at every backend."""
    reasons = {verdict.get("reason") for row in rows for verdict in row["verdicts"].values()}
    expected = {None, "no_token", "no_route", "malformed_request", "malformed_details", "unread_input", "subject_token_invalid", "subject_token_expired",
                "subject_token_not_for_client", "invalid_dpop_proof", "wider_than_subject", "insufficient_user_authentication", "overbroad_token"}
    claim(f"{len(rows)} requests in {len(MODES)} modes meet every reason that there is", len(rows) >= 150 and reasons == expected, reasons ^ expected)
    with concurrent.futures.ThreadPoolExecutor(4) as several:
        found = list(several.map(lambda each: differences(each, rows), backends))
    for each, different in zip(backends, found):
        claim(f"{each.kind} in mode {each.mode} decides {len(rows)} requests as the guard does", not different,
              "".join(f"\n        {line}" for line in [f"{len(different)} differ", *different[:30]]))


if __name__ == "__main__":
    sys.exit(main() > 0)
