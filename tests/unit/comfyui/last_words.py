"""The ends of logs as ComfyUI, torch and Python write them.

SEEN here, from ComfyUI 0.3.64 with torch 2.13 (paths shortened); REPORTED in issues of
Comfy-Org/ComfyUI (their numbers beside them) and in torch's sources where no GPU was at hand.
"""

START = """\
Checkpoint files will always be loaded safely.
Total VRAM 24106 MB, total RAM 24106 MB
pytorch version: 2.13.0+cpu
Set vram state to: DISABLED
Device: cpu
"""
LOADED = (
    START
    + """\
Python version: 3.11.7 (main, May  9 2026, 07:35:25) [GCC 12.2.0]
ComfyUI version: 0.3.64
ComfyUI frontend version: 1.27.10

Import times for custom nodes:
   0.0 seconds: /workspace/ComfyUI-comm/custom_nodes/websocket_image_save.py

Context impl SQLiteImpl.
Will assume non-transactional DDL.
No target revision found.
Starting server

"""
)
RUNNING = LOADED + "To see the GUI go to: http://0.0.0.0:3100\ngot prompt\n"

# SEEN
PORT_IN_USE = (
    LOADED
    + """\
Traceback (most recent call last):
  File "/workspace/ComfyUI-comm/main.py", line 367, in <module>
    event_loop.run_until_complete(x)
  File "/usr/lib/python3.11/asyncio/base_events.py", line 653, in run_until_complete
    return future.result()
           ^^^^^^^^^^^^^^^
  File "/workspace/ComfyUI-comm/server.py", line 978, in start_multi_address
    await site.start()
  File "/usr/lib/python3.11/asyncio/base_events.py", line 1525, in create_server
    raise OSError(err.errno, 'error while attempting '
OSError: [Errno 98] error while attempting to bind on address ('0.0.0.0', 3100): \
address already in use
"""
)
MISSING_MODULE = (
    START
    + """\
Traceback (most recent call last):
  File "/workspace/ComfyUI-comm/main.py", line 150, in <module>
    import a_module_that_is_not_there
ModuleNotFoundError: No module named 'a_module_that_is_not_there'
"""
)
SURVIVED_MISSING_MODULE = """\
Traceback (most recent call last):
  File "/workspace/ComfyUI-comm/nodes.py", line 2131, in load_custom_node
    module_spec.loader.exec_module(module)
  File "<frozen importlib._bootstrap_external>", line 940, in exec_module
  File "<frozen importlib._bootstrap>", line 241, in _call_with_frames_removed
  File "/workspace/ComfyUI-comm/custom_nodes/broken_node.py", line 1, in <module>
    import a_module_that_is_not_there
ModuleNotFoundError: No module named 'a_module_that_is_not_there'

Cannot import /workspace/ComfyUI-comm/custom_nodes/broken_node.py module for custom nodes: \
No module named 'a_module_that_is_not_there'

Import times for custom nodes:
   0.0 seconds (IMPORT FAILED): /workspace/ComfyUI-comm/custom_nodes/broken_node.py

"""
UNKNOWN_ARGUMENT = """\
usage: main.py [-h] [--listen [IP]] [--port PORT] [--tls-keyfile TLS_KEYFILE]
               [--user-directory USER_DIRECTORY]
               [--enable-compress-response-body]
               [--comfy-api-base COMFY_API_BASE] [--database-url DATABASE_URL]
main.py: error: unrecognized arguments: --lowram x
"""
BAD_VALUE = UNKNOWN_ARGUMENT.replace(
    "unrecognized arguments: --lowram x", "argument --lowvram: not allowed with argument --cpu"
)
TORCH_WITHOUT_CUDA = """\
Checkpoint files will always be loaded safely.
Traceback (most recent call last):
  File "/workspace/ComfyUI-comm/main.py", line 149, in <module>
    import execution
  File "/workspace/ComfyUI-comm/comfy/model_management.py", line 187, in get_torch_device
    return torch.device(torch.cuda.current_device())
                        ^^^^^^^^^^^^^^^^^^^^^^^^^^^
  File "/workspace/ComfyUI-comm/venv/lib/python3.11/site-packages/torch/cuda/__init__.py", line 522
    raise AssertionError("Torch not compiled with CUDA enabled")
AssertionError: Torch not compiled with CUDA enabled
"""
CPU_ALLOCATOR = """\
Traceback (most recent call last):
  File "/workspace/ComfyUI-comm/custom_nodes/big/__init__.py", line 2, in <module>
    torch.empty(10**13)
RuntimeError: [enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate \
memory: you tried to allocate 40000000000000 bytes. Error code 12 (Cannot allocate memory)
"""
NUMPY_MEMORY = """\
    a = empty(shape, dtype, order, device=device)
        ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
numpy._core._exceptions._ArrayMemoryError: Unable to allocate 728. TiB for an array with shape \
(10000000, 10000000) and data type float64
"""
MEMORY_ERROR = """\
Traceback (most recent call last):
  File "/workspace/ComfyUI-comm/main.py", line 1, in <module>
MemoryError
"""
DISK_FULL = """\
Traceback (most recent call last):
  File "/workspace/ComfyUI-comm/main.py", line 335, in start_comfyui
    os.makedirs(folder_paths.get_temp_directory(), exist_ok=True)
OSError: [Errno 28] No space left on device
"""
FAULT_HANDLER = (
    RUNNING
    + """\
Fatal Python error: Segmentation fault

Current thread 0x00007fd6c97f3b80 (most recent call first):
  File "/usr/lib/python3.11/ctypes/__init__.py", line 519 in string_at
  File "<string>", line 1 in <module>
"""
)
EARLY_SIGINT = (
    START
    + """\
Traceback (most recent call last):
  File "/workspace/ComfyUI-comm/main.py", line 149, in <module>
    import execution
KeyboardInterrupt
"""
)

