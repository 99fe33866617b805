"""Rounds of kill -9 on both engines, with a ledger kept outside of the broker.

The ledger holds what clients were given: the id of each token, each assertion that was taken, and each token whose end an
operator was told. Afterwards the store must agree: no token without a record, no assertion taken twice however often it is
shown and to whichever node, no token alive whose end was acknowledged, no gap in the log. On PostgreSQL two nodes share the database, and in every third round the server itself is stopped as a crash would stop
it: requests answer 503 with Retry-After meanwhile, and both nodes come back without a restart.
"""
import base64
import http.client
import json
import pathlib
import random
import shutil
import subprocess
import tempfile
import threading
import time
import urllib.parse
import uuid

from installation import SECRET, SHOWS_SECRET, Installation, until

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
BY_SECRET, BY_ASSERTION = 4, 2
ASSERTIONS = 24
# So many tokens are ended in a round, while others are asked for.
ENDED = 12


def encode(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Client:
    """A client with a key: openssl signs, so that no library is needed."""

    def __init__(self, folder):
        self.key = folder / "client.pem"
        subprocess.run(["openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", str(self.key)], check=True)
        der = subprocess.run(["openssl", "ec", "-in", str(self.key), "-pubout", "-outform", "DER"], check=True, capture_output=True).stdout
        x, y = der[-64:-32], der[-32:]
        jwk = {"kty": "EC", "crv": "P-256", "x": encode(x), "y": encode(y), "kid": "c", "alg": "ES256", "use": "sig"}
        (folder / "client.jwks.json").write_text(json.dumps({"keys": [jwk]}))

    def assertion(self, issuer):
        now = int(time.time())
        claims = {"iss": "signed", "sub": "signed", "aud": issuer, "iat": now, "exp": now + 290, "jti": str(uuid.uuid4())}
        parts = [{"typ": "client-authentication+jwt", "alg": "ES256", "kid": "c"}, claims]
        text = ".".join(encode(json.dumps(part).encode()) for part in parts)
        der = subprocess.run(["openssl", "dgst", "-sha256", "-sign", str(self.key)], input=text.encode(), check=True, capture_output=True).stdout
        numbers, at = [], 2
        for _ in range(2):
            size = der[at + 1]
            numbers.append(der[at + 2:at + 2 + size].lstrip(b"\0").rjust(32, b"\0"))
            at += 2 + size
        return text + "." + encode(b"".join(numbers))


class Postgres:
    """A server of its own, which may be stopped and started."""

    def __init__(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="narrows-faults-pg-", dir="/tmp"))
        self.folder.rmdir()
        self.address = self.run("start")
        self.address = self.address.strip()

    def run(self, *words):
        done = subprocess.run([ROOT / "scripts/postgres", words[0], self.folder, *words[1:]], check=True, capture_output=True, text=True)
        return done.stdout

    def crash(self):
        self.run("stop", "--immediate")

    def start(self):
        self.run("start")

    def end(self):
        self.run("stop", "--immediate")
        shutil.rmtree(self.folder, ignore_errors=True)


TABLES = f"""
[limits]
requests_per_second = {{ per_client = 100000, per_address = 100000 }}
[[clients]]
id   = "job"
auth = {SHOWS_SECRET}
[[clients]]
id   = "signed"
auth = {{ method = "private_key_jwt", jwks_file = "client.jwks.json" }}
[[audiences]]
id      = "https://tickets.internal"
details = ["ticket"]
[[detail_types]]
type    = "ticket"
actions = ["read"]
"""

RULES = '@id("jobs-read") permit (principal, action == Action::"ticket:read", resource is Detail::Ticket);\n'


