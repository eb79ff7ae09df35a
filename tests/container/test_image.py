"""The image: its size, its content and its labels."""

import json

from tests.container import engine
from tests.container.conftest import Run
from tests.container.engine import PODMAN, until


def test_the_image_adds_less_than_70_mib_to_a_base_with_python(product: str) -> None:
    said = engine.run(PODMAN, "run", "--rm", product, "du", "-skx", "/opt/comfysup")

    assert int(said.out.split()[0]) < 70 * 1024, said


def test_nothing_that_installs_or_builds_is_left(product: str) -> None:
    look = "command -v pip pip3 gcc cc make; ls -d /src /build /opt/comfysup/bin/pip* || true"

    said = engine.run(PODMAN, "run", "--rm", product, "sh", "-c", look)

    assert said.out == ""


def test_the_labels_of_the_image_contain_the_version(product: str) -> None:
    said = engine.run(PODMAN, "image", "inspect", "--format", "{{json .Labels}}", product)
    version = engine.run(PODMAN, "run", "--rm", product, "comfysup", "--version")

    labels = json.loads(said.out)
    name = "org.opencontainers.image."
    assert labels[f"{name}title"] == "comfysup"
    assert labels[f"{name}version"] == version.out.split()[-1]
    assert labels[f"{name}base.name"] == engine.BASE


def test_a_command_given_as_arguments_replaces_the_daemon(product: str) -> None:
    said = engine.run(PODMAN, "run", "--rm", product, "sh", "-c", "command -v python3; exit 7")

    assert (said.code, said.out) == (7, "/usr/bin/python3\n")


def test_wrong_settings_end_the_container_at_once(product: str) -> None:
    said = engine.run(PODMAN, "run", "--rm", "--env", "COMFYSUP_PORT=x", product)

    assert said.code == 2
    assert "COMFYSUP_PORT must be" in said.out + said.err


def test_a_base_with_an_older_python_is_refused_with_the_reason(product: str) -> None:
    """Only the first stage is built, on a base whose `python3` reports 3.9."""
    recipe = (
        f"FROM {engine.BASE}\n"
        r"""RUN printf '#!/bin/sh\n"""
        r"""case "$*" in *ensurepip*) ;; --version) echo Python 3.9.2;; *) exit 1;; esac\n'"""
        " > /usr/bin/python3 && chmod 755 /usr/bin/python3\n"
    )
    made = engine.ROOT / "tests" / "container"
    old = engine.run(
        "sh", "-c", f"printf '%s' \"$RECIPE\" | {PODMAN} build -q -t localhost/old -f - {made}",
        RECIPE=recipe,
    )  # fmt: skip
    assert old.code == 0, old

    said = engine.run(
        PODMAN, "build", "--quiet", "--build-arg", "BASE_IMAGE=localhost/old", str(engine.ROOT)
    )
    engine.remove("localhost/old")

    assert said.code != 0
    assert "comfysup needs Python 3.11 or newer; this base image has Python 3.9.2" in (
        said.out + said.err
    )


def test_port_8001_answers_after_the_start(run: Run) -> None:
    container = run()

    work, waited = container.seconds_of_work(), container.seconds_to_start()

    print(f"port 8001 answered after {waited:.2f} s, {work:.2f} s of work")  # noqa: T201 - wanted
    assert container.ask("GET", "/livez")[0] == 200


def test_the_health_check_follows_the_daemon(run: Run) -> None:
    container = run()

    def health() -> str:
        return container.inspect("{{.State.Health.Status}}")

    healthy, state = container.check_health(), health()
    pid = container.daemon_pid()

    container.signal("STOP", pid)
    # What fails in the start period does not count.
    until(lambda: container.check_health() == 1 and health() == "unhealthy")
    container.signal("CONT", pid)

    assert (healthy, state) == (0, "healthy")
    until(lambda: container.check_health() == 0 and health() == "healthy")


def test_the_removed_socket_of_the_health_check_is_recreated(run: Run) -> None:
    container = run()

    container.exec("mv", "/run/comfysup/api.sock", "/run/comfysup/away")

    until(lambda: container.exec("test", "-S", "/run/comfysup/api.sock").code == 0)
    container.wait_until_healthy()
    assert container.exec("comfysup", "health").code == 0
