"""Classifies output lines: an end, a process that continues, or no information.

Data with which `diagnosis` selects the sentence that ended a process.
"""

import re

MAX_CHARS = 2_000

_COLOUR = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_STAMP = re.compile(r"(?:\[[\d:. T-]{8,}\] ?|\d{4}-\d\d-\d\d[ T][\d:,.]+ - )?(?:[\w.]+ - )?")
_LEVEL = re.compile(r"\[?(?:DEBUG|DETAIL|INFO|WARNING|ERROR|CRITICAL)(?:\](?: |$)| - )")
_BAR = re.compile(r"(?:[^|\[]{0,80}?: *)?\s{0,3}\d{1,3}%\|[^|]*\|[^\[]{0,40}\[[^\]]{0,120}\]")
"""A bar of tqdm: `Loading:  45%|####      | 9/20 [00:09<00:14,  1.34s/it]`."""


def bare(raw: str) -> str:
    """Return the final text of a line without colours, time stamp, level and progress bar.

    Since ComfyUI 0.22 the first line of each log record begins with a colour and `[LEVEL] `, in a
    pipe too. ComfyUI-Manager, custom nodes and wrappers put time stamps before it. A process that
    dies during a progress bar writes its final message after the bar, on the same line. Returns at
    most 2,000 characters.
    """
    line = raw.rstrip()
    line = line[line.rfind("\r") + 1 :][:MAX_CHARS]
    if "\x1b" in line:
        line = _COLOUR.sub("", line)
    if line[:1] in "[0123456789" and (stamp := _STAMP.match(line)):
        line = line[stamp.end() :]
    if level := _LEVEL.match(line):
        line = line[level.end() :]
    if "%|" in line and (bar := _BAR.match(line)):
        line = line[bar.end() :]
    return line


NATIVE_SENTENCE = re.compile(
    r"(?P<sentence>terminate called .*|libc\+\+abi: .*|(?:free|malloc|realloc|calloc)\(\): .*"
    r"|malloc_consolidate\(\): .*|munmap_chunk\(\): .*|double free or corruption.*"
    r"|corrupted (?:size vs\. prev_size|double-linked list).*"
    r"|\*\*\* stack smashing detected \*\*\*.*|\*\*\* buffer overflow detected \*\*\*.*"
    r"|\S*tcmalloc\.cc:\d+\].*|<jemalloc>: .*|.*: Assertion `.*' failed\.?$|LLVM ERROR: .*"
    r"|.*failed assertion [`'].*|Memory access fault by GPU.*|HW Exception by GPU.*"
    r"|.*HSA_STATUS_ERROR\w*.*|rocBLAS error: .*|\"?hipErrorNoBinaryForGpu.*"
    r"|\[F\d{4} .*|F\d{4} [\d:.]+ .*\] .*|.*Check failed: .*"
    r"|memory allocation of \d+ bytes failed.*"
    r"|Fatal Python error: (?!Aborted).*|OpenBLAS .*|pthread_create failed.*"
    r"|Fatal glibc error: .*|OMP: Error #\d+: .*|\[libprotobuf FATAL .*|fatal runtime error: .*"
    r"|thread '.*' panicked at .*|This application failed to start because no Qt platform.*"
    r"|FATAL ERROR: .*JavaScript heap.*|(?:\S+: )?\S+\.(?:c|cc|cpp|cu|h|hpp):\d+: .*"
    r"|Assertion failed: .*|Abort was called at \d+ line in file:.*"
    r"|Could not load library \S+\.so.*|Unable to load any of \{lib.*)"
)
"""Messages of C libraries right before abort(3), possibly after a progress bar."""

GGML_ERROR = re.compile(r"CUDA error: .")
GGML_SENTENCE = ": CUDA error"
"""ggml's report of an error, and the end of its final message, which names only a place."""

OTHERS = re.compile(r"\((?:\S+ pid=\d+(?:, ip=[^)]*)?|raylet|pid=\d+)\) ")
"""Before each line that Ray passes on from the processes that it started."""

TERMINAL = re.compile(
    r"^\S*: error: |ASSETS_STARTUP_FAILED: |^[\w.-]+ is not installed\.$|Malware has been detected"
    r"|: can't open file '|^Port \d+ is already in use on address |^Fatal Python error: (?!Aborted)"
    r"|^To use the `--use-\S+` feature, the `\S+` package must be installed first"
)
"""Messages of ComfyUI and Python right before they exit without a traceback."""

SURVIVED = re.compile(
    r"got prompt|Prompt executed in|Starting server|To see the GUI go to"
    r"|(?:Import|Prestartup) times for custom nodes|\(IMPORT FAILED\)|Cannot import "
    r"|Failed to execute startup-script|ComfyUI version: |Requested to load "
)
"""Lines of a ComfyUI that continues: nothing before them ended the process."""

NOISE = re.compile(
    r"$|\s|frame #\d+:|#\d+ |Binary file \"|Extension modules?: |(?:Current )?[Tt]hread(?:'s)? .*:$"
    r"|Stack \(most recent call first\)|Call stack:|Message: |Arguments: |<no Python frame>"
    r"|Aborted\b|Abort trap|\[1\]|zsh: |fish: Job |\S+: \S+ \d+:\s+\d+ "
    r"|.*\((?:core dumped|`core' generado|\u6838\u5fc3\u5df2\u8f6c\u50a8)\)"
    r"|Fatal Python error: Aborted|Exception raised from "
    r"|\[comfysup: |[\W_]+$|[*=#~_-]{3,}.*[*=#~_-]{3,}$|sys:1: |.*Warning: |warnings\.warn"
    r"|(?:CUDA|HIP) kernel errors might|For debugging consider|Compile with |Search for `"
    r"|Device-side assertion|(?:Currently allocated|Requested|Device limit|Free \(according)"
    r"|PyTorch limit|Tried to allocate |If reserved but|\(Background on"
    r"|List of available TensileLibrary"
    r"|GPU core ?dump|Failed to write segment data|nanobind: |Traceback \(most recent"
    r"|FETCH (?:ComfyRegistry|DATA)|\[ComfyUI-Manager\] (?:default cache updated|All startup tasks)"
    r"|Unclosed client session|client_session: |Got an OOM|During handling of the above"
    r"|The above exception was|Windows fatal|Stopped server"
)
"""Lines without information: frames, banners, advice, and output that follows a crash."""
