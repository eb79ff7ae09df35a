"""Custom nodes that failed, read from logs as ComfyUI 0.3.64 and 0.33.0 write them."""

import pytest

from comfysup.comfyui.diagnosis.conditions import MAX_CONDITIONS, failed_nodes

NODES = "/workspace/ComfyUI-comm/custom_nodes"

OLD = f"""\
Failed to execute startup-script: {NODES}/early/prestartup_script.py / [Errno 13] Permission denied

Prestartup times for custom nodes:
   0.0 seconds: {NODES}/fine
   0.0 seconds (PRESTARTUP FAILED): {NODES}/early

ComfyUI version: 0.3.64
Traceback (most recent call last):
  File "/workspace/ComfyUI-comm/nodes.py", line 2131, in load_custom_node
    module_spec.loader.exec_module(module)
ModuleNotFoundError: No module named 'onnxruntime'

Cannot import {NODES}/needs onnx module for custom nodes: No module named 'onnxruntime'
Skip {NODES}/empty module for custom nodes due to the lack of NODE_CLASS_MAPPINGS or \
comfy_entrypoint (need one).

Import times for custom nodes:
   0.0 seconds: {NODES}/fine
   0.0 seconds (IMPORT FAILED): {NODES}/needs onnx
   0.1 seconds (IMPORT FAILED): {NODES}/empty
   0.2 seconds (IMPORT FAILED): {NODES}/silent.py

WARNING: some comfy_extras/ nodes did not import correctly. This may be because they are missing \
some dependencies.

IMPORT FAILED: nodes_audio.py
"""

RECORDS = ("Failed", "   0", "ComfyUI", "Traceback", "Cannot", "Skip", "IMPORT", "WARNING")
NEW = "\n".join(
    f"\x1b[1m\x1b[33m[WARNING]\x1b[0m {line}" if line.startswith(RECORDS) else line
    for line in OLD.splitlines()
)


@pytest.mark.parametrize("log", [OLD, NEW], ids=["0.3", "0.22 and newer"])
def test_each_custom_node_that_failed_is_named_with_its_error(log: str) -> None:
    found = failed_nodes(log.splitlines())

    assert [(each.code, each.message) for each in found] == [
        (
            "custom_node_failed",
            "the start-up script of the custom node 'early' failed: [Errno 13] Permission denied",
        ),
        (
            "custom_node_failed",
            "the custom node 'needs onnx' could not be imported: No module named 'onnxruntime'",
        ),
        (
            "custom_node_failed",
            "the custom node 'empty' could not be imported: it defines no NODE_CLASS_MAPPINGS",
        ),
        ("custom_node_failed", "the custom node 'silent.py' could not be imported"),
        ("builtin_node_failed", "ComfyUI's own nodes of nodes_audio.py could not be imported"),
    ]
    assert all(each.hint for each in found)


def test_nodes_of_comfyui_itself_are_named_with_the_error_of_their_import() -> None:
    log = f"""\
Cannot import {NODES}/nodes_audio.py module for custom nodes: an error of a custom node
Cannot import /w/ComfyUI-comm/comfy_extras/nodes_audio.py module for custom nodes: \
libtorch.so is missing
Cannot import /w/ComfyUI-comm/comfy_api_nodes/nodes_bfl.py module for custom nodes: \
No module named 'av'
IMPORT FAILED: nodes_audio.py
IMPORT FAILED: nodes_bfl.py
"""

    assert [(each.code, each.message) for each in failed_nodes(log.splitlines())] == [
        (
            "builtin_node_failed",
            "ComfyUI's own nodes of nodes_audio.py could not be imported: libtorch.so is missing",
        ),
        (
            "builtin_node_failed",
            "ComfyUI's own nodes of nodes_bfl.py could not be imported: No module named 'av'",
        ),
    ]


def test_the_hint_for_a_missing_module_names_the_requirements_of_the_node() -> None:
    [_, missing, *_] = failed_nodes(OLD.splitlines(), lambda path: path == f"{NODES}/needs onnx")
    [_, without, *_] = failed_nodes(OLD.splitlines())

    assert "'onnxruntime'" in missing.hint
    assert f"{NODES}/needs onnx/requirements.txt" in missing.hint
    assert without.hint == "install 'onnxruntime' into the environment's venv"


def test_only_the_last_load_of_a_process_that_re_executes_itself_counts() -> None:
    second = f"""\
Prestartup times for custom nodes:
   0.0 seconds: {NODES}/early

Import times for custom nodes:
   0.0 seconds: {NODES}/needs onnx
   0.0 seconds (IMPORT FAILED): {NODES}/other
"""
    found = failed_nodes((OLD + second).splitlines())

    assert [each.message for each in found] == ["the custom node 'other' could not be imported"]


def test_control_characters_are_removed() -> None:
    log = f"   0.0 seconds (IMPORT FAILED): {NODES}/x\x1b]0;title\x07\u202e\n"
    [found] = failed_nodes(log.splitlines())

    assert found.message.isprintable()


def test_a_startup_script_and_an_import_of_one_node_have_separate_errors() -> None:
    log = f"""\
Failed to execute startup-script: {NODES}/x/prestartup_script.py / boom
   0.0 seconds (PRESTARTUP FAILED): {NODES}/x
Skip {NODES}/x module for custom nodes due to the lack of NODE_CLASS_MAPPINGS (need one).
Import times for custom nodes:
   0.0 seconds (IMPORT FAILED): {NODES}/x
"""

    assert [each.message for each in failed_nodes(log.splitlines())] == [
        "the start-up script of the custom node 'x' failed: boom",
        "the custom node 'x' could not be imported: it defines no NODE_CLASS_MAPPINGS",
    ]


@pytest.mark.parametrize(
    "log",
    [
        "",
        f"Import times for custom nodes:\n   0.0 seconds: {NODES}/fine\n",
        "my node says: took 0.1 seconds (IMPORT FAILED): nothing\n",
        "Cannot import it module for custom nodes: and goes on\n",
    ],
)
def test_a_load_without_failures_has_no_conditions(log: str) -> None:
    assert failed_nodes(log.splitlines()) == []


def test_hundreds_of_failures_are_counted_and_not_all_named() -> None:
    rows = [f"   0.0 seconds (IMPORT FAILED): {NODES}/{n}" for n in range(MAX_CONDITIONS + 7)]
    found = failed_nodes(rows)

    assert len(found) == MAX_CONDITIONS + 1
    assert found[-1].message == "7 more custom nodes could not be imported"


def test_a_failed_startup_script_of_an_imported_custom_node_is_reported() -> None:
    log = f"""\
Failed to execute startup-script: {NODES}/x/prestartup_script.py / division by zero

Prestartup times for custom nodes:
   0.0 seconds (PRESTARTUP FAILED): {NODES}/x

Import times for custom nodes:
   0.0 seconds: {NODES}/x
"""
    assert [each.message for each in failed_nodes(log.splitlines())] == [
        "the start-up script of the custom node 'x' failed: division by zero"
    ]


def test_a_startup_script_that_succeeds_in_a_second_load_ends_its_failure() -> None:
    log = f"""\
Failed to execute startup-script: {NODES}/x/prestartup_script.py / division by zero
Prestartup times for custom nodes:
   0.0 seconds (PRESTARTUP FAILED): {NODES}/x
Prestartup times for custom nodes:
   0.0 seconds: {NODES}/x
"""
    assert failed_nodes(log.splitlines()) == []
