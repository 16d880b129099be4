"""The archive: finished jobs as JSON Lines in gzip, on disk before Postgres forgets them.

A batch is a file of its own. It is written under a hidden name, flushed, renamed, and its directory flushed: whoever
finds a file finds it whole, and no file ever changes. Its name has the day, the epoch, the node and what is unique to
this process, so that no two leaders write the same one.
"""

import asyncio
import contextlib
import gzip
import os
import re
import secrets
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import ClassVar, Final, Self

from distriqueue.core.errors import BadSetting, Unavailable

APPEND_S: Final = 4.0
"""Less than the 5 s after which Postgres ends the transaction that waits for it."""
PART: Final = ".part"
_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC


class ArchiveUnavailable(Unavailable):
    """The disk is full, gone or slow: what was to be archived must stay where it is."""

    code: ClassVar[str] = "archive_unavailable"


class FileArchive:
    """Adds files to one directory, which several nodes may share."""

    def __init__(self, directory: Path, *, node: str, append_s: float, today: Callable[[], date]) -> None:
        self._directory = directory
        self._node = node
        self._append_s = append_s
        self._today = today
        self._unique = secrets.token_hex(4)
        self._files = 0
        self._writing: asyncio.Future[None] | None = None

    @classmethod
    def open(
        cls,
        directory: Path,
        *,
        node: str,
        append_s: float = APPEND_S,
        today: Callable[[], date] = lambda: datetime.now(UTC).date(),
    ) -> Self:
        """Make the directory, see that it takes a file, and clear up after a crash; BadSetting."""
        where = directory.absolute()
        probe = where / f".probe-{node}-{os.getpid()}"
        try:
            where.mkdir(mode=0o700, parents=True, exist_ok=True)
            probe.unlink(missing_ok=True)
            try:
                _write(probe, b"\n")
            finally:
                probe.unlink(missing_ok=True)
            # Should another of the same name write one just now, it cannot rename it, and deletes no job.
            for part in (each for each in where.iterdir() if _is_part(each.name, node)):
                part.unlink(missing_ok=True)
        except OSError as exc:
            raise BadSetting(f"DISTRIQUEUE_ARCHIVE_DIR: cannot use {where} ({exc.strerror})") from exc
        return cls(where, node=node, append_s=append_s, today=today)

    async def append(self, lines: Sequence[bytes], *, epoch: int) -> None:
        """Return once the lines are durable; raises ArchiveUnavailable, and they may or may not be there then."""
        if self._writing is not None and not self._writing.done():
            raise ArchiveUnavailable(f"{self._directory} has not answered yet: an earlier write is still under way")
        # A thread cannot be cancelled: when it is late, its file comes too, and its jobs once more in another.
        writing = asyncio.get_running_loop().run_in_executor(None, self._add, lines, epoch)
        writing.add_done_callback(lambda done: done.cancelled() or done.exception())
        self._writing = writing
        await asyncio.wait({writing}, timeout=self._append_s)
        if not writing.done():
            raise ArchiveUnavailable(f"{self._directory} took no write within {self._append_s:g} s")
        try:
            writing.result()
        except OSError as exc:
            raise ArchiveUnavailable(f"cannot archive to {self._directory} ({exc.strerror})") from exc

    def _add(self, lines: Sequence[bytes], epoch: int) -> None:
        packed = gzip.compress(b"".join(lines), compresslevel=6, mtime=0)
        self._files += 1
        stem = f"{self._today():%Y-%m-%d}-e{epoch}-{self._node}-{self._unique}-{self._files:06}"
        part = self._directory / f".{stem}{PART}"
        try:
            _write(part, packed)
            part.rename(self._directory / f"{stem}.jsonl.gz")
        except OSError:
            with contextlib.suppress(OSError):  # what is left of it goes at the next start
                part.unlink(missing_ok=True)
            raise
        self._sync_directory()

    def _sync_directory(self) -> None:
        fd = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def _write(path: Path, data: bytes) -> None:
    """Make a file that only its owner reads, with these bytes, on disk."""
    fd = os.open(path, _NEW, 0o600)
    try:
        left = memoryview(data)
        while left:
            left = left[os.write(fd, left) :]
        os.fsync(fd)
    finally:
        os.close(fd)


def _is_part(name: str, node: str) -> bool:
    return re.fullmatch(rf"\.[\d-]{{10}}-e\d+-{re.escape(node)}-[0-9a-f]{{8}}-\d+{re.escape(PART)}", name) is not None
