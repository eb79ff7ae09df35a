import os
import resource
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
import pytest

from comfysup.linux.host.ports import Listener, holder_of, listener_of, owns_port, port_is_free
from tests.counting import calls_of

# Listens, says where, and waits until its stdin is closed.
LISTEN = """
import socket, sys
family = socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET
listener = socket.socket(family)
listener.bind((sys.argv[1], 0))
listener.listen()
print(listener.getsockname()[1], flush=True)
sys.stdin.read()
"""
# Runs its first argument, with the others, in a session of its own.
NEST = """
import subprocess, sys
subprocess.run([sys.executable, "-c", *sys.argv[1:]], start_new_session=True)
"""
EVERYWHERE = "0.0.0.0"  # noqa: S104  # what ComfyUI binds to


@contextmanager
def process(*arguments: str) -> Iterator[tuple[int, int]]:
    """Yield the pid of a child, and the port that it or a descendant listens on."""
    with subprocess.Popen(
        [sys.executable, "-c", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stdout is not None
        yield child.pid, int(child.stdout.readline())


@contextmanager
def listening(address: str = "127.0.0.1", *, reuse: bool = False) -> Iterator[int]:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, int(reuse))
        listener.bind((address, 0))
        listener.listen()
        yield listener.getsockname()[1]


def unused_port() -> int:
    with listening() as port:
        return port


# owns_port


@pytest.mark.parametrize("address", ["127.0.0.1", EVERYWHERE, "::1", "::"])
def test_a_listener_of_the_process_is_its_own_on_any_address(address: str) -> None:
    with process(LISTEN, address) as (pid, port):
        assert owns_port(pid, port)


def test_a_listener_of_a_child_in_another_session_is_its_own() -> None:
    with process(NEST, LISTEN, "127.0.0.1") as (pid, port):
        assert owns_port(pid, port)


def test_a_listener_of_a_grandchild_counts() -> None:
    with process(NEST, NEST, LISTEN, "127.0.0.1") as (pid, port):
        assert owns_port(pid, port)


def test_a_listener_of_a_relative_that_is_no_descendant_is_foreign() -> None:
    with process(LISTEN, "127.0.0.1") as (one, first), process(LISTEN, "127.0.0.1") as (two, last):
        assert not owns_port(one, last)
        assert not owns_port(two, first)
        assert owns_port(os.getpid(), first)


def test_only_a_listener_owns_a_port_and_only_its_own() -> None:
    with listening() as port, socket.create_connection(("127.0.0.1", port)) as connection:
        assert owns_port(os.getpid(), port)
        assert not owns_port(os.getpid(), connection.getsockname()[1])
        assert not owns_port(os.getpid(), port + 1)

    assert not owns_port(os.getpid(), port)


def test_a_missing_process_owns_no_port() -> None:
    with subprocess.Popen(["true"]) as child:
        pass
    with listening() as port:
        assert not owns_port(child.pid, port)


def test_a_zombie_owns_no_port_and_raises_nothing() -> None:
    child = subprocess.Popen(["true"])
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    with listening() as port:
        assert not owns_port(child.pid, port)
    child.wait()


def test_the_kernel_lists_listeners_before_connections() -> None:
    """`owns_port` relies on this order."""
    with listening() as port:
        clients = [socket.create_connection(("127.0.0.1", port)) for _ in range(50)]
        with open("/proc/net/tcp", encoding="ascii") as table:  # noqa: PTH123
            states = [line.split()[3] == "0A" for line in list(table)[1:]]
        for client in clients:
            client.close()

    assert states == sorted(states, reverse=True)


def test_the_cost_of_a_check_does_not_depend_on_other_processes() -> None:
    crowd: list[subprocess.Popen[bytes]] = []
    with process(LISTEN, "127.0.0.1") as (pid, port):

        def look() -> int:
            return min(calls_of(lambda: owns_port(pid, port)) for _ in range(10))

        alone = look()
        try:
            crowd += (subprocess.Popen(["sleep", "3600"]) for _ in range(200))
            crowded = look()
        finally:
            for each in crowd:
                each.kill()
            for each in crowd:
                each.wait()

    # Other tests' sockets are in the kernel's table too, and come and go.
    assert crowded < alone + 200


# listener_of


def test_a_listener_is_named_with_pid_program_and_command() -> None:
    with process(LISTEN, "127.0.0.1") as (pid, port):
        found = listener_of(port)

    assert found is not None
    assert found.pid == pid
    assert found.program is not None
    assert found.describe() == f"pid {pid} '{found.program}'"
    assert found.command is not None
    assert found.command.startswith(sys.executable)


def test_a_connected_port_has_no_listener() -> None:
    with listening() as port, socket.create_connection(("127.0.0.1", port)) as connection:
        assert listener_of(connection.getsockname()[1]) is None

    assert listener_of(port) is None


def test_a_listener_without_a_visible_pid_is_described(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with listening() as port:
        hidden = [each._replace(pid=None) for each in psutil.net_connections("tcp")]
        monkeypatch.setattr(psutil, "net_connections", lambda kind: hidden)
        found = listener_of(port)

    assert found == Listener(None)
    assert found.describe() == "a process that cannot be seen from here"


def test_a_listener_that_ends_during_the_check_is_reported_by_pid(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with subprocess.Popen(["true"]) as child:
        pass
    with listening() as port:
        gone = [each._replace(pid=child.pid) for each in psutil.net_connections("tcp")]
        monkeypatch.setattr(psutil, "net_connections", lambda kind: gone)
        found = listener_of(port)

    assert found is not None
    assert found.describe() == f"pid {child.pid}"


# port_is_free


def test_a_port_without_a_listener_is_free_and_stays_free_after_the_check() -> None:
    port = unused_port()

    assert port_is_free(port)
    assert port_is_free(port)


@pytest.mark.parametrize("reuse", [False, True])
@pytest.mark.parametrize("address", ["127.0.0.1", "127.0.0.7", EVERYWHERE, "::"])
def test_a_port_is_taken_by_a_listener_on_any_ipv4_address(address: str, *, reuse: bool) -> None:
    with listening(address, reuse=reuse) as port:
        assert not port_is_free(port)


def test_a_listener_on_ipv6_only_does_not_block_the_port() -> None:
    with socket.socket(socket.AF_INET6) as listener:
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind(("::", 0))
        listener.listen()

        assert port_is_free(listener.getsockname()[1])


def test_connections_that_linger_after_a_restart_do_not_take_the_port() -> None:
    """TIME_WAIT on the server side, as after the exit of a ComfyUI with clients."""
    with listening(reuse=True) as port:
        pass
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        listener.listen()
        with socket.create_connection(("127.0.0.1", port)) as client:
            accepted, _ = listener.accept()
            accepted.close()
            assert client.recv(1) == b""

    with socket.socket() as strict, pytest.raises(OSError, match="Address already in use"):
        strict.bind((EVERYWHERE, port))
    assert port_is_free(port)


def test_an_error_other_than_a_port_in_use_is_raised() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest_free = os.open("/dev/null", os.O_RDONLY)
    os.close(lowest_free)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, hard))
        with pytest.raises(OSError, match="Too many open files"):
            port_is_free(3001)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


# holder_of


def test_a_connection_from_the_port_is_named_with_its_process() -> None:
    with listening() as port, socket.create_connection(("127.0.0.1", port)) as connection:
        own = connection.getsockname()[1]
        found = holder_of(own)

    assert not found.startswith("a process that cannot be seen")
    assert found.startswith(f"a connection to 127.0.0.1 port {port} of pid {os.getpid()} ")


def test_an_ended_connection_is_reported_as_ended() -> None:
    with listening() as port:
        connection = socket.create_connection(("127.0.0.1", port))
        own = connection.getsockname()[1]
        connection.close()
        found = holder_of(own)

    assert "connection" in found


def test_a_bound_socket_without_a_listener_is_not_reported() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        port = bound.getsockname()[1]

        assert not port_is_free(port)
        assert holder_of(port).startswith("a socket that is bound and does not listen")


def test_a_listener_is_reported_before_its_connections() -> None:
    with listening() as port, socket.create_connection(("127.0.0.1", port)):
        assert holder_of(port).startswith(f"pid {os.getpid()} ")
