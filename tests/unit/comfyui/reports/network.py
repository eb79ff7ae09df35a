"""Servers in public reports: routes, certificates and event loops."""

from tests.unit.comfyui.last_words import RUNNING, START
from tests.unit.comfyui.reports.shape import Report, main

_ROUTES = (
    '  File "/workspace/ComfyUI-comm/main.py", line 275, in start_comfyui\n'
    "    prompt_server.add_routes()\n"
    '  File "/workspace/ComfyUI-comm/server.py", line 735, in add_routes\n'
    "    self.app.add_routes(api_routes)\n"
    '  File "/w/venv/lib/python3.12/site-packages/aiohttp/web_urldispatcher.py", line 367, in '
    "add_route\n    raise RuntimeError(\n"
)
_TWICE = "RuntimeError: Added route will never be executed, method HEAD is already registered"
_SEND = (
    '  File "/workspace/ComfyUI-comm/main.py", line 149, in run\n'
    "    await asyncio.gather(server.start(address, port), server.publish_loop())\n"
    '  File "/workspace/ComfyUI-comm/server.py", line 36, in send_socket_catch_exception\n'
    "    await function(message)\n"
)
_LOOP = (
    "RuntimeError: <asyncio.locks.Lock object at 0x7f6b2b50 [unlocked, waiters:1]> is bound to a "
    "different event loop"
)
_LISTEN = (
    '  File "/workspace/ComfyUI-comm/server.py", line 1003, in start_multi_address\n'
    "    ssl_ctx.load_cert_chain(certfile=args.tls_certfile,\n"
)

NETWORK = [
    # ---- routes
    Report(
        "a route that two custom nodes register, after an update",
        "Comfy-Org/ComfyUI#7591",
        main(_TWICE, _ROUTES),
        1,
        "exit",
        ("the same route", "disable"),
    ),
    Report(
        "a route of a custom node that ComfyUI has itself by now",
        "jags111/efficiency-nodes-comfyui#316",
        main(_TWICE, _ROUTES),
        1,
        "exit",
        ("the same route",),
    ),
    Report(
        "a route twice, and a thread that goes on for a while",
        "Comfy-Org/ComfyUI-Manager#1475",
        main(_TWICE, _ROUTES)
        + "[ComfyUI-Manager] default cache updated: https://raw.example.org/alter-list.json\n"
        "FETCH ComfyRegistry Data: 5/30\nFETCH ComfyRegistry Data [DONE]\n",
        1,
        "exit",
        ("the same route",),
        ("Manager", "FETCH"),
    ),
    Report(
        "a custom node that is there twice",
        "Kwai-Kolors/Kolors#50",
        "Import times for custom nodes:\n   0.1 seconds (IMPORT FAILED): /w/custom_nodes/Instant\n"
        "   0.4 seconds: /w/custom_nodes/AIGODLIKE-ComfyUI-Translation-main\n\n"
        + main(_TWICE.replace("HEAD", "POST"), _ROUTES).removeprefix(START),
        1,
        "exit",
        ("installed twice",),
        ("InstantID",),
    ),
    # ---- event loops
    Report(
        "a message of a node that comes from another thread",
        "Comfy-Org/ComfyUI#3232",
        RUNNING + main(_LOOP, _SEND).removeprefix(START),
        1,
        "exit",
        ("thread", "disable"),
        ("client",),
    ),
    Report(
        "a message of another thread between two prompts",
        "crystian/ComfyUI-Crystools#48",
        f"{RUNNING}Prompt executed in 13.51 seconds\n" + main(_LOOP, _SEND).removeprefix(START),
        1,
        "exit",
        ("thread",),
        ("client",),
    ),
    Report(
        "a client that went away while a profiler counted",
        "tzwm/comfyui-profiler#8",
        f"{RUNNING}[profiler] #64 SaveImage: 0.4078 seconds, total 13.245 seconds(#141)\n"
        "Prompt executed in 13.51 seconds\n[rgthree] Using rgthree's optimized recursive "
        "execution.\n"
        + main("ConnectionResetError: Cannot write to closing transport", _SEND).removeprefix(
            START
        ),
        1,
        "exit",
        ("client",),
        ("profiler", "rgthree"),
    ),
    Report(
        "a client that went away in the night",
        "Comfy-Org/ComfyUI#2999",
        f"{RUNNING}Prompt executed in 63.15 seconds\n"
        + main("ConnectionResetError: Cannot write to closing transport", _SEND).removeprefix(
            START
        ),
        1,
        "exit",
        ("client",),
    ),
    # ---- certificates
    Report(
        "a certificate that is not there",
        "danielperna84/hass-configurator#106",
        main("FileNotFoundError: [Errno 2] No such file or directory", _LISTEN),
        1,
        "exit",
        ("--tls-certfile",),
    ),
    Report(
        "a certificate without its key",
        "python-websockets/websockets#826",
        main("ssl.SSLError: [SSL] PEM lib (_ssl.c:4012)", _LISTEN),
        1,
        "exit",
        ("--tls-keyfile", "PEM lib"),
    ),
    Report(
        "certificates of the machine that are damaged, and a manager that cannot begin",
        "pinokiofactory/comfy#23",
        "Failed to execute startup-script: /w/custom_nodes/ComfyUI-Manager/prestartup_script.py / "
        "[ASN1: NOT_ENOUGH_DATA] not enough data (_ssl.c:4030)\n"
        + main(
            "ssl.SSLError: [ASN1: NOT_ENOUGH_DATA] not enough data (_ssl.c:4030)",
            '  File "/w/venv/lib/python3.12/site-packages/aiohttp/connector.py", line 754, in '
            "_make_ssl_context\n    return ssl.create_default_context()\n"
            '  File "/usr/lib/python3.12/ssl.py", line 596, in load_default_certs\n',
        ),
        1,
        "exit",
        ("certificates", "NOT_ENOUGH_DATA"),
        ("--tls", "Manager"),
    ),
]
