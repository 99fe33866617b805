"""Work for later in PostgreSQL, RabbitMQ and NATS: each delivers at least once, and each job is decided again when it runs.

In every queue the same is played: jobs are put in with a deferred task; a worker dies between its token and its acknowledgement,
and the redelivery gets its token again; a message under another payload and a second message of one task get none; the person is
disabled by a signed event of their identity provider while a job waits, and the job is told `subject_disabled`.
"""
import asyncio
import glob
import hashlib
import json
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import uuid

import nats
import pika
import psycopg
import requests
from installation import SECRET, SHOWS_SECRET, Installation, free_port, until
from joserfc import jwt
from joserfc.jwk import ECKey
from nats.js.api import ConsumerConfig

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
BINARY = str(pathlib.Path(sys.argv[1]).resolve())
CORP = "https://login.corp.example"
TASK = "urn:narrows:params:oauth:token-type:task"
EXPORT = [{"type": "order", "actions": ["export"], "identifier": "7"}]
passed = failed = 0


def claim(name, holds, seen=""):
    global passed, failed
    passed, failed = passed + bool(holds), failed + (not holds)
    print(f"{'ok    ' if holds else 'not ok'}  {name}{'' if holds else f': {seen}'}", flush=True)


TABLES = f"""
[[trusted_issuers]]
name       = "corp"
issuer     = "{CORP}"
jwks_file  = "corp.jwks.json"
audiences  = ["https://edge.example"]
exchangers = ["front"]
[[clients]]
id        = "front"
auth      = {SHOWS_SECRET}
delegates = ["worker"]
[[clients]]
id   = "worker"
auth = {SHOWS_SECRET}
[[audiences]]
id      = "https://orders.internal"
details = ["order"]
[[detail_types]]
type    = "order"
actions = ["export"]
[[scopes]]
name    = "shop"
details = ["order:export"]
"""

RULES = """
@id("front-queues") permit (principal == Workload::"front", action in [Action::"task", Action::"defer"], resource is Audience);
@id("exports") permit (principal, action == Action::"order:export", resource is Detail::Order) when { context has task };
"""


class Narrows(Installation):
    """A broker whose `front` puts jobs in for `worker`, and the identity provider of its people."""

    def __init__(self, binary, folder):
        super().__init__(binary, folder)
        self.key = ECKey.generate_key("P-256", {"kid": "corp-1", "alg": "ES256", "use": "sig"})
        (folder / "corp.jwks.json").write_text(json.dumps({"keys": [self.key.as_dict(private=False)]}))
        self.write(TABLES, RULES)
        self.start()

    def signed(self, typ, claims):
        now = int(time.time())
        every = {"iss": CORP, "iat": now, "jti": str(uuid.uuid4())}
        return jwt.encode({"alg": "ES256", "kid": "corp-1", "typ": typ}, {**every, **claims}, self.key)

    def person(self, sub):
        claims = {"sub": sub, "aud": "https://edge.example", "exp": int(time.time()) + 60, "scope": "shop", "client_id": "web"}
        return self.signed("at+jwt", claims)

    def ask(self, client, form):
        asked = {"client_id": client, "client_secret": SECRET, "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
                 "audience": "https://orders.internal", "authorization_details": json.dumps(EXPORT), **form}
        return requests.post(f"{self.issuer}/oauth2/token", data=asked, timeout=30).json()

    def job(self, sub, payload):
        """What goes into the queue: a payload, and a task that is worth nothing to anybody but the worker."""
        opened = self.ask("front", {
            "requested_token_type": TASK, "subject_token": self.person(sub), "deferred": "true", "actor": "worker", "expires_in": "3600",
            "subject_token_type": "urn:ietf:params:oauth:token-type:access_token",
            "payload_sha256": hashlib.sha256(payload.encode()).hexdigest()})
        return {"task": opened["access_token"], "id": opened["task_id"], "payload": payload}

    def work(self, job, attempt):
        """What the worker is told when it runs a job."""
        return self.ask("worker", {
            "subject_token": job["task"], "subject_token_type": TASK, "attempt_id": attempt,
            "payload_sha256": hashlib.sha256(job["payload"].encode()).hexdigest()})

    def done(self, job):
        complete = f"{self.issuer}/v1/tasks/{job['id']}/complete"
        return requests.post(complete, headers={"Authorization": f"Bearer {job['task']}"}, timeout=30).status_code

    def disable(self, sub):
        """The identity provider's own word, pushed (RFC 8935)."""
        risc = "https://schemas.openid.net/secevent/risc/event-type/account-disabled"
        subject = {"format": "iss_sub", "iss": CORP, "sub": sub}
        event = self.signed("secevent+jwt", {"aud": self.issuer, "sub_id": subject, "events": {risc: {"subject": subject}}})
        sent = requests.post(f"{self.issuer}/v1/events", data=event, headers={"Content-Type": "application/secevent+jwt"}, timeout=30)
        return sent.status_code

    def why(self, decision):
        return self.run("why", decision)


