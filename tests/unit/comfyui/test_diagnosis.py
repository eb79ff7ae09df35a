import time

import pytest

from comfysup.comfyui.diagnosis.diagnosis import diagnose
from comfysup.comfyui.diagnosis.transcript import shown_tail
from tests.unit.comfyui import last_words as words
from tests.unit.comfyui.diagnosing import of


@pytest.mark.parametrize(
    ("log", "reason", "message"),
    [
        (words.PORT_IN_USE, "port_in_use", "port 3100 was in use when ComfyUI opened it"),
        (
            words.MISSING_MODULE,
            "missing_module",
            "the Python module 'a_module_that_is_not_there' is missing",
        ),
        (words.NO_LIBRARY, "missing_module", "the system library 'libGL.so.1' is missing"),
        (
            words.UNKNOWN_ARGUMENT,
            "unknown_argument",
            "unknown arguments: --lowram x",
        ),
        (
            words.BAD_VALUE,
            "unknown_argument",
            "ComfyUI refused its arguments: argument --lowvram: not allowed with argument --cpu",
        ),
        (
            words.TORCH_WITHOUT_CUDA,
            "torch_without_cuda",
            "the torch of this environment was built without CUDA",
        ),
        (
            words.NO_KERNEL,
            "torch_without_cuda",
            "the torch of this environment was not built for this GPU",
        ),
        (
            words.NO_DRIVER,
            "missing_driver",
            "ComfyUI found no GPU that it can use (Found no NVIDIA driver)",
        ),
        (
            words.OLD_DRIVER,
            "missing_driver",
            "ComfyUI found no GPU that it can use (driver on your system is too old)",
        ),
        (
            words.NO_GPUS,
            "missing_driver",
            "ComfyUI found no GPU that it can use (No CUDA GPUs are available)",
        ),
        (
            words.NO_LIBCUDA,
            "missing_driver",
            "ComfyUI found no GPU that it can use (libcuda.so.1: cannot open)",
        ),
        (
            words.CUDA_OOM,
            "cuda_out_of_memory",
            "the GPU ran out of memory when it requested 14.00 MiB more",
        ),
        (words.CUDA_OOM_ASYNC, "cuda_out_of_memory", "the GPU ran out of memory"),
        (
            words.CPU_ALLOCATOR,
            "host_out_of_memory",
            (
                "the machine ran out of memory when ComfyUI requested 40000000000000 bytes more, "
                "in the custom node 'big'"
            ),
        ),
        (words.NUMPY_MEMORY, "host_out_of_memory", "the machine ran out of memory"),
        (words.MEMORY_ERROR, "host_out_of_memory", "the machine ran out of memory"),
        (words.DISK_FULL, "disk_full", "the disk is full, or a quota is used up"),
        (words.SQLITE_FULL, "disk_full", "the disk is full, or a quota is used up"),
        (words.SAFETENSORS_FULL, "disk_full", "the disk is full, or a quota is used up"),
        (
            words.DATABASE_IN_USE,
            "database_locked",
            "its asset database is in use by another process",
        ),
    ],
)
def test_the_end_of_a_log_determines_the_reason_of_the_exit(
    log: str, reason: str, message: str
) -> None:
    found = of(log)

    assert (reason, message) == (found.reason, found.message)
    assert found.hint
    assert found.hint


@pytest.mark.parametrize(
    ("log", "reason"),
    [
        (words.CUDA_OOM_TERMINATE, "cuda_out_of_memory"),
        (words.BAD_ALLOC, "host_out_of_memory"),
        (words.RUNNING, "native_crash"),
    ],
)
def test_an_abort_is_explained_by_the_last_message_of_cpp(log: str, reason: str) -> None:
    assert reason == of(log, signal="SIGABRT").reason


@pytest.mark.parametrize("signal", ["SIGSEGV", None])
def test_a_crash_in_native_code_needs_no_log(signal: str | None) -> None:
    """A shell around the interpreter turns the signal into 139."""
    assert of("", 139, signal).reason == "segmentation_fault"
    assert of(words.RUNNING, 139, signal).reason == "segmentation_fault"
    assert of(words.FAULT_HANDLER, 139, signal).reason == "segmentation_fault"


def test_the_fault_handler_identifies_a_crash_with_an_unknown_signal() -> None:
    assert of(words.FAULT_HANDLER, None).reason == "segmentation_fault"


def test_a_kill_counted_by_the_cgroup_is_host_out_of_memory() -> None:
    killed = of(words.RUNNING, signal="SIGKILL", oom_killed=True)
    wrapped = of(words.RUNNING, 137, oom_killed=True)

    assert killed.reason == wrapped.reason == "host_out_of_memory"
    assert of(words.RUNNING, signal="SIGKILL").reason == "signal"
    assert of(words.PORT_IN_USE, 1, oom_killed=True).reason == "port_in_use"


@pytest.mark.parametrize(
    "signal", ["SIGKILL", "SIGTERM", "SIGINT", "SIGHUP", "SIGBUS", "SIGILL", "SIGFPE"]
)
def test_an_exit_by_another_signal_is_reported_regardless_of_the_log(signal: str) -> None:
    found = of(words.RUNNING + words.CUDA_OOM, signal=signal)

    assert found.reason == "signal"
    assert found.message == f"terminated by {signal}"


def test_a_sigint_while_loading_is_reported_as_a_signal() -> None:
    assert of(words.EARLY_SIGINT, signal="SIGINT").reason == "signal"


