"""A backend with FastAPI: it says who asks, and what it was sent."""
import socket

import uvicorn
from fastapi import FastAPI, Request

from narrows_guard import Narrows

app = FastAPI()
app.add_middleware(Narrows)


@app.api_route("/{path:path}", methods=["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
async def served(request: Request):
    caller = request.state.narrows
    said = {"subject": caller.subject, "route": caller.route} if caller else {}
    return {**said, "length": len(await request.body())}


listener = socket.socket()
listener.bind(("127.0.0.1", 0))
listener.listen(64)
print(listener.getsockname()[1], flush=True)
uvicorn.Server(uvicorn.Config(app, log_level="warning")).run(sockets=[listener])
