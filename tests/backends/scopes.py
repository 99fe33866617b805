"""What an application with FastAPI gets beside requests to its root: WebSockets, and paths below a `root_path` or a mount."""
import asyncio

from fastapi import FastAPI, WebSocket

from narrows_guard import Narrows


def application(**settings):
    app = FastAPI(**settings)

    @app.get("/{path:path}")
    async def served():
        return "served"

    @app.websocket("/{path:path}")
    async def talked(socket: WebSocket):
        await socket.accept()

    return app


async def told(app, kind, path, **more):
    """The types of what is sent back, and the status."""
    messages = []
    first = {"http": {"type": "http.request", "body": b"", "more_body": False}, "websocket": {"type": "websocket.connect"}}[kind]
    scope = {"type": kind, "method": "GET", "path": path, "raw_path": path.encode(), "query_string": b"", "http_version": "1.1",
             "headers": [(b"host", b"tickets.internal")], "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 2), "subprotocols": [], **more}
    left = [first]

    async def receive():
        return left.pop() if left else {"type": f"{kind}.disconnect", "code": 1000}

    async def send(message):
        messages.append(message)

    await app(scope, receive, send)
    return [message["type"] for message in messages], messages[0].get("status")


async def main():
    whole = application()
    whole.add_middleware(Narrows)
    below = application(root_path="/api")
    below.add_middleware(Narrows)
    part, outer = application(), FastAPI()
    part.add_middleware(Narrows)
    outer.mount("/tickets", part)
    for app, path, more, status in [
        (whole, "/healthz", {}, 200), (whole, "/tickets/7", {}, 401), (whole, "/x", {}, 403),
        # The server puts its root path before the path, and the application takes it off.
        (whole, "/api/tickets/7", {"root_path": "/api"}, 401), (whole, "/api/healthz", {"root_path": "/api"}, 200),
        (whole, "/healthz/tickets/7", {"root_path": "/healthz"}, 401), (whole, "/api/healthz", {}, 403),
        (below, "/api/tickets/7", {}, 401), (below, "/tickets/7", {}, 401), (below, "/api/healthz", {}, 200), (below, "/apiary/healthz", {}, 403),
        # What is mounted sees the whole path.
        (outer, "/tickets/7", {}, 401), (outer, "/tickets/healthz", {}, 401), (outer, "/tickets/tickets/7", {}, 403),
    ]:
        seen = await told(app, "http", path, **more)
        assert seen[1] == status, (path, more, status, seen)
    for app, path in ((whole, "/healthz"), (whole, "/tickets/7"), (outer, "/tickets/7")):
        seen = await told(app, "websocket", path)
        assert seen[0] == ["websocket.close"], (path, seen)


asyncio.run(main())
