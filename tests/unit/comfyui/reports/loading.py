"""Starts in public reports: missing or incompatible packages."""

from tests.unit.comfyui.last_words import START
from tests.unit.comfyui.reports.shape import Report, main

_IMPORTS = (
    '  File "/workspace/ComfyUI-comm/comfy/sd1_clip.py", line 3, in <module>\n'
    "    from transformers import CLIPTokenizer\n"
)
_NUMPY = """\
ImportError:

IMPORTANT: PLEASE READ THIS FOR ADVICE ON HOW TO SOLVE THIS ISSUE!

Importing the numpy C-extensions failed. This error can happen for
many reasons, often due to issues with your setup or how NumPy was
installed.

We have compiled some common reasons and troubleshooting tips at:

    https://numpy.org/devdocs/user/troubleshooting-importerror.html

Please note and check the following:

  * The Python version is: Python3.11 from "/w/venv/bin/python"
  * The NumPy version is: "1.24.4"

and make sure that they are the versions you expect.
Please carefully study the documentation linked above for further help.

Original error was: """


def numpy(cause: str, before: str = START) -> str:
    """Return the output of a NumPy that cannot load its own extension."""
    packages = "/w/venv/lib/python3.11/site-packages/numpy"
    return (
        f"{before}Traceback (most recent call last):\n"
        f'  File "{packages}/core/__init__.py", line 23, in <module>\n'
        "    from . import multiarray\n"
        f"ImportError: {cause}\n\n"
        "During handling of the above exception, another exception occurred:\n\n"
        "Traceback (most recent call last):\n"
        '  File "/workspace/ComfyUI-comm/main.py", line 137, in <module>\n'
        "    import comfy.utils\n"
        f'  File "{packages}/core/__init__.py", line 49, in <module>\n'
        f"    raise ImportError(msg)\n{_NUMPY}{cause}\n\n"
    )


_BLAS = "".join(
    f"OpenBLAS blas_thread_init: pthread_create failed for thread {n} of 4: "
    "Operation not permitted\nOpenBLAS blas_thread_init: RLIMIT_NPROC -1 current, -1 max\n"
    for n in range(1, 4)
)