# What was survived is not the reason.


def test_a_failed_import_of_a_custom_node_is_not_the_reason() -> None:
    log = words.START + words.SURVIVED_MISSING_MODULE

    assert of(log + words.PORT_IN_USE).reason == "port_in_use"
    assert of(log + "Starting server\n").reason == "exit"
    assert of(log, None).reason == "exit"


def test_an_earlier_out_of_memory_of_a_prompt_is_not_the_reason() -> None:
    found = of(words.RUNNING + words.SURVIVED_OOM)

    assert found.reason == "exit"
    assert found.message == "exited unexpectedly with code 1"


def test_out_of_memory_at_the_end_of_the_log_is_the_reason() -> None:
    cut = words.SURVIVED_OOM[: words.SURVIVED_OOM.index("Prompt executed")]

    assert of(words.RUNNING + cut, signal="SIGABRT").reason == "cuda_out_of_memory"


def test_lines_hundreds_of_lines_earlier_are_ignored() -> None:
    log = words.CUDA_OOM + "50%|#####     | 10/20 [00:05<00:05]\n" * 300

    assert of(log).reason == "exit"


def test_the_final_traceback_decides_over_an_earlier_one() -> None:
    unknown = 'Traceback (most recent call last):\n  File "x.py", line 1\nKeyError: 7\n'
    found = of(words.DISK_FULL + "retrying\n" + unknown)

    assert (found.reason, found.hint) == ("exit", "")
    assert found.message == "exited unexpectedly with code 1: KeyError: 7"


def test_errors_in_destructors_after_the_final_traceback_do_not_hide_it() -> None:
    noise = (
        "Exception ignored in: <function Pool.__del__ at 0x7f>\n"
        "Traceback (most recent call last):\n"
        '  File "pool.py", line 1, in __del__\n'
        "AttributeError: 'NoneType' object has no attribute 'close'\n"
    )

    assert of(words.PORT_IN_USE + noise).reason == "port_in_use"


def test_code_in_a_traceback_is_not_parsed_as_a_message() -> None:
    """`raise AssertionError("Torch not compiled …")` is in the traceback of other errors too."""
    log = words.TORCH_WITHOUT_CUDA.splitlines()[:-1]

    assert of("\n".join([*log, "ValueError: something else"])).reason == "exit"


def test_an_exit_with_0_is_clean_regardless_of_the_log() -> None:
    found = of(words.RUNNING + words.CUDA_OOM, 0)

    assert (found.reason, found.message) == ("exit", "exited unexpectedly with code 0")
    assert (found.hint, found.expected) == ("", False)


def test_the_displayed_tail_omits_the_usage_of_argparse() -> None:
    log = f"loading\n{words.UNKNOWN_ARGUMENT}".splitlines()

    assert shown_tail(log, 20) == ["loading", log[-1]]
    assert shown_tail(log, 1) == [log[-1]]
    assert shown_tail(["  File x", "", "Extension modules: a.b, c (total: 185)"], 5) == [
        "  File x",
        "",
    ]


def test_an_unknown_ending_has_no_guessed_reason() -> None:
    found = of("", None)

    assert (found.reason, found.message) == ("exit", "exited; exit status unavailable")
    assert (found.exit_code, found.signal, found.hint) == (None, None, "")


def test_without_a_traceback_the_last_line_is_reported() -> None:
    message = "exited unexpectedly with code 3; last output: last words"

    assert of("one\nlast words\n\n", 3).message == message


@pytest.mark.parametrize(
    "prefix",
    [
        "\x1b[31m[ERROR]\x1b[0m ",
        "[ERROR] ",
        "[2024-11-06 23:40:38.499] ",
        "2024-12-16 17:10:56,770 - root - ERROR - ",
        "  9%|#   | 1/20 [00:01<00:20]\r",
    ],
)
def test_timestamps_colours_and_progress_bars_before_a_line_are_ignored(prefix: str) -> None:
    lines = words.MEMORY_ERROR.splitlines()
    marked = "\n".join(f"{prefix}{line}" for line in lines)

    assert of(marked).reason == "host_out_of_memory"
    assert of(f"{prefix}got prompt\n").message == "exited unexpectedly with code 1"


@pytest.mark.parametrize(
    "log",
    [
        "",
        "\n\n\n",
        "\0" * 100,
        "\r" * 100,
        "x" * 1_000_000,
        "[Errno 98]" * 9_999,
        "Traceback (most recent call last):",
        "main.py: error: unrecognized arguments: {0} {x}",
    ],
)
def test_no_text_of_a_log_raises(log: str) -> None:
    found = of(log)

    assert found.message
    assert len(found.message) < 500


@pytest.mark.parametrize(
    "line",
    [
        "50%|#####     | 10/20 [00:05<00:05,  1.9it/s] some node says what it does, at length",
        '  File "/workspace/ComfyUI-comm/custom_nodes/a/b.py", line 1, in custom_nodes/x',
        "[2024-11-06 23:40:38.499] [INFO] DefaultCPUAllocator: .......... bind on address (",
    ],
)
def test_a_diagnosis_of_200_long_lines_is_fast(line: str) -> None:
    """A pattern with catastrophic backtracking would need hours for these."""
    lines = [line * 100] * 200
    started = time.process_time()

    diagnose(at=0.0, exit_code=1, signal=None, log_tail=lines)

    assert time.process_time() - started < 20
