"""Tasks that many redeem at once: on SQLite, and on PostgreSQL at two nodes, with kill -9 in between.

A task with one place has one winner, whichever node is asked; an attempt has one place however often it is delivered; and over a
kill no place is taken twice.
"""
import json
import random
import threading
import urllib.parse
import uuid

import ledger

TOGETHER = 64
EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"
TASK = "urn:narrows:params:oauth:token-type:task"
DETAILS = json.dumps([{"type": "ticket", "actions": ["read"], "identifier": "1"}])


class Broker(ledger.Broker):
    """The same, whose client may open tasks from tokens of its own."""

    def __init__(self, binary, store, nodes):
        super().__init__(binary, store, nodes)
        self.ids = {}
        text = self.config.read_text().replace('id   = "job"\n', 'id   = "job"\nreceives = ["https://job.internal"]\n')
        self.config.write_text(text + '[[audiences]]\nid      = "https://job.internal"\ndetails = ["ticket"]\n')
        rules = self.folder / "rules.cedar"
        rules.write_text(rules.read_text() + '@id("tasks") permit (principal, action == Action::"task", resource is Audience);\n')

    def post(self, connection, form):
        form = {"client_id": "job", "client_secret": ledger.SECRET, "authorization_details": DETAILS, **form}
        connection.request("POST", "/oauth2/token", urllib.parse.urlencode(form), {"content-type": "application/x-www-form-urlencoded"})
        response = connection.getresponse()
        return response.status, json.loads(response.read() or b"{}")

    def root(self, connection):
        return self.post(connection, {"grant_type": "client_credentials", "audience": "https://job.internal"})[1]["access_token"]

    def task(self, connection, root, most="1"):
        status, reply = self.post(connection, {
            "grant_type": EXCHANGE, "requested_token_type": TASK, "audience": "https://tickets.internal", "max_tokens": most,
            "subject_token": root, "subject_token_type": ACCESS_TOKEN})
        if status != 200:
            raise Refused(reply)
        self.ids[reply["access_token"]] = reply["task_id"]
        return reply["access_token"]

    def redeem(self, connection, task, attempt=None):
        form = {"grant_type": EXCHANGE, "audience": "https://tickets.internal", "subject_token": task, "subject_token_type": TASK}
        return self.post(connection, form | ({"attempt_id": attempt} if attempt else {}))


class Together:
    """Clients that ask at the same moment, each on a connection of its own to one of the nodes."""

    def __init__(self, broker):
        self.broker = broker
        self.connections = [ledger.connect(broker.ports[at % len(broker.ports)]) for at in range(TOGETHER)]

    def redeem(self, task, attempt):
        begin, answers = threading.Barrier(TOGETHER), [None] * TOGETHER

        def one(at):
            begin.wait(60)
            answers[at] = self.broker.redeem(self.connections[at], task, attempt(at))
        threads = [threading.Thread(target=one, args=[at]) for at in range(TOGETHER)]
        [thread.start() for thread in threads]
        [thread.join(120) for thread in threads]
        return answers


def until(works):
    for attempt in range(60):
        try:
            if works():
                return
        except (Refused, KeyError):
            ledger.time.sleep(0.5)
    raise SystemExit("the store does not come back")


class Refused(Exception):
    pass


def rounds(claim, name, broker, count):
    """Many at once, round after round."""
    broker.start()
    try:
        connection, together = ledger.connect(broker.ports[0]), Together(broker)
        wrong, odd = [], []
        for number in range(count):
            if number % 200 == 0:
                root = broker.root(connection)
            task = broker.task(connection, root)
            attempt = str(uuid.uuid4())
            same = number % 4 == 3
            answers = together.redeem(task, (lambda _: attempt) if same else (lambda _: None))
            won = sum(status == 200 for status, _ in answers)
            others = {reply.get("reason") for status, reply in answers if status != 200} - {"task_exhausted"}
            if won != (TOGETHER if same else 1):
                wrong.append((number, same, won))
            # However often it was delivered, it took the one place there was.
            status, reply = broker.redeem(connection, task)
            if same and (status, reply.get("reason")) != (400, "task_exhausted"):
                wrong.append((number, "a second place", reply))
            odd.extend(others)
        claim(f"{name}, {count} rounds of {TOGETHER} at once: one winner, and one place for one attempt", not wrong, wrong[:3])
        claim(f"{name}, {count} rounds: nobody is told anything else", not odd, odd[:3])
    finally:
        broker.kill()


def kills(claim, name, broker, count, seed):
    """The broker dies while tasks with one place are redeemed; nobody gets a second token of one."""
    chance, won, tasks, broker.ids = random.Random(seed), {}, [], {}
    for _ in range(count):
        broker.start()
        connection = ledger.connect(broker.ports[0])
        # A server may hold what a node had locked for a moment after its death; until then the answer is 503.
        until(lambda: broker.redeem(connection, broker.task(connection, broker.root(connection)))[0] == 200)
        root = broker.root(connection)
        fresh = [broker.task(connection, root) for _ in range(24)]
        # Those of the round before are tried again: what was taken before the kill is taken.
        shown = fresh + tasks
        stop = threading.Event()

        def work(worker):
            order = random.Random(f"{seed}-{worker}").sample(shown, len(shown))
            connection = ledger.connect(broker.ports[worker % len(broker.ports)])
            for task in order:
                if stop.is_set():
                    return
                try:
                    status, reply = broker.redeem(connection, task)
                except (OSError, ledger.http.client.HTTPException, ValueError):
                    return
                if status == 200:
                    won.setdefault(task, []).append(ledger.jti_of(reply["access_token"]))
        workers = [threading.Thread(target=work, args=[worker]) for worker in range(8)]
        [worker.start() for worker in workers]
        stop.wait(chance.uniform(0.005, 0.08))
        broker.kill()
        stop.set()
        [worker.join(60) for worker in workers]
        tasks = fresh
    twice = {task: tokens for task, tokens in won.items() if len(tokens) > 1}
    claim(f"{name}, {count} kills: tasks were redeemed", len(won) > count / 2, len(won))
    claim(f"{name}, {count} kills: no task with one place gave two tokens", not twice, list(twice.values())[:3])
    records = broker.records()
    placed = {record["jti"] for _, record in records if record.get("jti") and record["decision"] == "allow"}
    lost = [jti for tokens in won.values() for jti in tokens if jti not in placed]
    claim(f"{name}, {count} kills: each token has its record", not lost, lost[:3])
    taken = dict.fromkeys(broker.ids.values(), 0)
    for _, record in records:
        if record["kind"] == "exchange" and record["decision"] == "allow" and record.get("task") in taken:
            taken[record["task"]] += 1
    claim(f"{name}, {count} kills: no record says that a place was taken twice", max(taken.values()) == 1, taken)


def run(claim, binary, many, kill, seed):
    broker = Broker(binary, "sqlite:narrows.db", 1)
    try:
        rounds(claim, "SQLite", broker, many)
        kills(claim, "SQLite", broker, kill, seed)
    finally:
        broker.kill()
        ledger.shutil.rmtree(broker.folder, ignore_errors=True)
    server = ledger.Postgres()
    try:
        broker = Broker(binary, server.address, 2)
        try:
            rounds(claim, "PostgreSQL, two nodes", broker, many)
            kills(claim, "PostgreSQL, two nodes", broker, kill, seed)
        finally:
            broker.kill()
            ledger.shutil.rmtree(broker.folder, ignore_errors=True)
    finally:
        server.end()
