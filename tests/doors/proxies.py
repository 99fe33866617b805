"""The real proxies, each with what `narrows snippet` prints for it, to the letter."""
import os
import pathlib
import signal
import socket
import subprocess
import sys

import yaml

import istio
from installation import until

PROGRAMS = pathlib.Path(sys.executable).parent


class Proxy:
    def __init__(self, name, narrows, folder):
        self.name, self.port, self.folder = name, narrows.origins[name], folder / name
        self.folder.mkdir()
        command = getattr(self, name)(narrows.snippet(name, name))
        environment = {**os.environ, "HOME": str(self.folder), "XDG_DATA_HOME": str(self.folder), "XDG_CONFIG_HOME": str(self.folder)}
        self.process = subprocess.Popen(command, cwd=self.folder, stdout=(self.folder / "log").open("w"), stderr=subprocess.STDOUT,
                                        env=environment, start_new_session=True)
        try:
            until(f"{name} listens", lambda: socket.create_connection(("127.0.0.1", self.port), 1).close() or True, 60)
        except RuntimeError as late:
            self.stop()
            raise RuntimeError(f"{late}\n{(self.folder / 'log').read_text()[-2000:]}") from late

    def nginx(self, snippet):
        (self.folder / "narrows.conf").write_text(snippet)
        places = "".join(f"{kind}_temp_path {kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        # As in Debian: the snippet is one of the files that the `http` block includes.
        (self.folder / "nginx.conf").write_text(
            f"daemon off;\npid pid;\nerror_log stderr;\nworker_processes 2;\n{'user root;' if os.getuid() == 0 else ''}\n"
            f"events {{}}\nhttp {{\naccess_log off;\n{places}include narrows.conf;\n}}\n")
        return ["/usr/sbin/nginx", "-p", str(self.folder), "-e", "stderr", "-c", "nginx.conf"]

    def traefik(self, snippet):
        static, dynamic = snippet.split("\n---\n")
        (self.folder / "traefik.yaml").write_text(static)
        (self.folder / "narrows.yaml").write_text(dynamic)
        return [str(PROGRAMS / "traefik"), "--configfile=traefik.yaml"]

    def caddy(self, snippet):
        (self.folder / "Caddyfile").write_text(snippet)
        return [str(PROGRAMS / "caddy"), "run", "--config", "Caddyfile", "--adapter", "caddyfile"]

    def envoy(self, snippet):
        (self.folder / "envoy.yaml").write_text(snippet)
        return [str(PROGRAMS / "envoy"), "-c", "envoy.yaml", "--concurrency", "1", "--use-dynamic-base-id"]

    def istio(self, snippet):
        (self.folder / "envoy.yaml").write_text(yaml.safe_dump(istio.envoy(snippet, self.port)))
        return [str(PROGRAMS / "envoy"), "-c", "envoy.yaml", "--concurrency", "1", "--use-dynamic-base-id"]

    def stop(self):
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGTERM)
            try:
                self.process.wait(15)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait(15)
