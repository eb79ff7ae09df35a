"""The stages of the stand-in: parse, misbehave, load, serve, exit.

An early exit, the case that tests wait for most often, precedes every slow import.
"""

import argparse
import os
import signal
import sys
import time
from collections.abc import Collection

from comfysup.demo import arguments as command_line
from comfysup.demo.endings import end_at_start
from comfysup.demo.misbehaviour import Misbehaviour
from comfysup.demo.output import copy_to_stdout, log, show_progress, start_flood
from comfysup.demo.places import VERSION, Places, lock_database
from comfysup.demo.relatives import start_relatives


def main(missing_flags: Collection[str] = ()) -> None:
    """Run the stand-in with `sys.argv` and the environment until it exits.

    `missing_flags` are refused, as by a version of ComfyUI that does not have them.
    """
    arguments = command_line.parse(sys.argv[1:], missing_flags)
    misbehaviour = Misbehaviour.read(os.environ)
    places = Places.of(arguments)
    _begin(misbehaviour)
    _load(arguments, misbehaviour, places)
    _serve(arguments, misbehaviour, places)


def _begin(misbehaviour: Misbehaviour) -> None:
    for number in misbehaviour.ignore:
        signal.signal(number, signal.SIG_IGN)
    start_relatives(misbehaviour)
    end_at_start(misbehaviour)
    if misbehaviour.output is not None:
        copy_to_stdout(misbehaviour.output)
    if misbehaviour.flood is not None:
        start_flood(misbehaviour.flood)


def _load(arguments: argparse.Namespace, misbehaviour: Misbehaviour, places: Places) -> None:
    """Load; a SIGINT in this stage kills the process without cleanup, as with ComfyUI."""
    until = time.monotonic() + misbehaviour.load_seconds
    log("Total VRAM 0 MB, total RAM 0 MB")
    log("Set vram state to: DISABLED\nDevice: cpu")
    log(f"Python version: {sys.version}\nComfyUI version: {VERSION}")
    if arguments.temp_directory:
        log(f"Setting temp directory to: {places.temp}")
    places.clean_temp()
    if places.database is not None and misbehaviour.database_lock:
        lock_database(places.database)
    _load_custom_nodes(places)
    if misbehaviour.progress:
        for step in range(11):
            show_progress(step, 10)
    import comfysup.demo.serving  # noqa: F401, PLC0415 - loading time, as in ComfyUI

    time.sleep(max(0.0, until - time.monotonic()))
    while misbehaviour.never_ready:
        signal.pause()
    if arguments.quick_test_for_ci:
        raise SystemExit(0)
    places.temp.mkdir(parents=True, exist_ok=True)


def _load_custom_nodes(places: Places) -> None:
    directory = places.root / "custom_nodes"
    log("\nImport times for custom nodes:")
    for path in sorted(directory.iterdir()) if directory.is_dir() else ():
        log(f"   0.0 seconds: {path}")
    log("")


def _serve(arguments: argparse.Namespace, misbehaviour: Misbehaviour, places: Places) -> None:
    """Serve until SIGINT, then exit with 0; an exception ends the process; never returns."""
    from comfysup.demo.serving import serve  # noqa: PLC0415 - costs a third of a second

    try:
        serve(arguments, misbehaviour, places)
    except KeyboardInterrupt:
        # From here on a second SIGINT kills the process.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        log("\nStopped server")
        places.clean_temp()
        time.sleep(misbehaviour.stop_seconds)
        os._exit(0)
