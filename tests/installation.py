"""An installation for a test: a folder with configuration, key and rules, and the broker that the binary runs there.

It needs no library, so that every test can use it."""
import base64
import hashlib
import http.client
import os
import pathlib
import random
import signal
import socket
import subprocess
import time

SECRET = "secret"
# The `auth` of a client that shows it.
SHOWS_SECRET = f'{{ method = "client_secret_post", secret_sha256 = "{hashlib.sha256(SECRET.encode()).hexdigest()}" }}'


# The kernel gives ports from here on to connections that go out, at any moment.
OUTGOING = int(pathlib.Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
given = set()


def free_port():
    """A port that nobody listens on, and that this program and the kernel give to nobody else."""
    while True:
        port = random.randrange(10_000, OUTGOING)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        if port not in given:
            given.add(port)
            return port


def until(what, ready, seconds=30):
    """What `ready` gives, once that is something; until then, an error is a no."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            if found := ready():
                return found
        except Exception:  # not there yet
            pass
        time.sleep(0.02)
    raise RuntimeError(f"not within {seconds} seconds: {what}")


class Installation:
    """Its nodes share one store; the first is where the issuer says."""

    def __init__(self, binary, folder, store="sqlite:narrows.db", nodes=1):
        self.binary, self.folder, self.processes = binary, folder, []
        self.ports = [free_port() for _ in range(nodes)]
        self.issuer = f"http://127.0.0.1:{self.ports[0]}"
        self.config = folder / "narrows.toml"
        self.head = (f'issuer = "{self.issuer}"\nlisten = "127.0.0.1:{self.ports[0]}"\nstore = "{store}"\npolicies = ["rules.cedar"]\n'
                     'key_file = "narrows.key"\n')
        (folder / "narrows.key").write_text(base64.b64encode(os.urandom(32)).decode())
        for port in self.ports[1:]:
            (folder / f"{port}.toml").write_text(f'listen = "127.0.0.1:{port}"\n')

    def write(self, tables, rules):
        """The configuration behind its first lines, and the one file of policies."""
        self.config.write_text(self.head + tables)
        (self.folder / "rules.cedar").write_text(rules)

    def command(self, *words, port=None):
        overlay = ["--config", str(self.folder / f"{port}.toml")] if port not in (None, self.ports[0]) else []
        return [self.binary, "--config", str(self.config), *overlay, *words]

    def run(self, *words, told=""):
        """What a verb prints; it must succeed."""
        return subprocess.run(self.command(*words), input=told, capture_output=True, text=True, timeout=60, check=True).stdout

    def serve(self, *before, log=subprocess.DEVNULL):
        """Starts every node, behind the words `before` of another program."""
        self.processes = [
            subprocess.Popen([*before, *self.command("serve", port=port)], stdout=subprocess.DEVNULL, stderr=log, start_new_session=True)
            for port in self.ports]

    def start(self, *before):
        """The same, and waits until all are ready."""
        with (self.folder / "log").open("a") as log:
            self.serve(*before, log=log)
        try:
            until("the broker is ready", self.is_ready)
        except RuntimeError as late:
            self.kill()
            raise SystemExit(f"{late}\n{(self.folder / 'log').read_text()[-2000:]}") from late

    def is_ready(self):
        if any(process.poll() is not None for process in self.processes):
            raise SystemExit(f"the broker did not start:\n{(self.folder / 'log').read_text()[-2000:]}")
        return all(self.says_ready(port) for port in self.ports)

    def says_ready(self, port):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            connection.request("GET", "/readyz")
            return connection.getresponse().status == 200
        finally:
            connection.close()

    def stop(self):
        """As an operator would: open requests finish."""
        for process in self.processes:
            process.poll() is None and process.terminate()
            process.wait(30)

    def kill(self):
        """As a power cut would."""
        for process in self.processes:
            process.poll() is None and os.killpg(process.pid, signal.SIGKILL)
            process.wait()
