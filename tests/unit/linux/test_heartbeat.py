"""The heartbeat of the last daemon, for the next one."""

import os
from pathlib import Path

import pytest

from comfysup.linux.rundir.heartbeat import Heartbeat


def test_the_next_daemon_reads_the_last_heartbeat(tmp_path: Path) -> None:
    noting = Heartbeat(tmp_path / "heartbeat")
    for seconds in (1.5, 2.25):
        noting.beat(seconds)
    noting.close()

    assert Heartbeat(tmp_path / "heartbeat").read(now=10.0) == 2.25


def test_a_heartbeat_is_readable_without_closing_the_file(tmp_path: Path) -> None:
    noting = Heartbeat(tmp_path / "heartbeat")
    noting.beat(7.0)

    assert Heartbeat(tmp_path / "heartbeat").read(now=10.0) == 7.0
    noting.close()


@pytest.mark.parametrize("content", [b"", b"\0" * 8, b"\0" * 3, b"x" * 80, b"\xff" * 8])
def test_invalid_content_is_ignored(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "heartbeat"
    path.write_bytes(content)

    assert Heartbeat(path).read(now=10.0) is None


def test_a_heartbeat_in_the_future_is_ignored(tmp_path: Path) -> None:
    noting = Heartbeat(tmp_path / "heartbeat")
    noting.beat(11.0)
    noting.close()

    assert Heartbeat(tmp_path / "heartbeat").read(now=10.0) is None


def test_an_unwritable_heartbeat_is_unknown(tmp_path: Path) -> None:
    nowhere = Heartbeat(tmp_path / "nowhere" / "heartbeat")
    nowhere.beat(1.0)
    nowhere.close()
    nowhere.close()

    assert nowhere.read(now=10.0) is None


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_text("precious")
    (tmp_path / "heartbeat").symlink_to(other)
    Heartbeat(tmp_path / "heartbeat").beat(1.0)

    assert other.read_text() == "precious"


def test_a_fifo_or_an_endless_device_does_not_block(tmp_path: Path) -> None:
    fifo, endless = tmp_path / "fifo", tmp_path / "endless"
    os.mkfifo(fifo)
    endless.symlink_to("/dev/zero")
    for path in (fifo, endless):
        heartbeat = Heartbeat(path)
        heartbeat.beat(1.0)

        assert heartbeat.read(now=10.0) is None
        heartbeat.close()