class Broker(Installation):
    """The nodes of one broker."""

    def __init__(self, binary, store, nodes):
        super().__init__(binary, pathlib.Path(tempfile.mkdtemp(prefix="narrows-faults-")), store, nodes)
        self.client = Client(self.folder)
        self.write(TABLES, RULES)
        self.operator = json.loads(self.run("operator", "add", "ledger", "--role", "admin", "--json"))["token"]

    def start(self):
        """Readiness is what a client sees: a token."""
        self.serve()
        for port in self.ports:
            if not self.answers(port, 30):
                self.kill()
                raise SystemExit("a node did not start")

    def answers(self, port, seconds):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            try:
                if self.ask(connect(port), ticket=1)[0] == 200:
                    return True
            except (OSError, http.client.HTTPException, ValueError):
                pass
            time.sleep(0.02)
        return False

    def ask(self, connection, ticket, assertion=None):
        form = {
            "grant_type": "client_credentials", "audience": "https://tickets.internal",
            "authorization_details": json.dumps([{"type": "ticket", "actions": ["read"], "identifier": str(ticket)}]),
        }
        if assertion is None:
            form |= {"client_id": "job", "client_secret": SECRET}
        else:
            form |= {"client_assertion": assertion, "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"}
        connection.request("POST", "/oauth2/token", urllib.parse.urlencode(form), {"content-type": "application/x-www-form-urlencoded"})
        response = connection.getresponse()
        body = json.loads(response.read() or b"{}")
        return response.status, body, response.headers.get("retry-after")

    def end(self, connection, jti):
        headers = {"content-type": "application/json", "authorization": f"Bearer {self.operator}"}
        connection.request("POST", "/v1/revocations", json.dumps({"jti": jti}), headers)
        response = connection.getresponse()
        return response.status, json.loads(response.read() or b"{}"), response.headers.get("retry-after")

    def is_active(self, connection, token):
        form = {"client_id": "job", "client_secret": SECRET, "token": token}
        connection.request("POST", "/oauth2/introspect", urllib.parse.urlencode(form), {"content-type": "application/x-www-form-urlencoded"})
        return json.loads(connection.getresponse().read())["active"]

    def records(self):
        """What the store says, read by a program of its own: the store is readable."""
        copy = self.folder / "copy"
        copy.unlink(missing_ok=True)
        self.run("backup", str(copy))
        rows = (json.loads(line) for line in copy.read_text().splitlines() if line.startswith("["))
        return [(row[1], json.loads(row[2])) for row in rows if row[0] == "records"]


def connect(port):
    return http.client.HTTPConnection("127.0.0.1", port, timeout=15)


def jti_of(token):
    payload = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))["jti"]


class Ledger:
    def __init__(self):
        self.lock = threading.Lock()
        self.tokens, self.taken, self.shown, self.answers, self.strange = [], {}, [], set(), []
        # Tokens to end, and those whose end was acknowledged, each with its id.
        self.alive, self.ended = [], {}

    def note(self, status, body, retry_after, assertion=None):
        with self.lock:
            self.answers.add(status)
            if status == 200:
                self.tokens.append(jti_of(body["access_token"]))
                if assertion is None:
                    self.alive.append(body["access_token"])
                else:
                    self.taken[assertion] = self.taken.get(assertion, 0) + 1
            # The only other answer that anybody may get: to an assertion that was used, or while the store is away.
            is_away = status == 503 and body.get("error") == "temporarily_unavailable" and retry_after is not None
            is_used = status == 401 and assertion is not None
            if not (status == 200 or is_away or is_used):
                self.strange.append((status, body))


def load(broker, ledger, assertions):
    """Threads that ask until their node is gone: by secret, and by assertions, each of which is shown to a node at random.
    One ends tokens meanwhile."""
    waiting, lock, chance = list(assertions), threading.Lock(), random.Random()

    def by_secret(port):
        connection = connect(port)
        for ticket in range(100_000):
            ledger.note(*broker.ask(connection, ticket))

    def by_assertion(port):
        while True:
            with lock:
                if not waiting:
                    return
                # Not taken off: the next may show the same one, at the same time, to another node.
                assertion = waiting.pop() if chance.random() < 0.5 else waiting[-1]
                ledger.shown.append(assertion)
            ledger.note(*broker.ask(connect(port), 7, assertion), assertion)

    def by_ending(port):
        connection, ended = connect(port), 0
        while ended < ENDED:
            with ledger.lock:
                token = ledger.alive.pop() if ledger.alive else None
            if token is None:
                time.sleep(0.001)
                continue
            status, body, retry_after = broker.end(connection, jti_of(token))
            with ledger.lock:
                if status == 201:
                    ledger.ended[token] = body["seq"]
                    ended += 1
                elif not (status == 503 and body.get("reason") == "store_unavailable" and retry_after):
                    ledger.strange.append((status, body))

    def until_gone(work, port):
        try:
            work(port)
        except (OSError, http.client.HTTPException, ValueError):
            return

    kinds = [by_secret] * BY_SECRET + [by_assertion] * BY_ASSERTION + [by_ending]
    threads = [threading.Thread(target=until_gone, args=(work, broker.ports[at % len(broker.ports)])) for at, work in enumerate(kinds)]
    for thread in threads:
        thread.start()
    return threads


