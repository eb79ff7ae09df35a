"""Arguments, settings and code that ComfyUI or Python refuses."""

from comfysup.comfyui.diagnosis.patterns.pattern import ARGUMENTS, pattern

PROGRAM = (
    # ---- arguments
    pattern(
        "unknown_argument",
        r"error: unrecognized arguments: (?P<arguments>.+)",
        "unknown arguments: {arguments}",
        ARGUMENTS,
    ),
    pattern(
        "unknown_argument",
        r"^main\.py: error: (?P<what>.+)",
        "ComfyUI refused its arguments: {what}",
        ARGUMENTS,
    ),
    # ---- the rest
    pattern(
        "native_crash",
        r"no Qt platform plugin could be initialized",
        "a custom node opens a window, and the container has no display",
        "install opencv-python-headless instead of opencv-python into the environment's venv, or "
        "set QT_QPA_PLATFORM=offscreen in `env`",
    ),
    pattern(
        "native_crash",
        r"^OMP: Error #15: Initializing (?P<library>[^,]+)",
        "OpenMP is loaded twice ({library})",
        "disable the custom node that was installed last; KMP_DUPLICATE_LIB_OK=TRUE in `env` lets "
        "both run, which may crash",
    ),
    pattern(
        "exit",
        r"^(?P<what>(?:\w+\.)*\w+Error\b.*)",
        "extra_model_paths.yaml, or a file of --extra-model-paths-config, cannot be used ({what})",
        "correct it as in extra_model_paths.yaml.example, or remove it",
        frame=r"extra_config\.py:load_extra_path_config$",
    ),
    pattern(
        "exit",
        r"can't open file '(?P<path>[^']+)': \[Errno 2\]",
        "Python cannot find {path}",
        "clone ComfyUI again into the environment's directory",
    ),
    pattern(
        "exit",
        r"Malware has been detected",
        "ComfyUI-Manager found malware in the environment and ended ComfyUI",
        "the last log lines name it; remove it and recreate the venv",
    ),
    pattern(
        "exit",
        r"^(?P<what>(?:IndentationError|TabError|SyntaxError): .+)",
        "{file} is not valid Python ({what})",
        "clone it again: an update may have left merge conflicts, or the file requires a newer "
        "Python",
        frame=r"^(?P<file>/.+):$",
    ),
    pattern(
        "exit",
        r"^(?P<what>(?:IndentationError|TabError|SyntaxError): .+)",
        "a file of ComfyUI or of a custom node is not valid Python ({what})",
        "clone it again: an update may have left merge conflicts, or the file requires a newer "
        "Python",
    ),
)
