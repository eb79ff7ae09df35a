"""The command line options of ComfyUI that the stand-in supports.

One table defines both the parser and the `comfy/cli_args.py` of a built environment, so the file
lists exactly the options that the program accepts.
"""

import argparse
import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass

VRAM = "vram_group"


@dataclass(frozen=True, slots=True)
class Flag:
    """One option; `source` is the rest of its `add_argument` call, as Python source text."""

    name: str
    source: str
    group: str = "parser"


_SWITCH = 'action="store_true"'
_PATH = "type=str, default=None"
_NUMBER = "type=int, default=None"

FLAGS = (
    Flag("--listen", 'type=str, default="127.0.0.1", metavar="IP", nargs="?", const="0.0.0.0,::"'),
    Flag("--port", "type=int, default=8188"),
    Flag("--enable-cors-header", 'type=str, default=None, nargs="?", const="*"'),
    Flag("--max-upload-size", "type=float, default=100"),
    Flag("--base-directory", _PATH),
    Flag("--extra-model-paths-config", 'type=str, default=None, nargs="+", action="append"'),
    Flag("--output-directory", _PATH),
    Flag("--temp-directory", _PATH),
    Flag("--input-directory", _PATH),
    Flag("--user-directory", "type=is_valid_directory, default=None"),
    Flag("--auto-launch", _SWITCH),
    Flag("--disable-auto-launch", _SWITCH),
    Flag("--cuda-device", _NUMBER),
    Flag("--default-device", _NUMBER),
    Flag("--cuda-malloc", _SWITCH),
    Flag("--disable-cuda-malloc", _SWITCH),
    Flag("--force-fp32", _SWITCH),
    Flag("--force-fp16", _SWITCH),
    Flag("--bf16-unet", _SWITCH),
    Flag("--fp16-vae", _SWITCH),
    Flag("--cpu-vae", _SWITCH),
    Flag("--preview-method", 'choices=["none", "auto", "latent2rgb", "taesd"], default="none"'),
    Flag("--cache-lru", "type=int, default=0"),
    Flag("--cache-none", _SWITCH),
    Flag("--use-split-cross-attention", _SWITCH),
    Flag("--use-pytorch-cross-attention", _SWITCH),
    Flag("--use-sage-attention", _SWITCH),
    Flag("--disable-xformers", _SWITCH),
    Flag("--gpu-only", _SWITCH, VRAM),
    Flag("--highvram", _SWITCH, VRAM),
    Flag("--normalvram", _SWITCH, VRAM),
    Flag("--lowvram", _SWITCH, VRAM),
    Flag("--novram", _SWITCH, VRAM),
    Flag("--cpu", _SWITCH, VRAM),
    Flag("--reserve-vram", "type=float, default=None"),
    Flag("--disable-smart-memory", _SWITCH),
    Flag("--deterministic", _SWITCH),
    Flag("--fast", 'nargs="*"'),
    Flag("--dont-print-server", _SWITCH),
    Flag("--quick-test-for-ci", _SWITCH),
    Flag("--disable-metadata", _SWITCH),
    Flag("--disable-all-custom-nodes", _SWITCH),
    Flag("--disable-api-nodes", _SWITCH),
    Flag("--multi-user", _SWITCH),
    Flag("--verbose", 'default="INFO", const="DEBUG", nargs="?"'),
    Flag("--log-stdout", _SWITCH),
    Flag("--front-end-version", "type=str, default=None"),
    Flag("--database-url", _PATH),
)


def is_valid_directory(path: str) -> str:
    """Return `path` if it exists. ComfyUI calls this while it parses its arguments."""
    if not os.path.exists(path):  # noqa: PTH110 - the type of an argparse option is text
        raise argparse.ArgumentTypeError(f"The path '{path}' does not exist.")
    return path


def source(missing: Collection[str] = ()) -> str:
    """Return the text of a `comfy/cli_args.py` with all flags except the `missing` ones."""
    calls = "\n".join(
        f'{flag.group}.add_argument("{flag.name}", {flag.source})'
        for flag in FLAGS
        if flag.name not in missing
    )
    return (
        f'"""The arguments of a ComfyUI stand-in."""\n\nimport argparse\n'
        f"from comfysup.demo.arguments import is_valid_directory\n\n"
        f"parser = argparse.ArgumentParser()\n"
        f"{VRAM} = parser.add_mutually_exclusive_group()\n\n{calls}\n"
    )


def parse(argv: Sequence[str], missing: Collection[str] = ()) -> argparse.Namespace:
    """Parse as ComfyUI does: an invalid argument exits with 2 and prints the usage to stderr."""
    names: dict[str, argparse.ArgumentParser] = {}
    # The source is this module's own table above, without external input.
    exec(compile(source(missing), "cli_args.py", "exec"), names)  # noqa: S102
    return names["parser"].parse_args(argv)