def wait(seconds):
    # When the blow falls is chance; nothing is concluded from how long it took.
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        time.sleep(0.001)


def rounds(claim, binary, count, seed, engine):
    chance, ledger = random.Random(seed), Ledger()
    postgres = Postgres() if engine == "PostgreSQL" else None
    broker = Broker(binary, postgres.address if postgres else "sqlite:narrows.db", 2 if postgres else 1)
    came_back = crashes = refused_meanwhile = 0
    try:
        for at in range(count):
            broker.start()
            # What was shown before the last blow is shown again, twice and to every node.
            with ledger.lock:
                again, ledger.shown = sorted(set(ledger.shown)), []
            for assertion in again:
                for port in broker.ports * 2:
                    ledger.note(*broker.ask(connect(port), 7, assertion), assertion)
            before = len(ledger.tokens)
            threads = load(broker, ledger, [broker.client.assertion(broker.issuer) for _ in range(ASSERTIONS)])
            if at % 4:  # every fourth blow may fall before the first reply, the others do not, however slow the machine is
                until("a token of this round", lambda before=before: len(ledger.tokens) > before)
            wait(chance.uniform(0.01, 0.25))
            if postgres and at % 3 == 2:
                postgres.crash()
                crashes += 1
                meanwhile = [broker.ask(connect(port), 3) for port in broker.ports]
                refused_meanwhile += all(
                    status == 503 and body["reason"] == "store_unavailable" and retry for status, body, retry in meanwhile)
                postgres.start()
                came_back += all(broker.answers(port, 30) for port in broker.ports)
                wait(chance.uniform(0.01, 0.1))
            broker.kill()
            for thread in threads:
                thread.join()
        broker.start()
        other = broker.ask(connect(broker.ports[0]), 9)[1]["access_token"]
        connections = [connect(port) for port in broker.ports]
        survivors = [token for token in ledger.ended for connection in connections if broker.is_active(connection, token)]
        spared = [connection for connection in connections if broker.is_active(connection, other)]
        records = broker.records()
        by_place = dict(records)
        misplaced = [seq for seq in ledger.ended.values() if by_place.get(seq, {}).get("kind") != "revocation"]
        recorded = {record.get("jti") for _, record in records if record["decision"] == "allow"}
        missing = [jti for jti in ledger.tokens if jti not in recorded]
        twice = [assertion for assertion, times in ledger.taken.items() if times > 1]
        name = f"{engine}, {count} kills"
        claim(f"{name}: tokens were handed out, and assertions taken", len(ledger.tokens) > count and len(ledger.taken) > count,
              f"{len(ledger.tokens)} tokens, {len(ledger.taken)} assertions")
        claim(f"{name}: each of {len(ledger.tokens)} tokens has its record", not missing, f"seed {seed}: {len(missing)} without")
        claim(f"{name}: each of {len(ledger.taken)} assertions was taken once", not twice, f"seed {seed}: {len(twice)} twice")
        claim(f"{name}: each of {len(ledger.ended)} tokens whose end was acknowledged is dead at every node, and others live",
              len(ledger.ended) > count and not survivors and len(spared) == len(connections),
              f"seed {seed}: {len(survivors)} alive, {len(spared)} others")
        claim(f"{name}: each of them has its record where the answer said", not misplaced, f"seed {seed}: {misplaced[:3]}")
        claim(f"{name}: no two tokens have one id", len(set(ledger.tokens)) == len(ledger.tokens))
        claim(f"{name}: the log of {len(records)} records has no gap and no fork",
              [(index, record["index"]) for index, record in records] == [(at, at) for at in range(len(records))])
        claim(f"{name}: nothing else was answered", not ledger.strange, str(ledger.strange[:3]))
        if postgres:
            claim(f"{name}: while the server was away {crashes} times, each node answered store_unavailable with Retry-After",
                  refused_meanwhile == crashes, f"{refused_meanwhile} times")
            claim(f"{name}: both nodes came back without a restart", came_back == crashes, f"{came_back} of {crashes} times")
    finally:
        broker.kill()
        shutil.rmtree(broker.folder, ignore_errors=True)
        if postgres:
            postgres.end()


def run(claim, binary, count, seed):
    for engine in ("SQLite", "PostgreSQL"):
        rounds(claim, binary, count, seed, engine)
