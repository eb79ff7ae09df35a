"""Which line is selected as the final message among misleading lines."""

import pytest

from comfysup.comfyui.diagnosis.diagnosis import diagnose
from comfysup.supervision.life import Exit


def of(log: str, exit_code: int | None = 1, signal: str | None = None) -> Exit:
    return diagnose(
        at=0.0, exit_code=None if signal else exit_code, signal=signal, log_tail=log.splitlines()
    )


def test_an_error_identified_by_its_frame_is_not_recognised_elsewhere() -> None:
    """The same message raised elsewhere has another cause."""
    frame = '  File "/workspace/ComfyUI-comm/{}", line 4, in {}\n'
    log = (
        "Traceback (most recent call last):\n"
        '  File "/workspace/ComfyUI-comm/main.py", line 149, in <module>\n{}{}\n'
    )
    paths = frame.format("utils/extra_config.py", "load_extra_path_config")
    client = frame.format("server.py", "send_socket_catch_exception")
    nothing = "TypeError: 'NoneType' object is not iterable"
    lost = "ConnectionError: Connection lost"

    assert "extra_model_paths" in of(log.format(paths, nothing)).message
    assert "extra_model_paths" not in of(log.format(client, nothing)).message
    assert "client" in of(log.format(client, lost)).message
    assert "client" not in of(log.format(paths.replace("extra", "other"), lost)).message


def test_a_gpu_error_printed_by_a_node_does_not_explain_a_later_abort() -> None:
    found = of("CUDA error: out of memory\nfree(): invalid pointer\n", signal="SIGABRT")

    assert found.reason == "native_crash"
    assert "free(): invalid pointer" in found.message


def test_an_abort_without_a_message_is_not_explained_by_earlier_output() -> None:
    found = of("[Node] loaded 7 nodes\nAborted (core dumped)\n", 134)

    assert found.message.endswith("(SIGABRT); last output: [Node] loaded 7 nodes")


@pytest.mark.parametrize(
    "line",
    [
        "start.sh: line 2: 16131 Aborted                 (core dumped) python main.py",
        "./start.sh: l\u00ednea 4:  6516 Abortado         (`core' generado) python main.py",
        "zsh: abort      python main.py",
        "[1]    34394 abort      python main.py",
        "Abort trap: 6",
        "FETCH ComfyRegistry Data: 5/98",
        "[ComfyUI-Manager] All startup tasks have been completed.",
    ],
)
def test_output_of_a_shell_or_another_thread_is_not_the_last_message(line: str) -> None:
    found = of(f"last words\n{line}\n", signal="SIGABRT")

    assert found.message.endswith(": last words")


def test_an_exception_with_an_empty_first_line_is_reported_with_the_original_error() -> None:
    log = (
        "Traceback (most recent call last):\n"
        '  File "/workspace/ComfyUI-comm/main.py", line 1, in <module>\n'
        "ImportError: \n\nIMPORTANT: PLEASE READ THIS\n\nOriginal error was: no such thing\n"
    )

    assert of(log).message == "exited unexpectedly with code 1: ImportError: no such thing"


@pytest.mark.parametrize(
    "line",
    [
        "(RayWorker pid=92234, ip=172.19.24.110) free(): invalid pointer",
        "\x1b[36m(RayCOMMTester pid=15299)\x1b[0m ModuleNotFoundError: No module named 'xfuser'",
        "(raylet) A worker died or was killed while executing a task.",
        "(pid=812) terminate called after throwing an instance of 'std::bad_alloc'",
    ],
)
def test_lines_of_a_ray_worker_are_not_the_last_message(line: str) -> None:
    assert of(f"last words\n{line}\n").message == (
        "exited unexpectedly with code 1; last output: last words"
    )
    assert of(f"last words\n{line}\n", signal="SIGABRT").message.endswith(": last words")


def test_a_line_that_begins_in_brackets_is_not_that_of_another_process() -> None:
    assert of("(pid 812) last words\n").message.endswith(": (pid 812) last words")


