"""Kills by the out-of-memory killer, and the exits that they explain."""

from pathlib import Path

import pytest

from comfysup.linux.host.memory_kills import OomKills

V2 = "low 0\nhigh 0\nmax 12\noom 3\noom_kill {}\noom_group_kill 0\n"
V1 = "oom_kill_disable 0\nunder_oom 0\noom_kill {}\n"


class Group:
    """A cgroup in files."""

    def __init__(self, directory: Path, place: str, text: str, membership: str) -> None:
        self.root = directory / "cgroup"
        self.file = self.root / place
        self.file.parent.mkdir(parents=True)
        self.text = text
        self.membership = directory / "self"
        self.membership.write_text(membership)
        self.has(0)

    def has(self, kills: int) -> None:
        self.file.write_text(self.text.format(kills))

    def kills(self) -> OomKills:
        return OomKills(self.root, self.membership)


HYBRID = "9:name=systemd:/\n4:memory:/docker/abc\n1:cpu,cpuacct:/\n0::/\n"
LAYOUTS = [
    pytest.param("memory.events", V2, "0::/\n", id="v2 in a container"),
    pytest.param("user.slice/a:b/memory.events", V2, "0::/user.slice/a:b\n", id="v2 on a host"),
    pytest.param("memory.events", V2, "0::/../other\n", id="v2, named from elsewhere"),
    pytest.param("memory/memory.oom_control", V1, HYBRID, id="v1 in a container"),
    pytest.param("memory/docker/abc/memory.oom_control", V1, HYBRID, id="v1 on a host"),
]


@pytest.mark.parametrize(("place", "text", "membership"), LAYOUTS)
def test_a_kill_since_the_launch_explains_the_end(
    tmp_path: Path, place: str, text: str, membership: str
) -> None:
    group = Group(tmp_path, place, text, membership)
    group.has(7)
    kills = group.kills()
    launched = kills.count()
    assert not kills.claim(launched)

    group.has(8)

    assert kills.claim(launched)


def test_one_counted_kill_explains_one_exit(tmp_path: Path) -> None:
    group = Group(tmp_path, "memory.events", V2, "0::/\n")
    kills = group.kills()
    first = second = kills.count()
    group.has(1)

    assert kills.claim(first)
    assert not kills.claim(second)
    group.has(2)
    assert kills.claim(second)


def test_a_kill_before_the_launch_explains_nothing(tmp_path: Path) -> None:
    group = Group(tmp_path, "memory.events", V2, "0::/\n")
    kills = group.kills()
    group.has(3)

    assert not kills.claim(kills.count())


@pytest.mark.parametrize("text", ["", "oom_kill_disable 0\nunder_oom 0\n", "oom_kill x\n"])
def test_without_a_counter_no_kill_is_claimed(tmp_path: Path, text: str) -> None:
    group = Group(tmp_path, "memory/memory.oom_control", text, HYBRID)

    assert group.kills().count() == 0
    assert not group.kills().claim(0)


def test_without_cgroups_no_kill_is_counted(tmp_path: Path) -> None:
    assert not OomKills(tmp_path / "none", tmp_path / "none").claim(0)


def test_the_counter_of_this_machine_can_be_read() -> None:
    assert OomKills().count() >= 0
