"""A reload of a file with errors."""

from pathlib import Path

import pytest

from tests.unit.app.scene import entry, ids, scene


@pytest.mark.parametrize("content", ["", '{"instances": [', "[]", '{"instances": 4}', "\0", None])
async def test_an_unreadable_file_changes_nothing(tmp_path: Path, content: str | None) -> None:
    async with scene(tmp_path) as here:
        await here.reload(entry(0))
        if content is None:
            here.file.unlink()
        else:
            here.file.write_text(content)

        outcome = await here.reloader.reload()

        assert not outcome.legible
        assert outcome.mistakes
        assert ids(outcome) == {}
        assert here.launcher.living(0) == 1
        assert len(here.announced) == 1
        assert await here.reload() == {"stopped": [0]}


async def test_a_missing_file_is_reported_with_its_path(tmp_path: Path) -> None:
    async with scene(tmp_path) as here:
        outcome = await here.reloader.reload()

        assert [mistake.summary for mistake in outcome.mistakes] == [
            f"cannot read {here.file}: there is no such file; COMFYSUP_INSTANCES_FILE names another"
        ]


async def test_an_invalid_entry_is_skipped_and_stops_no_instance(tmp_path: Path) -> None:
    async with scene(tmp_path) as here:
        await here.reload(entry(0), entry(1), entry(2))

        here.write(entry(0, port="x"), entry(2, port=3005), entry(3))
        outcome = await here.reloader.reload()

        assert ids(outcome) == {
            "left_alone": [0],
            "stopped": [1],
            "restarted": [2],
            "started": [3],
        }
        assert [mistake.place for mistake in outcome.mistakes] == ["instances[0].port"]
        assert outcome.warnings == (
            "instance 0 'instance_0' is left unchanged until the errors are corrected",
        )


async def test_an_entry_without_a_unique_id_protects_every_instance(tmp_path: Path) -> None:
    async with scene(tmp_path) as here:
        await here.reload(entry(0), entry(1), entry(2))

        done = await here.reload(entry(0), entry(0, name="copy", port=3009), entry(2))

        assert done == {"left_alone": [0, 1, 2]}
        assert await here.reload(entry(0), entry(2)) == {"left_alone": [0, 2], "stopped": [1]}


async def test_directories_that_changed_need_a_restart_of_the_daemon(tmp_path: Path) -> None:
    async with scene(tmp_path) as here:
        here.write(entry(0), global_settings={"log_directory": "/elsewhere"})

        outcome = await here.reloader.reload()

        assert outcome.warnings == (
            "global_settings.log_directory has changed: it takes effect when the daemon restarts",
        )
