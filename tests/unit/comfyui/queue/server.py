"""The queue of a ComfyUI in this process, with variants that misbehave."""

import asyncio
import itertools
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer
from typing_extensions import override

GRAPH = {"1": {"class_type": "StandInSleep", "inputs": {"seconds": 60}}}


class QueueServer:
    """Holds a queue that nobody works on; a test moves its prompts by hand.

    `posts` are the bodies that were submitted, in order.
    """

    def __init__(self) -> None:
        self.running: list[list[Any]] = []
        self.waiting: list[list[Any]] = []
        self.history: dict[str, Any] = {}
        self.hidden: dict[str, Any] = {}
        self.posts: list[dict[str, Any]] = []
        self.looks = 0
        self._sockets: set[web.WebSocketResponse] = set()
        self._numbers = itertools.count()
        app = web.Application()
        app.router.add_get("/ws", self.ws)
        app.router.add_get("/queue", self.get_queue)
        app.router.add_post("/queue", self.post_queue)
        app.router.add_post("/prompt", self.post_prompt)
        app.router.add_get("/history", self.get_last)
        app.router.add_get("/history/{id}", self.get_history)
        app.router.add_get("/object_info/{class_type}", self.get_object_info)
        self._server = TestServer(app)

    async def listen(self) -> None:
        await self._server.start_server()

    async def close(self) -> None:
        # Some turns of the loop: asyncio (3.11) leaks what it has accepted and not yet handed on.
        for _ in range(5):
            await asyncio.sleep(0)
        await self._server.close()

    @property
    def url(self) -> str:
        return str(self._server.make_url("")).rstrip("/")

    @property
    def ids(self) -> list[str]:
        return [each[1] for each in self.waiting]

    # ---- what a test does

    def add(self, *ids: str, extra_data: dict[str, Any] | None = None) -> None:
        """Add waiting prompts without a message."""
        for prompt_id in ids:
            data = {"client_id": "c", **(extra_data or {})}
            self.waiting.append([next(self._numbers), prompt_id, GRAPH, data, ["1"]])

    def take(self) -> None:
        self.running.append(self.waiting.pop(0))

    def finish(self, error: str = "") -> None:
        done = self.running.pop()
        messages = [["execution_start", {"prompt_id": done[1]}]]
        if error:
            messages.append(["execution_error", {"exception_message": error}])
        status = {"status_str": "error" if error else "success", "messages": messages}
        self.history[done[1]] = {"prompt": done, "status": status}

    async def hang_up(self) -> None:
        """Close all websockets, as an exit does."""
        for socket in tuple(self._sockets):
            await socket.close()

    async def tell(self, depth: int | None = None) -> None:
        """Report to all clients a change to that number of running or waiting prompts."""
        if depth is None:
            depth = len(self.running) + len(self.waiting)
        message = {
            "type": "status",
            "data": {"status": {"exec_info": {"queue_remaining": depth}}},
        }
        for socket in self._sockets:
            await socket.send_json({"type": "progress", "data": {"value": 1}})
            await socket.send_bytes(b"preview")
            await socket.send_json(message)

    # ---- what it answers

    async def ws(self, request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        self._sockets.add(socket)
        await self.tell()
        async for _ in socket:
            pass
        self._sockets.discard(socket)
        return socket

    async def get_queue(self, request: web.Request) -> web.StreamResponse:
        self.looks += 1
        return web.json_response({"queue_running": self.running, "queue_pending": self.waiting})

    async def post_queue(self, request: web.Request) -> web.StreamResponse:
        gone = (await request.json())["delete"]
        self.waiting = [each for each in self.waiting if each[1] not in gone]
        await self.tell()
        return web.Response()

    async def post_prompt(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.posts.append(body)
        self.add(body["prompt_id"])
        await self.tell()
        return web.json_response({"prompt_id": body["prompt_id"], "number": 7, "node_errors": {}})

    async def get_history(self, request: web.Request) -> web.StreamResponse:
        prompt_id = request.match_info["id"]
        found = self.history.get(prompt_id)
        return web.json_response({prompt_id: found} if found else {})

    async def get_last(self, request: web.Request) -> web.StreamResponse:
        number = int(request.query["max_items"])
        return web.json_response(dict(list(self.history.items())[-number:]))

    async def get_object_info(self, request: web.Request) -> web.StreamResponse:
        info = {"input": {"required": {}, "hidden": self.hidden}}
        return web.json_response({request.match_info["class_type"]: info})


class OldServer(QueueServer):
    """Has no websocket."""

    @override
    async def ws(self, request: web.Request) -> web.StreamResponse:
        raise web.HTTPNotFound


class RefusingServer(QueueServer):
    """Refuses prompts named `bad`."""

    @override
    async def post_prompt(self, request: web.Request) -> web.StreamResponse:
        if (await request.json())["prompt_id"] != "bad":
            return await super().post_prompt(request)
        error = {"type": "invalid_prompt", "message": "Cannot execute", "details": "Node ID '#1'"}
        return web.json_response({"error": error, "node_errors": {}}, status=400)


class AbsentMindedServer(QueueServer):
    """Accepts the first prompt and never responds."""

    @override
    async def post_prompt(self, request: web.Request) -> web.StreamResponse:
        answer = await super().post_prompt(request)
        if len(self.posts) == 1:
            await asyncio.Event().wait()
        return answer


class MumblingServer(QueueServer):
    """Answers the first prompt with `answer`, and accepts it if `takes`."""

    def __init__(self, answer: bytes, *, takes: bool) -> None:
        super().__init__()
        self._answer = answer
        self._takes = takes

    @override
    async def post_prompt(self, request: web.Request) -> web.StreamResponse:
        if self.posts:
            return await super().post_prompt(request)
        if self._takes:
            await super().post_prompt(request)
        else:
            self.posts.append(await request.json())
        return web.Response(body=self._answer)


class HastyServer(QueueServer):
    """Executes the first waiting prompt before it can be withdrawn."""

    @override
    async def post_queue(self, request: web.Request) -> web.StreamResponse:
        if self.waiting:
            self.take()
            self.finish()
        return await super().post_queue(request)


class HeldServer(QueueServer):
    """Answers no read of the queue while `held`, as while a node holds the GIL; `/ws` reports."""

    def __init__(self) -> None:
        super().__init__()
        self.free = asyncio.Event()
        self.free.set()

    @override
    async def get_queue(self, request: web.Request) -> web.StreamResponse:
        self.looks += 1
        await self.free.wait()
        return await super().get_queue(request)


class QueuelessServer(QueueServer):
    """Has a websocket, and no route for the queue."""

    @override
    async def get_queue(self, request: web.Request) -> web.StreamResponse:
        self.looks += 1
        raise web.HTTPNotFound


class HangingServer(QueueServer):
    """Accepts a prompt and does not respond any more: the prompt holds the GIL."""

    @override
    async def post_prompt(self, request: web.Request) -> web.StreamResponse:
        self.posts.append(await request.json())
        await asyncio.Event().wait()
        raise AssertionError


class BusyServer(QueueServer):
    """Answers /queue with an error while `faulty`."""

    faulty = True

    @override
    async def get_queue(self, request: web.Request) -> web.StreamResponse:
        if self.faulty:
            self.looks += 1
            raise web.HTTPInternalServerError
        return await super().get_queue(request)
