"""Opens the port of a loaded stand-in and serves until it exits."""

import argparse
import asyncio
import threading
import time
from functools import partial

from aiohttp import web

from comfysup.demo.endings import end_later
from comfysup.demo.execution import Worker
from comfysup.demo.misbehaviour import Misbehaviour
from comfysup.demo.nodes import Context
from comfysup.demo.output import log
from comfysup.demo.places import Places
from comfysup.demo.prompts import Prompts
from comfysup.demo.relatives import start_port_holders
from comfysup.demo.routes import Routes
from comfysup.demo.sockets import Clients


def serve(arguments: argparse.Namespace, misbehaviour: Misbehaviour, places: Places) -> None:
    """Serve until KeyboardInterrupt (SIGINT) or SystemExit (a reboot).

    The loop is not shut down then, so open connections get no response. A port in use raises an
    uncaught OSError, which makes the process exit with 1.
    """
    # Closed only by the exit of the process, as in ComfyUI.
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    loop.run_until_complete(_serve(arguments, misbehaviour, places))


async def _serve(arguments: argparse.Namespace, misbehaviour: Misbehaviour, places: Places) -> None:
    loop = asyncio.get_running_loop()
    clients = Clients(loop)
    prompts = Prompts(clients.announce_queue)
    context = Context(places, lambda _, __: None, misbehaviour.progress, partial(_mute, loop))
    Worker(prompts, clients, context).start()
    runner = web.AppRunner(Routes(prompts, clients, context, places).application(), access_log=None)
    sockets = await _listen(runner, arguments.listen.split(","), arguments.port)
    start_port_holders(misbehaviour, sockets)
    end_later(misbehaviour.exit_after_ready, misbehaviour)
    if misbehaviour.block_loop is not None:
        block = misbehaviour.block_loop
        loop.call_later(block.after, time.sleep, block.seconds)
    await clients.publish()


def _mute(loop: asyncio.AbstractEventLoop) -> None:
    """Block the loop forever; returns once it is blocked."""
    muted = threading.Event()

    def block() -> None:
        muted.set()
        threading.Event().wait()

    loop.call_soon_threadsafe(block)
    muted.wait()


async def _listen(runner: web.AppRunner, addresses: list[str], port: int) -> list[int]:
    """Open the port on each address; return the descriptors of the listening sockets."""
    await runner.setup()
    if runner.server is None:
        raise RuntimeError("cannot listen: the runner has no server after its setup")
    log("Starting server\n")
    sockets = []
    for address in addresses:
        # As in ComfyUI, which uses aiohttp: with SO_REUSEADDR and the same error message.
        server = await asyncio.get_running_loop().create_server(runner.server, address, port)
        sockets += [socket.fileno() for socket in server.sockets]
        shown = f"[{address}]" if ":" in address else address
        log(f"To see the GUI go to: http://{shown}:{port}")
    return sockets
