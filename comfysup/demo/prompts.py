"""The queue of prompts and their history, kept only in memory, as in ComfyUI.

The event loop and the worker thread both use them, so a lock protects each.
"""

import heapq
import threading
from collections.abc import Callable
from typing import Any, NamedTuple

Graph = dict[str, dict[str, Any]]

# Included in responses about the queue, but not in the history.
_SECRETS = ("auth_token_comfy_org", "api_key_comfy_org")


class Entry(NamedTuple):
    """One prompt as in `/queue`: a list of five, the last being the output nodes to execute.

    Entries are ordered by number, then by id. If two entries share both and their graphs differ,
    the comparison raises TypeError, so the second request gets a 500, as in ComfyUI.
    """

    number: float
    prompt_id: str
    graph: Graph
    extra_data: dict[str, Any]
    outputs: list[str]


class Prompts:
    """The running prompt, the queued ones, and the executed ones."""

    def __init__(self, changed: Callable[[int], None]) -> None:
        """`changed` receives the number of prompts in the queue at every change, under the lock."""
        self._announce = changed
        self._condition = threading.Condition(threading.RLock())
        self._waiting: list[Entry] = []
        self._running: Entry | None = None
        self._history: dict[str, dict[str, Any]] = {}

    def put(self, entry: Entry) -> None:
        """Add a prompt to the queue."""
        with self._condition:
            heapq.heappush(self._waiting, entry)
            self._change()
            self._condition.notify()

    def take(self) -> Entry:
        """Wait for the next entry and make it the running one."""
        with self._condition:
            while not self._waiting:
                self._condition.wait()
            self._running = heapq.heappop(self._waiting)
            self._change()
            return self._running

    def finish(self, outcome: dict[str, Any]) -> None:
        """Move the running entry to the history, without the secrets in its extra data."""
        with self._condition:
            entry, self._running = self._running, None
            if entry is not None:
                open_data = {k: v for k, v in entry.extra_data.items() if k not in _SECRETS}
                shown = entry._replace(extra_data=open_data)
                self._history[entry.prompt_id] = {"prompt": shown, **outcome}
            self._change()

    def clear(self) -> None:
        """Remove all queued prompts. Report a change even if there was none."""
        with self._condition:
            self._waiting = []
            self._change()

    def delete(self, prompt_id: str) -> None:
        """Remove one queued prompt. Ignore an unknown or running one without a report."""
        with self._condition:
            for index, entry in enumerate(self._waiting):
                if entry.prompt_id == prompt_id:
                    del self._waiting[index]
                    heapq.heapify(self._waiting)
                    self._change()
                    return

    def remaining(self) -> int:
        """Return the number of running and queued prompts."""
        with self._condition:
            return len(self._waiting) + (self._running is not None)

    def running_id(self) -> str | None:
        """Return the id of the running prompt."""
        with self._condition:
            return self._running.prompt_id if self._running else None

    def snapshot(self) -> dict[str, list[Entry]]:
        """Return the body of `/queue`; queued prompts are in heap order, not execution order."""
        with self._condition:
            return {
                "queue_running": [self._running] if self._running else [],
                "queue_pending": list(self._waiting),
            }

    def history(self, prompt_id: str | None = None) -> dict[str, Any]:
        """Return the body of `/history`, or of `/history/{id}`, empty for an unknown id."""
        with self._condition:
            if prompt_id is None:
                return dict(self._history)
            return {key: self._history[key] for key in (prompt_id,) if key in self._history}

    def _change(self) -> None:
        self._announce(self.remaining())
