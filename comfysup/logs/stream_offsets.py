"""Where in the stream of all bytes of a log each of its files begins.

By it a reader is told how much it missed when files went before it came to them.
"""

import secrets

from comfysup.logs.files import LogFiles

REMEMBERED = 1_000
"""Files that are known, the newest."""


class StreamOffsets:
    """Keeps the beginnings by inode; written by one thread, read by any.

    The file that was the oldest when this was made begins at 0. `life` tells its numbers
    from those of another daemon.
    """

    def __init__(self) -> None:
        """Know nothing yet."""
        self.life = secrets.randbits(32)
        self._begins: dict[int, int] = {}

    def survey(self, files: LogFiles) -> int:
        """Take in the files that are there now, and return where one that is new would begin."""
        with files.opened() as all_of_them:
            found = [(each.inode, each.size) for each in all_of_them]
        end = 0
        for inode, size in reversed(found):
            self.add(inode, end)
            end += size
        return end

    def add(self, inode: int, begin: int) -> None:
        """Note a file that begins now; an inode may have had another life."""
        self._begins.pop(inode, None)
        self._begins[inode] = begin
        if len(self._begins) > REMEMBERED:
            del self._begins[next(iter(self._begins))]

    def begin(self, inode: int) -> int | None:
        """Return where that file, which is still there, begins; None where that is not known."""
        return self._begins.get(inode)
