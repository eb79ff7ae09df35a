"""Files, settings and clients in public reports that ended ComfyUI."""

from tests.unit.comfyui.last_words import RUNNING, START
from tests.unit.comfyui.reports.shape import Report, main

_EXTRA_PATHS = (
    '  File "/workspace/ComfyUI-comm/main.py", line 79, in apply_custom_paths\n'
    "    utils.extra_config.load_extra_path_config(extra_model_paths_config_path)\n"
    '  File "/workspace/ComfyUI-comm/utils/extra_config.py", line 29, in load_extra_path_config\n'
)
_PUBLISH = (
    '  File "/workspace/ComfyUI-comm/server.py", line 627, in publish_loop\n'
    "    await self.send(*msg)\n"
    '  File "/workspace/ComfyUI-comm/server.py", line 41, in send_socket_catch_exception\n'
    "    await function(message)\n"
    '  File "/w/venv/lib/python3.11/site-packages/aiohttp/web_ws.py", line 315, in send_str\n'
    "    await self._writer.send(data)\n"
)

SETTINGS = [
    # ---- files and settings
    Report(
        "model paths that are no YAML",
        "Comfy-Org/ComfyUI#343",
        main(
            "yaml.scanner.ScannerError: mapping values are not allowed here\n"
            '  in "/workspace/ComfyUI-comm/extra_model_paths.yaml", line 6, column 19',
            f"{_EXTRA_PATHS}    config = yaml.safe_load(stream)\n"
            '  File "/w/venv/lib/python3.11/site-packages/yaml/scanner.py", line 577, in check\n'
            "    raise ScannerError(None, None)\n",
        ),
        1,
        "exit",
        ("extra_model_paths.yaml", "correct"),
    ),
    Report(
        "model paths without a section",
        "Comfy-Org/ComfyUI#11404",
        main("TypeError: string indices must be integers, not 'str'", _EXTRA_PATHS),
        1,
        "exit",
        ("extra_model_paths.yaml", "correct"),
    ),
    Report(
        "model paths that are empty",
        "Tavris1/ComfyUI-Easy-Install#115",
        main("TypeError: 'NoneType' object is not iterable", _EXTRA_PATHS),
        1,
        "exit",
        ("extra_model_paths.yaml",),
    ),
    Report(
        "a file with the marks of a merge",
        "vladmandic/sdnext#147",
        main(
            "SyntaxError: invalid syntax",
            '  File "/workspace/ComfyUI-comm/nodes.py", line 322\n'
            "    <<<<<<< Updated upstream\n    ^^\n",
        ),
        1,
        "exit",
        ("/workspace/ComfyUI-comm/nodes.py", "not valid Python"),
    ),
    Report(
        "a recursion without end, with its frames left out",
        "Comfy-Org/ComfyUI#5895",
        main(
            "RecursionError: maximum recursion depth exceeded",
            '  File "/workspace/ComfyUI-comm/comfy/utils.py", line 18, in <module>\n'
            "    import torch\n"
            '  File "/w/custom_nodes/manager/prestartup_script.py", line 300, in write\n'
            "    self.original.write(message)\n"
            '  File "/w/custom_nodes/manager/prestartup_script.py", line 300, in write\n'
            "    self.original.write(message)\n"
            "  [Previous line repeated 972 more times]\n",
        ),
        1,
        "exit",
        ("RecursionError",),
    ),
    Report(
        "a base directory without the directory of the nodes",
        "Comfy-Org/ComfyUI#8434",
        main(
            "FileNotFoundError: [Errno 2] No such file or directory: '/data/custom_nodes'",
            '  File "/workspace/ComfyUI-comm/main.py", line 75, in execute_prestartup_script\n'
            "    possible_modules = os.listdir(custom_node_path)\n",
        ),
        1,
        "exit",
        ("/data/custom_nodes does not exist", "mounted"),
    ),
    Report(
        "a volume of nodes that is not mounted",
        "AbdBarho/stable-diffusion-webui-docker#460",
        main(
            "FileNotFoundError: [Errno 2] No such file or directory: "
            "'/data/config/comfy/custom_nodes'",
            '  File "/workspace/ComfyUI-comm/nodes.py", line 1183, in load_custom_nodes\n'
            "    possible_modules = os.listdir(custom_node_path)\n",
        ),
        1,
        "exit",
        ("/data/config/comfy/custom_nodes does not exist",),
    ),
    # ---- the network
    Report(
        "an address that is not of this machine",
        "Comfy-Org/ComfyUI#3290",
        main(
            "OSError: [Errno 99] error while attempting to bind on address ('192.168.7.7', 8188): "
            "cannot assign requested address"
        ),
        1,
        "exit",
        ("192.168.7.7", "--listen"),
        ("taken",),
    ),
    Report(
        "a port that a custom node opens, and that is taken",
        "MixLabPro/comfyui-mixlab-nodes#55",
        "https_key OK:  /w/custom_nodes/comfyui-mixlab-nodes/https/certificate.crt\n"
        + main(
            "OSError: [Errno 98] error while attempting to bind on address ('0.0.0.0', 3001): "
            "address already in use",
            '  File "/w/custom_nodes/comfyui-mixlab-nodes/__init__.py", line 219, in new_start\n'
            "    await site2.start()\n",
        ),
        1,
        "port_in_use",
        ("3001", "'comfyui-mixlab-nodes'"),
    ),
    Report(
        "a client that cannot be reached any more, while a prompt runs",
        "Comfy-Org/ComfyUI#1442",
        f"{RUNNING}Prompt executed in 63.15 seconds\n"
        + main("OSError: [Errno 113] No route to host", _PUBLISH).removeprefix(START),
        1,
        "exit",
        ("client", "No route to host"),
        ("disk", "volume"),
    ),
    Report(
        "a client that went to sleep, as the cause of what is raised",
        "Comfy-Org/ComfyUI#4783",
        f"{RUNNING}Traceback (most recent call last):\n"
        '  File "/usr/lib/python3.10/asyncio/selector_events.py", line 862, in '
        "_read_ready__data_received\n    data = self._sock.recv(self.max_size)\n"
        "TimeoutError: [Errno 110] Connection timed out\n\n"
        "The above exception was the direct cause of the following exception:\n\n"
        + main("ConnectionError: Connection lost", _PUBLISH).removeprefix(START),
        1,
        "exit",
        ("client", "Connection lost"),
        ("disk",),
    ),
]