def play(name, narrows, queue):
    """`queue` puts messages in and takes them out: `take` gives (message, attempt, settle), where settle("done") acknowledges and
    settle("died") is a worker that is gone."""
    sub = f"alice-{name}"

    # 1. A worker dies after it got its token; the redelivery gets one, and a second message of the same task none.
    job = narrows.job(sub, "export 7")
    queue.put(job)
    message, attempt, settle = queue.take()
    first = narrows.work(message, attempt)
    settle("died")
    message, again, settle = queue.take()
    second = narrows.work(message, again)
    claim(f"{name}: a job whose worker died is delivered again and gets its token", "access_token" in first and "access_token" in second, second)
    claim(f"{name}: the redelivery is the same attempt", attempt == again, (attempt, again))
    queue.put(job)
    settle("done")
    message, twin, settle = queue.take()
    third = narrows.work(message, twin)
    claim(f"{name}: a second message of one task gets no token", third.get("reason") == "task_exhausted", third)
    settle("done")
    claim(f"{name}: the worker says that it is done", narrows.done(job) == 200)
    claim(f"{name}: after that it is over", narrows.work(job, attempt).get("reason") == "task_completed")

    # 2. Another payload under the task.
    job = narrows.job(sub, "export 7")
    queue.put({**job, "payload": "export everything"})
    message, attempt, settle = queue.take()
    told = narrows.work(message, attempt)
    claim(f"{name}: another payload gets no token", told.get("reason") == "task_payload_mismatch", told)
    settle("done")

    # 3. The person is disabled while the job waits.
    queue.put(narrows.job(sub, "export 8"))
    claim(f"{name}: the provider's event is taken", (status := narrows.disable(sub)) == 202, status)
    message, attempt, settle = queue.take()
    told = narrows.work(message, attempt)
    claim(f"{name}: the job of a person who was disabled is told so", told.get("reason") == "subject_disabled", told)
    story = narrows.why(told.get("decision_id", ""))
    claim(f"{name}: why tells it", "subject_disabled" in story and sub in story and message["id"] in story, story)
    settle("done")


class Postgres:
    def __init__(self, folder):
        self.folder = folder / "postgres"
        address = subprocess.run([ROOT / "scripts/postgres", "start", self.folder], check=True, capture_output=True, text=True).stdout.strip()
        self.database = psycopg.connect(address.replace("postgres://", "postgresql://"), autocommit=True)
        self.database.execute("CREATE TABLE jobs (id BIGSERIAL PRIMARY KEY, message JSONB NOT NULL, taken_until TIMESTAMPTZ, done_at TIMESTAMPTZ)")

    def put(self, job):
        self.database.execute("INSERT INTO jobs (message) VALUES (%s)", [json.dumps(job)])

    def take(self):
        take = """UPDATE jobs SET taken_until = now() + interval '1 minute' WHERE id = (
                      SELECT id FROM jobs WHERE done_at IS NULL AND (taken_until IS NULL OR taken_until < now())
                      ORDER BY id FOR UPDATE SKIP LOCKED LIMIT 1) RETURNING id, message"""
        job, message = until("a row", lambda: self.database.execute(take).fetchone(), 60)

        def settle(how):
            # A worker that is gone says nothing; that its minute is over is what the queue sees of it.
            said = "done_at = now()" if how == "done" else "taken_until = now() - interval '1 second'"
            self.database.execute(f"UPDATE jobs SET {said} WHERE id = %s", [job])
        return message, str(job), settle

    def stop(self):
        self.database.close()
        subprocess.run([ROOT / "scripts/postgres", "stop", self.folder], check=True, capture_output=True)


