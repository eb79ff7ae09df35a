"""All instances at one look."""

from aiohttp import web

from comfysup.web import texts
from comfysup.web.answers import encode, json_bytes_answer
from comfysup.web.calls import Call
from comfysup.web.presentation import present_all
from comfysup.web.schemas import NoQuery
from comfysup.web.services import Services
from comfysup.web.views import StatusView


async def get_status(services: Services, _call: Call[NoQuery, None]) -> web.Response:
    def draw() -> bytes:
        instances = present_all(services)
        troubles = services.troubles()
        output = texts.status_table(instances) + texts.troubles(troubles)
        return encode(StatusView("success", output, instances, troubles))

    return json_bytes_answer(services.status_board.body(draw))
