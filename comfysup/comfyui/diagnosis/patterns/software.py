"""Modules, libraries and Pythons that do not fit."""

from comfysup.comfyui.diagnosis.patterns.pattern import (
    MODULE,
    OTHER_VERSION,
    PYTHON_HINT,
    REQUIREMENTS,
    TORCH_PACKAGES,
    pattern,
)

SOFTWARE = (
    # ---- modules and libraries
    pattern(
        "missing_module",
        r"ModuleNotFoundError: No module named '(?P<own>"
        r"(?:comfy(?:_(?:api|api_nodes|config|execution|extras))?|app|api_server|utils"
        r"|middleware|nodes|execution|server|folder_paths|latent_preview|alembic_db"
        r"|node_helpers|cuda_malloc|protocol|hook_breaker_\w+|model_filemanager)(?:\.[\w.]+)?)'",
        "ComfyUI's own module {own!r} was not found: another module of that name hides it, or "
        "ComfyUI's directory is incomplete",
        "remove the package or file of that name from the venv and from custom_nodes, or clone "
        "ComfyUI again",
    ),
    pattern(
        "missing_module",
        r"No module named '(?P<own>(?:comfy|comfyui)_\w+(?:\.[\w.]+)?)'"
        r"|'[^']*/(?P<directory>(?:comfy|comfyui)_\w+)/[^']*' does not exist",
        "{own!r} is missing, or too old: ComfyUI brings it as a package of its own",
        REQUIREMENTS,
    ),
    pattern(
        "wrong_python",
        r"error while loading shared libraries: (?P<library>libpython[\w.]+):",
        "the environment's Python was built for another system: {library} is missing",
        PYTHON_HINT,
    ),
    pattern(
        "missing_module",
        r"error while loading shared libraries: (?P<library>[^:]+):",
        "the system library {library!r} is missing",
        "install the system package that contains it",
    ),
    pattern(
        "missing_module",
        r"(?P<what>numpy\.\w+ size changed|operator torchvision::\w+ does not exist"
        r"|compiled using NumPy 1\.x|_ARRAY_API not found"
        r"|numpy\._?core\.multiarray failed to import"
        r"|No module named 'numpy\.(?:_core|core)\.\w+')",
        "two installed packages are incompatible ({what})",
        OTHER_VERSION,
    ),
    pattern(
        "missing_module",
        r"Descriptors cannot (?:not )?be created directly",
        "two installed packages are incompatible (one was built for an older protobuf)",
        OTHER_VERSION,
    ),
    pattern(
        "missing_module",
        r"^ImportError: (?P<needed>[\w.-]+[<>=!~]\S*) is required for a normal functioning of this "
        r"module, but found (?P<installed>\S+?)\.?$",
        "two installed packages are incompatible: {needed} is required, {installed} is installed",
        OTHER_VERSION,
    ),
    pattern(
        "missing_module",
        r"^(?:AttributeError: )?module '(?P<module>(?:torch|torchvision|torchaudio|numpy|cv2)"
        r"(?:\.[\w.]+)?)' has no attribute '(?P<name>\w+)'",
        "the installed {module!r} has no {name!r}: another version is required",
        OTHER_VERSION,
    ),
    pattern(
        "missing_module",
        r"To use the `(?P<argument>--use-[\w-]+)` feature, the `(?P<package>[\w.-]+)` package must",
        "the Python package {package!r} is missing, which {argument} needs",
        f"{MODULE}, or take the argument out of extra_args",
    ),
    pattern(
        "exit",
        r'PyCapsule_Import could not import module "datetime"',
        "NumPy was interrupted while loading: OpenBLAS could not start its threads",
        "set OPENBLAS_NUM_THREADS=1 in `env`; raise the container's limit (docker run "
        "--pids-limit), or update a Docker whose seccomp profile refuses them",
    ),
    pattern(
        "exit",
        r"UnicodeEncodeError: '(?P<codec>(?!utf)[\w-]+)' codec",
        "ComfyUI wrote text that its locale cannot encode ({codec})",
        "set LANG=C.UTF-8 in `env` or in the container",
    ),
    pattern(
        "wrong_python",
        r"No module named '(?:encodings|_ctypes|_socket|_struct|math)'|init_fs_encoding"
        r"|init_import_site|Could not find platform (?:in)?dependent libraries"
        r"|(?:Python|python) version mismatch|was compiled for Python",
        "the environment's Python is incompatible with the installed packages",
        PYTHON_HINT,
    ),
    pattern(
        "wrong_python",
        r"No module named '(?P<module>_(?:bz2|lzma|sqlite3|ssl|hashlib|uuid|decimal|posixshmem)"
        r"|zlib|readline)'",
        "the environment's Python was built without its own module {module!r}",
        PYTHON_HINT,
    ),
    pattern(
        "missing_module",
        r"No module named '(?P<part>tkinter|_tkinter)'",
        "the environment's Python lacks its own module {part!r}",
        "install the system package that contains it, such as python3-tk",
    ),
    pattern(
        "missing_module",
        r"No module named '(?P<gone>distutils|pkg_resources)(?:\.[\w.]+)?'",
        "the Python module {gone!r} is missing, which neither Python nor a current setuptools "
        "contains",
        "install an older one: venv/bin/python -m pip install 'setuptools<81'",
    ),
    pattern(
        "missing_module",
        r"module 'pkgutil' has no attribute 'ImpImporter'|cannot import name 'ImpImporter'",
        "the environment's setuptools is too old for its Python",
        "install a newer one: venv/bin/python -m pip install -U setuptools",
    ),
    pattern(
        "missing_module",
        r"No module named '(?P<gone>aifc|asynchat|asyncore|audioop|cgi|crypt|imghdr|imp|nntplib"
        r"|pipes|smtpd|sndhdr|telnetlib|uu|xdrlib)'",
        "the Python module {gone!r} is missing, which Python itself no longer has",
        "update the package that imports it, or recreate the environment's venv with an older "
        "Python",
    ),
    pattern(
        "wrong_python",
        r"unsupported operand type\(s\) for \|: '(?:type|types\.GenericAlias|ABCMeta)'"
        r"|cannot import name '(?P<name>StrEnum|Self|override|TypeAlias|UTC|batched|NotRequired)'"
        r" from '(?:enum|typing|datetime|itertools)'"
        r"|'(?:type|ABCMeta)' object is not subscriptable",
        "ComfyUI, or a custom node, requires a newer Python than this environment has",
        PYTHON_HINT,
    ),
    pattern(
        "missing_module",
        r"No module named '(?P<module>[\w.]+)'; '(?P<hidden>[\w.]+)' is not a package",
        "the module {module!r} was not found: a file {hidden}.py hides the package of that name",
        "remove or rename that file; it may be in ComfyUI's directory or in a custom node",
    ),
    pattern(
        "missing_module",
        r"No module named '(?:custom_nodes\.|[^']*/custom_nodes/)(?P<inner>[^']+)'",
        "a custom node lacks its own module {inner!r}",
        "clone that custom node again, with its submodules",
    ),
    pattern(
        "missing_module",
        r"(?:ModuleNotFoundError: |^)No module named '(?P<module>[^']+)'"
        r"|No package metadata was found for (?P<package>[\w.-]+)",
        "the Python module {module!r} is missing",
        MODULE,
    ),
    pattern(
        "missing_module",
        r"^(?P<package>[\w.-]+) is not installed\.",
        "the Python package {package!r} is missing",
        REQUIREMENTS,
    ),
    pattern(
        "missing_module",
        r"cannot import name '(?P<name>[^']+)' from '(?P<part>[\w.]+)' "
        r"\(\S*/lib/python[\d.]+/(?:\w+/)?\w+\.py\)",
        "this Python has no {name!r} in {part!r}: it is too new or too old for the package that "
        "imports it",
        "update the package that imports it, or recreate the environment's venv with another "
        "Python",
    ),
    pattern(
        "missing_module",
        r"cannot import name '(?P<name>[^']+)' from '(?P<module>[\w.]+)'",
        "the installed {module!r} has no {name!r}: another version is required",
        OTHER_VERSION,
    ),
    pattern(
        "missing_module",
        r"(?:ImportError|OSError): (?P<library>[\w.+-]+\.so[.\d]*): cannot open shared object file",
        "the system library {library!r} is missing",
        "install the system package that contains it",
    ),
    pattern(
        "missing_module",
        r"(?P<library>lib\w+\.so[.*\d\[\]-]*) not found in the system path",
        "torch cannot find its library {library!r}",
        TORCH_PACKAGES,
    ),
    pattern(
        "missing_module",
        r"version `(?P<symbol>(?:GLIBC\w*|CXXABI)_[\d.]+)' not found",
        "the system's C or C++ library is too old for an installed package (it has no {symbol})",
        "use an image with a newer distribution, or an older version of that package",
    ),
    pattern(
        "missing_module",
        r"Could not load library (?P<library>[\w.-]+\.so[.\d]*)\. Error: (?P<path>\S+): undefined",
        "the parts of {library!r} are of two versions: another version is required",
        "install one version of cuDNN, the one that the environment's torch brings",
    ),
    pattern(
        "missing_module",
        r"Could not load library \S+\. Error: (?P<library>[\w.+-]+\.so[.\d]*): cannot open"
        r"|Unable to load any of \{(?P<first>[\w.+-]+\.so[.\d]*)",
        "the system library {library!r} is missing",
        "install the nvidia packages that torch needs into the environment's venv, or the "
        "system package of CUDA that contains it",
    ),
    pattern(
        "missing_module",
        r"undefined symbol: (?P<symbol>(?:__)?(?:nccl|cudnn|cublas|cusparse|nvJitLink)\w+)",
        "torch and the nvidia packages beside it (NCCL, cuDNN) are incompatible: {symbol} is "
        "missing",
        TORCH_PACKAGES,
    ),
    pattern(
        "missing_module",
        r"(?:ImportError|OSError): (?P<library>\S+\.so)\S*: undefined symbol: iJIT_\w+",
        "the installed MKL is too new for torch ({library})",
        "install an older one: venv/bin/python -m pip install 'mkl<2024.1'",
    ),
    pattern(
        "exit",
        r"(?:ImportError|OSError): (?P<library>\S+\.so[.\d]*): cannot enable executable stack",
        "the library {library} requires an executable stack, which the system's C library refuses",
        "install a newer version of its package, or clear the mark: patchelf --clear-execstack",
    ),
    pattern(
        "exit",
        r"(?:ImportError|OSError): (?P<library>\S+\.so\S*): cannot allocate memory in static TLS",
        "the library {library} is loaded too late: other libraries have used up the static TLS "
        "block",
        "set LD_PRELOAD in `env` to that file, so that it is loaded first",
    ),
    pattern(
        "exit",
        r"(?:ImportError|OSError): (?P<library>\S+\.so\S*): "
        r"(?:invalid ELF header|file too short|wrong ELF class|ELF load command)",
        "the library {library} is damaged, or was built for another machine",
        "install its package again into the environment's venv",
    ),
    pattern(
        "exit",
        r"(?:ImportError|OSError): (?P<library>\S+\.so)\S*: undefined symbol",
        "the library {library} was built for other versions of torch or Python",
        "install the version of that package that matches the environment's torch",
    ),
)
