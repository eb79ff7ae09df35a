"""One tree of models for all environments: `<env>/models -> <workspace>/shared-models`.

No model is ever deleted or overwritten. What lies in an environment's own `models` moves to the
same place in the shared tree, and until everything has moved, links stand for what has: the
environment sees all its models at every moment. Twins of what is shared are put aside, to
`models.duplicates`. What cannot be moved is left and said; then the environment keeps its own
directory, with those links.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from comfysup.comfyui.environment.moving import NotMovedError, move, remove_drafts, same_content
from comfysup.model.environment import LinkReport

FOLDERS = ("checkpoints", "loras", "controlnet", "vae")
"""Folders that the shared tree always contains."""
_ASIDE = "models.duplicates"
_EMPTIED = "models.linking"
"""Name of an emptied `models` until its removal; a later run finds it after a crash."""


def link_models(environment: Path, shared: Path) -> LinkReport:
    """Replace `models` of that environment by a link to `shared`, as far as that is safe.

    Blocks while files are copied. Nothing may use the environment's models in the meantime.
    """
    report = LinkReport()
    models, emptied = environment / "models", environment / _EMPTIED
    try:
        if os.path.lexists(emptied) and not os.path.lexists(models):
            emptied.rename(models)
        if _is_shared(models, shared, report):
            _link(models, shared, report)
    except OSError as error:
        report.leave(Path(str(error.filename or models)), error.strerror or repr(error))
    return report


def _is_shared(models: Path, shared: Path, report: LinkReport) -> bool:
    """Make sure that there is a tree to share, apart from that of the environment."""
    if os.path.lexists(shared) and not shared.is_dir():
        report.leave(shared, "it is not a directory that could be shared")
        return False
    if not shared.exists():
        shared.mkdir(parents=True)
        report.done.append(f"made {shared}")
    here, there = Path(os.path.realpath(models)), Path(os.path.realpath(shared))
    if not models.is_symlink() and (here.is_relative_to(there) or there.is_relative_to(here)):
        report.leave(shared, f"it and {models} lie in each other")
        return False
    return True


def _link(models: Path, shared: Path, report: LinkReport) -> None:
    if models.is_symlink():
        report.linked = models.exists() and models.samefile(shared)
        if not report.linked:
            report.leave(models, f"it is a link to {models.readlink()}: remove it to share")
    elif not models.exists():
        models.symlink_to(shared)
        report.done.append(f"linked {models} to {shared}")
        report.linked = True
    elif not models.is_dir():
        report.leave(models, "it is not a directory")
    elif models.is_mount():
        report.leave(models, "something is mounted there")
    else:
        _Merge(models, shared, report).run()
    if report.linked:
        _make_folders(shared, report)


def _make_folders(shared: Path, report: LinkReport) -> None:
    for name in FOLDERS:
        if not os.path.lexists(shared / name):
            (shared / name).mkdir()
            report.done.append(f"made {shared / name}")


@dataclass(slots=True)
class _Merge:
    """Moves the content of a real directory `models` into the shared tree."""

    models: Path
    shared: Path
    report: LinkReport
    twins: list[Path] = field(default_factory=list)

    def run(self) -> None:
        self._merge(Path())
        if not self.report.left:
            self._put_twins_aside()
        if not self.report.left:
            self._replace()

    def _merge(self, place: Path) -> None:
        """Merge the directory at `place`, which is relative to both trees."""
        for draft in remove_drafts(self.shared / place):
            self.report.done.append(f"removed {draft}, an unfinished copy")
        for entry in _entries(self.models / place):
            source, target = self.models / place / entry.name, self.shared / place / entry.name
            try:
                if entry.is_symlink():
                    self._merge_link(source, target)
                elif entry.is_dir(follow_symlinks=False):
                    self._merge_directory(source, target, place / entry.name)
                elif entry.is_file(follow_symlinks=False):
                    self._merge_file(source, target)
                else:
                    self.report.leave(source, "it is neither a file nor a directory")
            except (OSError, NotMovedError) as error:
                reason = error.strerror if isinstance(error, OSError) else str(error)
                self.report.leave(source, reason or repr(error))

    def _merge_link(self, source: Path, target: Path) -> None:
        if not os.path.lexists(target):
            self._move(source, target)
        elif not _stands_for(source, target):
            self.report.leave(source, f"it is a link to {source.readlink()}, and {target} exists")

    def _merge_directory(self, source: Path, target: Path, place: Path) -> None:
        if os.path.lexists(target) and not target.is_dir():
            self.report.leave(source, f"{target} is not a directory")
        elif target.exists() and target.samefile(source):
            self.report.leave(source, f"{target} is a link to it")
        else:
            if not target.exists():
                target.mkdir()
                target.chmod(source.stat().st_mode & 0o7777)
            self._merge(place)

    def _merge_file(self, source: Path, target: Path) -> None:
        if not os.path.lexists(target):
            self._move(source, target)
        elif target.is_symlink() and _leads_to(target, source):
            self.report.leave(source, f"{target} is a link to it")
        elif target.is_file() and same_content(source, target):
            self.twins.append(source)
        else:
            self.report.leave(source, f"{target} is another file of that name")

    def _move(self, source: Path, target: Path) -> None:
        move(source, target, self.models)
        source.symlink_to(target)
        self.report.moved.append(str(target))

    def _put_twins_aside(self) -> None:
        for twin in self.twins:
            place = twin.relative_to(self.models)
            aside = _free_name(self.models.with_name(_ASIDE) / place)
            try:
                aside.parent.mkdir(parents=True, exist_ok=True)
                move(twin, aside)
                twin.symlink_to(self.shared / place)
            except (OSError, NotMovedError) as error:
                self.report.leave(twin, f"it cannot be put aside: {error}")
            else:
                self.report.aside.append(str(aside))

    def _replace(self) -> None:
        """Replace the directory, which contains only links and folders, by the link."""
        emptied = self.models.with_name(_EMPTIED)
        self.models.rename(emptied)
        try:
            self.models.symlink_to(self.shared)
        except OSError:
            emptied.rename(self.models)
            raise
        self.report.done.append(f"linked {self.models} to {self.shared}")
        self.report.linked = True
        self._clear(emptied, Path())

    def _clear(self, emptied: Path, place: Path) -> None:
        for entry in _entries(emptied / place):
            path = emptied / place / entry.name
            if entry.is_symlink() and _stands_for(path, self.shared / place / entry.name):
                path.unlink()
            elif entry.is_dir(follow_symlinks=False):
                self._clear(emptied, place / entry.name)
            else:
                self.report.leave(path, "it was created while the rest was moved")
        if not _entries(emptied / place):
            (emptied / place).rmdir()


def _entries(directory: Path) -> list["os.DirEntry[str]"]:
    with os.scandir(directory) as entries:
        return sorted(entries, key=lambda entry: entry.name)


def _leads_to(link: Path, target: Path) -> bool:
    return link.exists() and target.exists() and link.samefile(target)


def _stands_for(link: Path, target: Path) -> bool:
    """Return whether the link is redundant while `target` exists."""
    text = link.readlink()
    twin = target.is_symlink() and text.is_absolute() and target.readlink() == text
    return text == target or twin or _leads_to(link, target)


def _free_name(wish: Path) -> Path:
    """Return a name that nothing has yet."""

    def names() -> Iterator[Path]:
        yield wish
        number = 1
        while True:
            yield wish.with_name(f"{wish.name}.{number}")
            number += 1

    return next(name for name in names() if not os.path.lexists(name))
