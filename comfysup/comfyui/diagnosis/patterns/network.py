"""The server of ComfyUI: its ports, routes, certificates and clients."""

from comfysup.comfyui.diagnosis.patterns.pattern import PORT, pattern

NETWORK = (
    # ---- ports and clients
    pattern(
        "exit",
        r"^(?P<what>(?:\w+\.)*(?:OSError|\w*Connection\w*Error|BrokenPipeError|TimeoutError): .+)",
        "a client went away while ComfyUI wrote to it ({what})",
        "the instance is not at fault; newer versions of ComfyUI survive most of these",
        frame=r"server\.py:send_socket_catch_exception$",
    ),
    pattern(
        "exit",
        r"\[Errno 99\].* bind on address \('(?P<address>[^']*)'",
        "ComfyUI cannot listen on {address}: not an address of this machine",
        "use an address of this container, or remove --listen",
    ),
    pattern(
        "port_in_use",
        r"\[Errno 98\].* bind on address \('[^']*', (?P<port>\d+)"
        r"|^Port (?P<said>\d+) is already in use on address",
        "port {port} was in use when ComfyUI opened it",
        PORT,
    ),
    pattern("port_in_use", r"^[\w.]+: \[Errno 98\]", "a port that ComfyUI opens was in use", PORT),
    pattern(
        "permission_denied",
        r"bind on address \('[^']*', (?P<port>\d+).*permission denied",
        "ComfyUI is not permitted to open port {port}",
        "choose a port above 1023",
    ),
    # ---- the server
    pattern(
        "exit",
        r"(?P<what>Added route will never be executed, method \w+ is already registered)",
        "two custom nodes, or a custom node and ComfyUI, register the same route ({what})",
        "disable the custom node that was installed or updated last, or is installed twice",
    ),
    pattern(
        "exit",
        r"(?P<what>is bound to a different event loop|attached to a different loop)",
        "a custom node used the server's sockets from its own thread ({what})",
        "update or disable the custom node that reports progress or the use of memory and GPU",
    ),
    pattern(
        "exit",
        r"^(?P<what>FileNotFoundError: \[Errno 2\] No such file or directory$|ssl\.SSLError: .+)",
        "ComfyUI cannot use --tls-keyfile and --tls-certfile ({what})",
        "set them to two existing PEM files that match",
        frame=r"server\.py:start(?:_multi_address)?$",
    ),
    pattern(
        "exit",
        r"^ssl\.SSLError: (?P<what>.+)",
        "the trusted certificates of this machine cannot be read ({what})",
        "install ca-certificates again, or set SSL_CERT_FILE in `env` to a file of certificates",
        frame=r"ssl\.py:load_default_certs$",
    ),
)