class RabbitMQ:
    def __init__(self, folder):
        self.folder, self.port = folder / "rabbitmq", free_port()
        self.folder.mkdir()
        program = sorted(glob.glob("/usr/lib/rabbitmq/lib/*/sbin/rabbitmq-server"))[-1]
        loopback = "-kernel inet_dist_use_interface {127,0,0,1}"
        environment = {
            **os.environ, "HOME": str(self.folder), "RABBITMQ_NODENAME": f"narrows-{self.port}@localhost", "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1", "RABBITMQ_DIST_PORT": str(free_port()), "ERL_EPMD_PORT": str(free_port()),
            "ERL_EPMD_ADDRESS": "127.0.0.1", "RABBITMQ_MNESIA_BASE": str(self.folder / "data"), "RABBITMQ_LOG_BASE": str(self.folder / "log"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.folder / "plugins"), "RABBITMQ_CONFIG_FILE": str(self.folder / "none"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": loopback, "RABBITMQ_CONF_ENV_FILE": str(self.folder / "env")}
        (self.folder / "plugins").write_text("[].")
        (self.folder / "env").write_text("")
        self.environment = environment
        self.process = subprocess.Popen([program], env=environment, stdout=(self.folder / "out").open("w"), stderr=subprocess.STDOUT,
                                        start_new_session=True)
        try:
            self.connection = until("RabbitMQ", self.connect, 120)
            self.channel = self.open(self.connection)
        except Exception:
            print((self.folder / "out").read_text(errors="replace")[-4000:])
            self.end()
            raise

    def connect(self):
        return pika.BlockingConnection(pika.ConnectionParameters("127.0.0.1", self.port, heartbeat=0))

    @staticmethod
    def open(connection):
        channel = connection.channel()
        channel.queue_declare("jobs", durable=True)
        channel.confirm_delivery()
        return channel

    def put(self, job):
        properties = pika.BasicProperties(message_id=str(uuid.uuid4()), delivery_mode=2)
        self.channel.basic_publish("", "jobs", json.dumps(job), properties, mandatory=True)

    def take(self):
        # Each delivery has a connection of its own, which a worker that dies takes with it.
        connection = self.connect()
        channel = self.open(connection)
        channel.basic_qos(prefetch_count=1)

        def get():
            method, properties, body = channel.basic_get("jobs", auto_ack=False)
            return method and (method, properties, body)
        method, properties, body = until("a message", get, 60)

        def settle(how):
            if how == "done":
                channel.basic_ack(method.delivery_tag)
            connection.close()
        return json.loads(body), properties.message_id, settle

    def stop(self):
        self.connection.close()
        self.end()

    def end(self):
        self.process.poll() is None and os.killpg(self.process.pid, 15)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, 9)
        # The port mapper of Erlang outlives what it maps.
        for program in glob.glob("/usr/lib/erlang/erts-*/bin/epmd"):
            subprocess.run([program, "-kill"], env=self.environment, capture_output=True)


class Nats:
    def __init__(self, folder):
        self.port, self.loop = free_port(), asyncio.new_event_loop()
        command = ["nats-server", "--addr", "127.0.0.1", "--port", str(self.port), "--jetstream", "--store_dir", str(folder / "nats")]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until("NATS", lambda: socket.create_connection(("127.0.0.1", self.port), 1), 60)
        self.loop.run_until_complete(self.begin())

    async def begin(self):
        self.connection = await nats.connect(f"nats://127.0.0.1:{self.port}")
        self.stream = self.connection.jetstream()
        await self.stream.add_stream(name="jobs", subjects=["jobs"])
        self.consumer = await self.stream.pull_subscribe("jobs", "worker", config=ConsumerConfig(ack_wait=2, ack_policy="explicit"))

    def put(self, job):
        headers = {"Nats-Msg-Id": str(uuid.uuid4())}
        self.loop.run_until_complete(self.stream.publish("jobs", json.dumps(job).encode(), headers=headers))

    def take(self):
        # A worker that is gone says nothing: the server delivers again when its patience is over.
        message, = self.loop.run_until_complete(self.consumer.fetch(1, timeout=30))

        def settle(how):
            if how == "done":
                self.loop.run_until_complete(message.ack_sync())
        return json.loads(message.data), str(message.metadata.sequence.stream), settle

    def stop(self):
        self.loop.run_until_complete(self.connection.close())
        self.process.terminate()
        self.process.wait(30)


def main():
    folder = pathlib.Path(tempfile.mkdtemp(prefix="narrows-queues-"))
    folder.chmod(0o755)
    narrows = None
    try:
        narrows = Narrows(BINARY, folder)
        for kind in (Postgres, RabbitMQ, Nats):
            name = kind.__name__
            try:
                queue = kind(folder)
                try:
                    play(name, narrows, queue)
                finally:
                    queue.stop()
            except Exception as error:
                claim(f"{name} is played to its end", False, repr(error))
    finally:
        if narrows:
            narrows.stop()
        shutil.rmtree(folder, ignore_errors=True)
    print(f"queues: {passed} passed, {failed} failed")
    sys.exit(failed > 0 or passed == 0)


if __name__ == "__main__":
    main()
