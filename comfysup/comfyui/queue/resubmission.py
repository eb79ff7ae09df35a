"""Submits a prompt of an exited process to the next one."""

from collections.abc import Callable

from comfysup.comfyui.client import ComfyClient, NotTakenError
from comfysup.comfyui.queue.backlog_store import BacklogStore
from comfysup.comfyui.queue.prompts import Prompt, classes_without_credentials


class Resubmission:
    """Submits owed prompts to one process, and records what becomes of them in the backlog."""

    def __init__(self, api: ComfyClient, backlog_store: BacklogStore) -> None:
        self._api = api
        self._backlog_store = backlog_store
        self._takes_credentials: dict[str, bool] = {}  # by class of node

    async def submit(self, prompt: Prompt, pending: Callable[[], None]) -> None:
        """Submit a prompt unless it was executed already or cannot succeed.

        `pending` is called before the request. Raises `ComfyError` if it is unknown whether
        ComfyUI accepted the prompt; the prompt stays owed.
        """
        if prompt.content is None:
            self._backlog_store.not_kept(prompt)
            return
        if await self._api.has_executed(prompt.id):
            self._backlog_store.update(self._backlog_store.backlog.settled(prompt))
            return
        if await self._lacks_credentials(prompt):
            self._backlog_store.credentials_lost(prompt)
            return
        await self._backlog_store.submitting(prompt)
        pending()
        try:
            number = await self._api.submit(prompt)
        except NotTakenError as error:
            self._backlog_store.refused(prompt, str(error))
        else:
            self._backlog_store.submitted(prompt, number)

    async def _lacks_credentials(self, prompt: Prompt) -> bool:
        """Return whether a node of the prompt takes keys and the prompt shows none."""
        try:
            classes = classes_without_credentials(prompt)
        except ValueError:
            return False  # ComfyUI reports its error
        for each in sorted(classes - self._takes_credentials.keys()):
            self._takes_credentials[each] = await self._api.takes_credentials(each)
        return any(self._takes_credentials[each] for each in classes)