@pytest.mark.parametrize(
    ("error", "reason", "hint"),
    [
        ("ModuleNotFoundError: No module named '_lzma'", "wrong_python", "recreate"),
        ("ModuleNotFoundError: No module named '_lzma_tools'", "missing_module", "install it"),
        ("ModuleNotFoundError: No module named 'tkinter'", "missing_module", "python3-tk"),
        ("ModuleNotFoundError: No module named 'imp'", "missing_module", "older Python"),
        ("ModuleNotFoundError: No module named 'imports'", "missing_module", "install it"),
        ("ModuleNotFoundError: No module named 'pkg_resources'", "missing_module", "setuptools"),
        (
            "ImportError: cannot import name 'B' from 'typing' (/usr/lib/python3.10/typing.py)",
            "missing_module",
            "another Python",
        ),
        (
            "ImportError: cannot import name 'B' from 'b' (/v/lib/python3.10/site-packages/b.py)",
            "missing_module",
            "requirements",
        ),
        ("TypeError: type 'Node' is not subscriptable", "exit", ""),
        ("FileNotFoundError: [Errno 2] No such file or directory: '/data/a'", "exit", "mounted"),
        ("FileNotFoundError: [Errno 2] No such file or directory: 'git'", "exit", ""),
    ],
)
def test_a_missing_part_of_python_is_distinguished_from_a_missing_package(
    error: str, reason: str, hint: str
) -> None:
    found = of(
        "Traceback (most recent call last):\n"
        f'  File "/workspace/ComfyUI-comm/main.py", line 1, in <module>\n{error}\n'
    )

    assert found.reason == reason
    assert hint in found.hint
    assert bool(hint) == bool(found.hint)


_NODE = '  File "/w/custom_nodes/ComfyUI-{}/code.py", line 3 in run\n'
_ALPHA = _NODE.format("Alpha")
_OTHERS = "Thread 0x00007d01 (most recent call first):\n" + _NODE.format("Watcher")


@pytest.mark.parametrize("signal", ["SIGSEGV", "SIGABRT"])
@pytest.mark.parametrize(
    ("stacks", "node"),
    [
        ("Stack (most recent call first):\n" + _ALPHA, "ComfyUI-Alpha"),
        (
            f"{_OTHERS}\nCurrent thread 0x02 [p] (most recent call first):\n{_ALPHA}\n{_OTHERS}",
            "ComfyUI-Alpha",
        ),
        (f"Current thread 0x00007d02 (most recent call first):\n  x\n\n{_OTHERS}", ""),
        (f"Thread 0x00007d03 (most recent call first):\n  <no Python frame>\n\n{_OTHERS}", ""),
        (f"<Cannot show all threads while the GIL is disabled>\n{_ALPHA}", "Alpha"),
    ],
)
def test_only_the_thread_that_crashed_names_a_custom_node(
    stacks: str, node: str, signal: str
) -> None:
    name = {"SIGSEGV": "Segmentation fault", "SIGABRT": "Aborted"}[signal]

    message = of(f"Fatal Python error: {name}\n\n{stacks}", signal=signal).message

    assert node in message
    assert ("custom node" in message) == bool(node)


def test_the_directory_of_a_source_file_is_omitted_from_the_message() -> None:
    directory = "/root/" + "very-long/" * 30

    found = of(f"{directory}array.mm:829: failed assertion `too long'\n", signal="SIGABRT")

    assert (
        found.message
        == "aborted in native code (SIGABRT): array.mm:829: failed assertion `too long'"
    )


@pytest.mark.parametrize(
    "line",
    [
        "Assertion `x > 0' failed.",
        "scale.cu:12: Assertion `x > 0` failed.",
        "block: [0,0,0] of thread: [1,0,0] is done",
    ],
)
def test_only_a_device_side_assert_is_a_gpu_error(line: str) -> None:
    assert of(f"{line}\n", signal="SIGABRT").reason == "native_crash"


def test_a_missing_file_is_a_certificate_only_at_the_start_of_the_server() -> None:
    log = (
        "Traceback (most recent call last):\n"
        '  File "/workspace/ComfyUI-comm/main.py", line 149, in <module>\n'
        '  File "/workspace/ComfyUI-comm/server.py", line 9, in {}\n'
        "FileNotFoundError: [Errno 2] No such file or directory\n"
    )

    assert "--tls-keyfile" in of(log.format("start")).message
    assert "--tls-keyfile" not in of(log.format("start_worker")).message
