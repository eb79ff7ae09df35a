"""Executes prompts one at a time, in a thread beside the event loop."""

import threading
import time
import traceback
from dataclasses import dataclass, field
from typing import Any, Protocol

from comfysup.demo.nodes import NODES, Context, InterruptedPromptError, Ui
from comfysup.demo.output import log
from comfysup.demo.prompts import Entry, Prompts
from comfysup.demo.validation import links


class Announcer(Protocol):
    """Sends messages to one websocket client, or to all if the client is None."""

    def announce(self, kind: str, data: dict[str, Any], client: str | None = None) -> None:
        """Queue the message; may be called from any thread."""


@dataclass(slots=True)
class Worker:
    """Executes the prompts of the queue until the process ends."""

    prompts: Prompts
    publisher: Announcer
    context: Context

    def start(self) -> None:
        """Start a daemon thread, so the process can exit while it runs."""
        threading.Thread(target=self._work, daemon=True, name="Thread-1 (prompt_worker)").start()

    def _work(self) -> None:
        # A BaseException escapes a run and ends only this thread, as in ComfyUI.
        while not self.context.worker_ends:
            self._execute(self.prompts.take())

    def _execute(self, entry: Entry) -> None:
        started = time.monotonic()
        self.context.interrupted.clear()
        run = Run(entry, self.publisher)
        self.context.progress = run.progress
        run.execute(self.context)
        self.prompts.finish(run.outcome())
        if run.client is not None:
            run.send("executing", {"node": None})
        log(f"Prompt executed in {time.monotonic() - started:.2f} seconds")


@dataclass(slots=True)
class Run:
    """One execution of one prompt: its messages and its outputs."""

    entry: Entry
    publisher: Announcer
    messages: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    outputs: dict[str, Ui] = field(default_factory=dict)
    done: list[str] = field(default_factory=list)
    node: str = ""
    success: bool = False

    @property
    def client(self) -> str | None:
        """Return the client that submitted the prompt; others receive none of its messages."""
        client: str | None = self.entry.extra_data.get("client_id")
        return client

    def execute(self, context: Context) -> None:
        """Run the nodes that the outputs depend on, up to an error or an interruption."""
        self._record("execution_start", {})
        self._record("execution_cached", {"nodes": []})
        try:
            for output in self.entry.outputs:
                self._run(output, context)
        except InterruptedPromptError:
            log("Processing interrupted")
            self._record("execution_interrupted", self._place(), also_to_all=True)
        except Exception as error:  # noqa: BLE001 - a node may raise anything
            log(f"!!! Exception during processing !!! {error}\n{traceback.format_exc()}")
            self._record("execution_error", self._place() | _description(error))
        else:
            self.success = True
            self._record("execution_success", {})

    def progress(self, value: int, maximum: int) -> None:
        """Send the progress of the running node."""
        self.send("progress", {"value": value, "max": maximum, "node": self.node})

    def send(self, kind: str, data: dict[str, Any]) -> None:
        """Send a message to the client, or to all if the prompt has none."""
        self.publisher.announce(kind, data | {"prompt_id": self.entry.prompt_id}, self.client)

    def outcome(self) -> dict[str, Any]:
        """Return the result that the history stores with the prompt."""
        status = {
            "status_str": "success" if self.success else "error",
            "completed": self.success,
            "messages": self.messages,
        }
        meta = {
            node: {"node_id": node, "display_node": node, "parent_node": None, "real_node_id": node}
            for node in self.outputs
        }
        return {"outputs": self.outputs, "status": status, "meta": meta}

    def _run(self, node_id: str, context: Context) -> None:
        if node_id in self.done:
            return
        entry = self.entry.graph[node_id]
        for needed in links(entry["inputs"]):
            self._run(needed, context)
        self.node = node_id
        if self.client is not None:
            self.send("executing", {"node": node_id, "display_node": node_id})
        shown = NODES[entry["class_type"]].run(entry["inputs"], context)
        self.done.append(node_id)
        if shown is not None:
            self.outputs[node_id] = shown
            if self.client is not None:
                data = {"node": node_id, "display_node": node_id, "output": shown}
                self.send("executed", data)

    def _place(self) -> dict[str, Any]:
        node_type = self.entry.graph[self.node]["class_type"]
        return {"node_id": self.node, "node_type": node_type, "executed": list(self.done)}

    def _record(self, kind: str, data: dict[str, Any], *, also_to_all: bool = False) -> None:
        """Record a message for the history and send it; `also_to_all` if there is no client."""
        data = {"prompt_id": self.entry.prompt_id, **data, "timestamp": int(time.time() * 1000)}
        self.messages.append((kind, data))
        if also_to_all or self.client is not None:
            self.publisher.announce(kind, data, self.client)


def _description(error: Exception) -> dict[str, Any]:
    return {
        "exception_message": f"{error}\n",
        "exception_type": type(error).__name__,
        "traceback": traceback.format_tb(error.__traceback__),
        "current_inputs": {},
        "current_outputs": [],
    }