# REPORTED
NO_DRIVER = """\
Traceback (most recent call last):
  File "/notebooks/ComfyUI/main.py", line 72, in <module>
    import execution
  File "/usr/local/lib/python3.9/dist-packages/torch/cuda/__init__.py", line 298, in _lazy_init
    torch._C._cuda_init()
RuntimeError: Found no NVIDIA driver on your system. Please check that you have an NVIDIA GPU and \
installed a driver from http://www.nvidia.com/Download/index.aspx
"""  # 1865
OLD_DRIVER = NO_DRIVER.replace(
    "Found no NVIDIA driver on your system.",
    "The NVIDIA driver on your system is too old (found version 11040).",
)
NO_GPUS = """\
    torch._C._cuda_init()
RuntimeError: No CUDA GPUs are available
"""
NO_LIBCUDA = """\
ImportError: libcuda.so.1: cannot open shared object file: No such file or directory
"""
NO_LIBRARY = """\
Traceback (most recent call last):
  File "/workspace/ComfyUI-comm/main.py", line 12, in <module>
    import cv2
ImportError: libGL.so.1: cannot open shared object file: No such file or directory
"""
NO_KERNEL = """\
RuntimeError: CUDA error: no kernel image is available for execution on the device
CUDA kernel errors might be asynchronously reported at some other API call, so the stacktrace \
below might be incorrect.
For debugging consider passing CUDA_LAUNCH_BLOCKING=1
"""
CUDA_OOM = """\
Traceback (most recent call last):
  File "/workspace/ComfyUI-comm/comfy/model_management.py", line 237, in <module>
    raise
torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 14.00 MiB. GPU 0 has a total \
capacity of 4.00 GiB of which 0 bytes is free. Of the allocated memory 6.97 GiB is allocated by \
PyTorch, and 184.73 MiB is reserved by PyTorch but unallocated.
"""
CUDA_OOM_ASYNC = """\
torch.OutOfMemoryError: Allocation on device 0 would exceed allowed memory. (out of memory)
Currently allocated     : 18.38 GiB
Requested               : 6.09 GiB
Device limit            : 16.00 GiB
Free (according to CUDA): 0 bytes
"""  # 1918
CUDA_OOM_TERMINATE = (
    RUNNING
    + """\
terminate called after throwing an instance of 'c10::AcceleratorError'
  what():  CUDA error: out of memory
Search for `cudaErrorMemoryAllocation' in https://docs.nvidia.com/cuda/ for more information.
CUDA kernel errors might be asynchronously reported at some other API call, so the stacktrace \
below might be incorrect.
For debugging consider passing CUDA_LAUNCH_BLOCKING=1
Compile with `TORCH_USE_CUDA_DSA` to enable device-side assertions.

Exception raised from free_impl at /pytorch/c10/cuda/CUDAMallocAsyncAllocator.cpp:206 (most \
recent call first):
"""
    + "".join(
        f"frame #{n}: <unknown function> + 0x{n:x} (0x7f in libtorch.so)\n" for n in range(40)
    )
)
BAD_ALLOC = """\
terminate called after throwing an instance of 'std::bad_alloc'
  what():  std::bad_alloc
"""
SURVIVED_OOM = """\
!!! Exception during processing !!! CUDA error: out of memory
Search for `cudaErrorMemoryAllocation' in https://docs.nvidia.com/cuda/ for more information.

Traceback (most recent call last):
  File "/workspace/ComfyUI-comm/execution.py", line 516, in execute
    output_data, output_ui, has_subgraph, has_pending_tasks = await get_output_data(prompt_id)
torch.AcceleratorError: CUDA error: out of memory

Got an OOM, unloading all loaded models.
Prompt executed in 12.34 seconds
"""  # 11597
DATABASE_IN_USE = """\
[ERROR] ASSETS_STARTUP_FAILED: in_use
Another ComfyUI is already using this database: '/workspace/ComfyUI-comm/user/comfyui.db'.
Close the other ComfyUI and start this one again.
Or start ComfyUI without the assets system: --disable-assets
"""
SQLITE_FULL = """\
sqlalchemy.exc.OperationalError: (sqlite3.OperationalError) database or disk is full
"""
SAFETENSORS_FULL = """\
safetensors_rust.SafetensorError: Error while serializing: I/O error: Os { code: 28, \
kind: StorageFull, message: "No space left on device" }
"""
