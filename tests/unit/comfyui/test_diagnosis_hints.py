"""The hints of a diagnosis."""

from comfysup.comfyui.diagnosis.circumstances import Circumstances
from tests.unit.comfyui import last_words as words
from tests.unit.comfyui.diagnosing import of

# What else is told.


def test_the_hint_for_a_missing_module_names_the_importing_custom_node() -> None:
    log = words.SURVIVED_MISSING_MODULE.split("\n\nCannot", maxsplit=1)[0]
    found = of(log)

    assert found.message.endswith("is missing, in the custom node 'broken_node.py'")
    assert found.hint == "install it into the environment's venv, or remove that node"


def test_the_hint_names_the_requirements_file_of_a_custom_node() -> None:
    log = words.SURVIVED_MISSING_MODULE.split("\n\nCannot", maxsplit=1)[0]
    has = Circumstances(requirements=frozenset({"broken_node.py"}))

    assert "-r custom_nodes/broken_node.py/requirements.txt" in of(log, circumstances=has).hint


def test_a_mistyped_argument_is_answered_with_the_nearest_known_one() -> None:
    assert of(words.UNKNOWN_ARGUMENT).hint == "correct extra_args: did you mean --lowvram?"


def test_an_argument_that_resembles_no_known_one_is_answered_without_a_suggestion() -> None:
    log = "main.py: error: unrecognized arguments: --my-own-thing /x\n"

    assert of(log, 2).hint == "correct extra_args"


def test_a_suggestion_names_the_argument_that_it_replaces() -> None:
    log = "main.py: error: unrecognized arguments: --nothing --hihgvram\n"

    assert of(log, 2).hint == "correct extra_args: did you mean --highvram instead of --hihgvram?"


def test_only_causes_that_a_retry_cannot_change_are_permanent() -> None:
    assert of(words.UNKNOWN_ARGUMENT, 2).permanent
    assert not of(words.MISSING_MODULE).permanent
    assert not of(words.PORT_IN_USE).permanent


# Hints know how the process was started.


def test_the_cpu_flag_is_not_suggested_if_it_is_set() -> None:
    with_cpu = Circumstances(arguments=("--cpu",))

    assert "--cpu" in of(words.NO_DRIVER).hint
    assert "--cpu" not in of(words.NO_DRIVER, circumstances=with_cpu).hint
    assert "--cpu" not in of(words.TORCH_WITHOUT_CUDA, circumstances=with_cpu).hint


def test_the_lowvram_flag_is_not_suggested_if_it_is_set() -> None:
    low = Circumstances(arguments=("--lowvram",))

    assert of(words.CUDA_OOM, circumstances=low).hint.startswith("use --novram instead")


def test_the_hint_for_a_process_without_a_gpu_names_its_visible_devices() -> None:
    seventh = Circumstances(variables={"CUDA_VISIBLE_DEVICES": "7"})

    assert "CUDA_VISIBLE_DEVICES='7'" in of(words.NO_GPUS, circumstances=seventh).hint


def test_the_hint_for_an_old_driver_does_not_mention_visible_gpus() -> None:
    seventh = Circumstances(variables={"CUDA_VISIBLE_DEVICES": "7"}, arguments=("--cpu",))
    hint = of(words.OLD_DRIVER, circumstances=seventh).hint

    assert hint.startswith("update the driver")
    assert "CUDA_VISIBLE_DEVICES" not in hint
    assert "--cpu" not in hint


def test_a_full_disk_without_a_path_names_the_caches_that_lie_elsewhere() -> None:
    cached = Circumstances(variables={"HF_HOME": "/cache/hf"})
    path = words.DISK_FULL.replace("device\n", "device: '/data/x'\n")

    assert "HF_HOME=/cache/hf" in of(words.DISK_FULL, circumstances=cached).hint
    assert "HF_HOME" not in of(path, circumstances=cached).hint
    assert "/data/x" in of(path).message


def test_the_hint_for_a_missing_module_mentions_a_venv_of_another_python() -> None:
    other = Circumstances(python="3.12", libraries=("3.11",))
    same = Circumstances(python="3.11", libraries=("3.11",))
    found = of(words.MISSING_MODULE, circumstances=other)

    assert found.reason == "wrong_python"
    assert found.message == "the environment runs Python 3.12, its packages are for 3.11"
    assert found.permanent
    assert of(words.MISSING_MODULE, circumstances=same).reason == "missing_module"
