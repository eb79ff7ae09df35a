"""The routes of the stand-in, each also under `/api`, as in ComfyUI."""

import ipaddress
import json
import os
import sys
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from itertools import count
from typing import Any
from urllib.parse import urlsplit

from aiohttp import web

from comfysup.demo.endings import mark_reboot
from comfysup.demo.nodes import Context
from comfysup.demo.output import log
from comfysup.demo.places import VERSION, Places
from comfysup.demo.prompts import Entry, Prompts
from comfysup.demo.sockets import Clients
from comfysup.demo.validation import NO_PROMPT, validate

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_FORMS = frozenset({"text/plain", "multipart/form-data", "application/x-www-form-urlencoded"})


@dataclass(slots=True)
class Routes:
    """The route handlers and their state."""

    prompts: Prompts
    clients: Clients
    context: Context
    places: Places
    numbers: "count[int]" = field(default_factory=count)

    def application(self) -> web.Application:
        """Return the application with all routes."""
        application = web.Application(middlewares=[refuse_other_origins], client_max_size=100 << 20)
        table: list[tuple[str, str, _Handler]] = [
            ("GET", "/ws", self.clients.connect),
            ("GET", "/system_stats", self.system_stats),
            ("GET", "/features", self.features),
            ("GET", "/prompt", self.get_prompt),
            ("POST", "/prompt", self.post_prompt),
            ("GET", "/queue", self.get_queue),
            ("POST", "/queue", self.post_queue),
            ("GET", "/history", self.get_history),
            ("GET", "/history/{prompt_id}", self.get_history),
            ("POST", "/interrupt", self.interrupt),
            ("POST", "/free", self.free),
            ("GET", "/manager/reboot", self.reboot),
            ("POST", "/v2/manager/reboot", self.reboot),
        ]
        for method, path, handler in table:
            application.router.add_route(method, path, handler)
            application.router.add_route(method, f"/api{path}", handler)
        application.router.add_get("/", self.page)
        return application

    async def page(self, _: web.Request) -> web.Response:
        """Return the page that a browser shows for the instance."""
        title = f"ComfyUI stand-in: {self.places.root.name}"
        return web.Response(
            text=f"<!doctype html><title>{title}</title><h1>{title}</h1>", content_type="text/html"
        )

    async def system_stats(self, _: web.Request) -> web.Response:
        """Return versions, arguments, memory and devices."""
        page = os.sysconf("SC_PAGE_SIZE")
        total = page * os.sysconf("SC_PHYS_PAGES")
        free = page * os.sysconf("SC_AVPHYS_PAGES")
        system = {
            "os": os.name,
            "ram_total": total,
            "ram_free": free,
            "comfyui_version": VERSION,
            "required_frontend_version": "none",
            "installed_templates_version": "none",
            "required_templates_version": "none",
            "python_version": sys.version,
            "pytorch_version": "none",
            "embedded_python": False,
            "argv": sys.argv,
        }
        memory = {"vram_total": total, "vram_free": free}
        memory |= {f"torch_{name}": value for name, value in memory.items()}
        device = {"name": "cpu", "type": "cpu", "index": None, **memory}
        return web.json_response({"system": system, "devices": [device]})

    async def features(self, _: web.Request) -> web.Response:
        """Return the features that a client may use."""
        return web.json_response({"supports_preview_metadata": True, "max_upload_size": 100 << 20})

    async def get_prompt(self, _: web.Request) -> web.Response:
        """Return the number of running and queued prompts."""
        return web.json_response({"exec_info": {"queue_remaining": self.prompts.remaining()}})

    async def post_prompt(self, request: web.Request) -> web.Response:
        """Validate and queue a prompt. Refused prompts also use up a number."""
        log("got prompt")
        body = await _body(request)
        number = self._number(body)
        if "prompt" not in body:
            return web.json_response({"error": NO_PROMPT, "node_errors": {}}, status=400)
        graph = body["prompt"]
        verdict = validate(graph, body.get("partial_execution_targets"))
        if verdict.error is not None:
            log(f"invalid prompt: {verdict.error}")
            refusal = {"error": verdict.error, "node_errors": verdict.node_errors}
            return web.json_response(refusal, status=400)
        extra_data = body.get("extra_data", {})
        if "client_id" in body:
            extra_data["client_id"] = body["client_id"]
        prompt_id = str(body.get("prompt_id", uuid.uuid4()))
        self.prompts.put(Entry(number, prompt_id, graph, extra_data, verdict.outputs))
        answer = {"prompt_id": prompt_id, "number": number, "node_errors": verdict.node_errors}
        return web.json_response(answer)

    async def get_queue(self, _: web.Request) -> web.Response:
        """Return the running and the queued prompts in full."""
        return web.json_response(self.prompts.snapshot())

    async def post_queue(self, request: web.Request) -> web.Response:
        """Remove all queued prompts, or some of them."""
        body = await _body(request)
        if body.get("clear"):
            self.prompts.clear()
        for prompt_id in body.get("delete", ()):
            self.prompts.delete(prompt_id)
        return web.Response()

    async def get_history(self, request: web.Request) -> web.Response:
        """Return all executed prompts, the last `max_items` of them, or one of them."""
        history = self.prompts.history(request.match_info.get("prompt_id"))
        newest = list(history.items())[-int(request.query.get("max_items", len(history))) :]
        return web.json_response(dict(newest))

    async def interrupt(self, request: web.Request) -> web.Response:
        """Interrupt the running prompt, unless the request names another one."""
        try:
            prompt_id = (await _body(request)).get("prompt_id")
        except json.JSONDecodeError:
            prompt_id = None
        if prompt_id is None or prompt_id == self.prompts.running_id():
            self.context.interrupted.set()
        return web.Response()

    async def free(self, request: web.Request) -> web.Response:
        """Accept a request to unload models, and do nothing."""
        await _body(request)
        return web.Response()

    async def reboot(self, request: web.Request) -> web.Response:
        """Reboot as ComfyUI-Manager does, without a response."""
        if request.method == "POST" and request.body_exists and request.content_type in _FORMS:
            return web.Response(status=400)
        mark_reboot()
        raise SystemExit(0)

    def _number(self, body: dict[str, Any]) -> float:
        if "number" in body:
            return float(body["number"])
        number = next(self.numbers)
        return -number if body.get("front") else number


@web.middleware
async def refuse_other_origins(request: web.Request, handler: _Handler) -> web.StreamResponse:
    """Respond with 403 to a cross-origin request to a loopback address."""
    origin = urlsplit(request.headers.get("Origin", "")).netloc
    host = request.headers.get("Host", "")
    if origin and origin != host and _is_loopback(urlsplit(f"//{host}").hostname or ""):
        return web.Response(status=403)
    return await handler(request)


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


async def _body(request: web.Request) -> dict[str, Any]:
    """Return the body parsed as JSON, for any content type; empty if it is not an object."""
    body = json.loads(await request.text())
    return body if isinstance(body, dict) else {}