LOADING = [
    # ---- packages that are not there
    Report(
        "an attention that was asked for and is not installed",
        "woct0rdho/SageAttention#7",
        f"{START}\n\nTo use the `--use-sage-attention` feature, the `sageattention` package must "
        "be installed first.\ncommand:\n\t/w/venv/bin/python -m pip install sageattention\n",
        255,
        "missing_module",
        ("'sageattention'", "--use-sage-attention"),
        ("command:",),
    ),
    Report(
        "a manager that was asked for, which ComfyUI goes on without",
        "ROCm/legacy-rocm-build#6143",
        "[WARNING] \n\nTo use the `--enable-manager` feature, the `comfyui-manager` package must "
        "be installed first.\ncommand:\n\t/w/venv/bin/python -m pip install -r "
        "/workspace/ComfyUI-comm/manager_requirements.txt\n" + main("KeyError: 'gfx1151'"),
        1,
        "exit",
        ("KeyError: 'gfx1151'",),
        ("comfyui-manager",),
    ),
    Report(
        "no YAML",
        "Comfy-Org/ComfyUI#10848",
        "Traceback (most recent call last):\n"
        '  File "/workspace/ComfyUI-comm/main.py", line 11, in <module>\n'
        "    import utils.extra_config\n"
        '  File "/workspace/ComfyUI-comm/utils/extra_config.py", line 2, in <module>\n'
        "    import yaml\nModuleNotFoundError: No module named 'yaml'\n",
        1,
        "missing_module",
        ("'yaml'",),
        ("extra_model_paths",),
    ),
    Report(
        "a package of ComfyUI's makers that is too old",
        "Comfy-Org/ComfyUI-Manager#2852",
        "comfy-aimdo failed to load: libcuda.so.1: cannot open shared object file: No such file or "
        "directory\nNOTE: comfy-aimdo is currently only support for Nvidia GPUs\n"
        + main("ModuleNotFoundError: No module named 'comfy_aimdo.vram_buffer'"),
        1,
        "missing_module",
        ("'comfy_aimdo.vram_buffer'", "requirements.txt"),
        ("hides it", "libcuda"),
    ),
    Report(
        "ComfyUI's own package, which another one hides",
        "Comfy-Org/ComfyUI#2584",
        main("ModuleNotFoundError: No module named 'app.user_manager'"),
        1,
        "missing_module",
        ("'app.user_manager'", "hides it"),
    ),
    Report(
        "ComfyUI's own utils, which a file hides",
        "ModelSurge/sd-webui-comfyui#228",
        main("ModuleNotFoundError: No module named 'utils.extra_config'; 'utils' is not a package"),
        1,
        "missing_module",
        ("'utils.extra_config'",),
        ("install it",),
    ),
    Report(
        "a package of templates without its templates",
        "YanWenKun/ComfyUI-Docker#146",
        f"{START}Traceback (most recent call last):\n"
        '  File "/usr/lib64/python3.13/site-packages/aiohttp/web_urldispatcher.py", line 566, '
        "in __init__\n    directory = Path(directory).expanduser().resolve(strict=True)\n"
        "FileNotFoundError: [Errno 2] No such file or directory: "
        "'/usr/lib/python3.13/site-packages/comfyui_workflow_templates/templates'\n\n"
        "The above exception was the direct cause of the following exception:\n\n"
        "Traceback (most recent call last):\n"
        '  File "/workspace/ComfyUI-comm/main.py", line 321, in <module>\n    start_comfyui()\n'
        '  File "/workspace/ComfyUI-comm/server.py", line 850, in add_routes\n'
        "    web.static('/templates', workflow_templates_path)\n"
        "ValueError: '/usr/lib/python3.13/site-packages/comfyui_workflow_templates/templates' does "
        "not exist\n",
        1,
        "missing_module",
        ("comfyui_workflow_templates", "requirements.txt"),
    ),
    # ---- packages that are incompatible
    Report(
        "a tokenizer that transformers does not take",
        "Tavris1/ComfyUI-Easy-Install#56",
        main(
            "ImportError: tokenizers>=0.22.0,<=0.23.0 is required for a normal functioning of this "
            "module, but found tokenizers==0.21.4.\nTry: `pip install transformers -U` or `pip "
            "install -e '.[dev]'` if you're working with git main",
            _IMPORTS,
        ),
        1,
        "missing_module",
        ("tokenizers>=0.22.0,<=0.23.0", "tokenizers==0.21.4"),
        ("Try:",),
    ),
    Report(
        "a hub that transformers does not take",
        "lldacing/ComfyUI_PuLID_Flux_ll#39",
        main(
            "ImportError: huggingface-hub>=0.24.0,<1.0 is required for a normal functioning of "
            "this module, but found huggingface-hub==0.23.4.\nTry: `pip install transformers -U`",
            _IMPORTS,
        ),
        1,
        "missing_module",
        ("huggingface-hub>=0.24.0,<1.0",),
    ),
    Report(
        "a hub without a name that transformers wants",
        "gokayfem/ComfyUI_VLM_nodes#6",
        main(
            "ImportError: cannot import name 'DEFAULT_ETAG_TIMEOUT' from "
            "'huggingface_hub.constants' (/w/venv/lib/python3.9/site-packages/x.py)",
            _IMPORTS,
        ),
        1,
        "missing_module",
        ("'DEFAULT_ETAG_TIMEOUT'", "another version"),
    ),
    Report(
        "a torch that is too old for safetensors",
        "Comfy-Org/ComfyUI#9232",
        main(
            "AttributeError: module 'torch' has no attribute 'uint64'",
            '  File "/w/venv/lib/python3.10/site-packages/safetensors/torch.py", line 439, '
            "in <module>\n    torch.uint64: 8,\n",
        ),
        1,
        "missing_module",
        ("'torch'", "'uint64'", "another version"),
    ),
    Report(
        "a torch that is too old for a package of ComfyUI's makers",
        "patientx/ComfyUI-Zluda#412",
        main("AttributeError: module 'torch.library' has no attribute 'custom_op'"),
        1,
        "missing_module",
        ("'torch.library'", "'custom_op'"),
    ),
    Report(
        "a torch that is too old for transformers, said in a second line",
        "huggingface/transformers#31385",
        f"{START}Traceback (most recent call last):\n"
        '  File "/w/venv/lib/python3.11/site-packages/transformers/utils/import_utils.py", line '
        '1817, in _get_module\n    return importlib.import_module("." + module_name)\n'
        "AttributeError: module 'torch.utils._pytree' has no attribute 'register_pytree_node'\n\n"
        "The above exception was the direct cause of the following exception:\n\n"
        + main(
            "RuntimeError: Failed to import transformers.configuration_utils because of the "
            "following error (look up to see its traceback):\n"
            "module 'torch.utils._pytree' has no attribute 'register_pytree_node'",
            _IMPORTS,
        ).removeprefix(START),
        1,
        "missing_module",
        ("'register_pytree_node'",),
    ),
    Report(
        "a protobuf that is too new",
        "Gourieff/comfyui-reactor-node#5",
        main(
            "RuntimeError: Failed to import transformers.models.clip.modeling_clip because of the "
            "following error (look up to see its traceback):\n"
            "Descriptors cannot not be created directly.\nIf this call came from a _pb2.py file, "
            "your generated code is out of date and must be regenerated with protoc >= 3.19.0.\n"
            "If you cannot immediately regenerate your protos, some other possible workarounds "
            "are:\n 1. Downgrade the protobuf package to 3.20.x or lower.",
            _IMPORTS,
        ),
        1,
        "missing_module",
        ("protobuf", "are incompatible"),
    ),
    Report(
        "an operator of torchvision, with words of a profiler behind it",
        "ROCm/TheRock#7687",
        main("RuntimeError: operator torchvision::nms does not exist")
        + "W0827 17:03:23.219070   13969 registration.cpp:946] invoking tool finalize for kineto "
        ":: 0x7f949ea161f0 :: 0x3c8bcc40 :: 0x0 :: 0x7f949ea16240\n",
        1,
        "missing_module",
        ("torchvision::nms",),
        ("kineto",),
    ),
    Report(
        "an operator of torchvision, for a Radeon",
        "ROCm/legacy-rocm-build#5899",
        main("RuntimeError: operator torchvision::nms does not exist"),
        1,
        "missing_module",
        ("are incompatible",),
    ),
    Report(
        "a NumPy that was built for another Python, which says why at the end",
        "Bismuth-Consultancy-BV/MLOPs#144",
        numpy("No module named 'numpy.core._multiarray_umath'"),
        1,
        "missing_module",
        ("numpy.core._multiarray_umath",),
    ),
    Report(
        "a NumPy that is interrupted, since no threads could be started",
        "PDFMathTranslate/PDFMathTranslate#927",
        numpy('PyCapsule_Import could not import module "datetime"', START + _BLAS),
        1,
        "exit",
        ("threads", "OPENBLAS_NUM_THREADS"),
    ),
    Report(
        "a module of ComfyUI that an update has not brought",
        "Comfy-Org/ComfyUI#4976",
        main(
            "ModuleNotFoundError: No module named 'model_filemanager'",
            '  File "/workspace/ComfyUI-comm/server.py", line 30, in <module>\n'
            "    from model_filemanager import download_model, DownloadModelStatus\n",
        ),
        1,
        "missing_module",
        ("ComfyUI's own module 'model_filemanager'", "clone ComfyUI again"),
        ("install it into",),
    ),
]
