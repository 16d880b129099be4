"""A node's term and vote on disk: durable before anybody hears of them.

One small file, replaced whole: write beside it, fsync, rename, fsync the directory. What fails before the rename leaves
the old file as it was. A full disk is therefore no harm (the node gives no vote), and any other error ends the process:
after a failed fsync nobody knows what the disk holds.

    DistriQueueError
    ├── NoSpace          there is no room: nothing was changed
    └── StorageFailed    the disk cannot be trusted
"""

import contextlib
import errno
import fcntl
import json
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Protocol

from distriqueue.core.errors import BadSetting, DistriQueueError
from orchestrator.raft import HardState

FILE: Final = "hard-state.json"
LOCK: Final = "lock"
MAX_TERM: Final = 2**62
_NO_SPACE: Final = (errno.ENOSPC, errno.EDQUOT)


class NoSpace(DistriQueueError):
    """The disk is full: nothing was changed, and the node must not act on what it wanted to write."""

    code = "no_space"


class StorageFailed(DistriQueueError):
    """The disk cannot be trusted any more: the process must end."""

    code = "storage_failed"


class Storage(Protocol):
    """Where the hard state is kept."""

    def load(self) -> HardState:
        """Return what was saved last, term 0 when nothing was."""

    def save(self, state: HardState) -> None:
        """Make it durable; blocks. Raises NoSpace, StorageFailed."""


class MemoryStorage:
    """Keeps nothing: for a node alone, which learns from Postgres above which epoch it must claim."""

    def load(self) -> HardState:
        """Return term 0."""
        return HardState()

    def save(self, state: HardState) -> None:
        """Do nothing."""


class FileStorage:
    """The hard state of one node in a directory of its own, locked against a second process."""

    def __init__(self, directory: Path, directory_fd: int, *, cluster: str, node: str) -> None:
        self._file = directory / FILE
        self._part = directory / f"{FILE}.part"
        self._directory_fd = directory_fd
        self._cluster = cluster
        self._node = node

    @classmethod
    @contextlib.contextmanager
    def open(cls, directory: Path, *, cluster: str, node: str) -> Iterator["FileStorage"]:
        """Make and lock the directory while the block runs; BadSetting when it cannot be had."""
        with contextlib.ExitStack() as stack:
            try:
                directory.mkdir(mode=0o700, parents=True, exist_ok=True)
                directory_fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
                stack.callback(os.close, directory_fd)
                lock_fd = os.open(directory / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
                stack.callback(os.close, lock_fd)
                _lock(lock_fd, directory)
            except OSError as exc:
                raise BadSetting(f"DISTRIQUEUE_DATA_DIR: cannot use {directory} ({exc.strerror})") from exc
            yield cls(directory, directory_fd, cluster=cluster, node=node)

    def load(self) -> HardState:
        """Return what was saved last; BadSetting when it is another node's, or damaged."""
        try:
            said = json.loads(self._file.read_bytes())
            whole = isinstance(said, dict) and said.pop("crc", None) == _crc(said)
            state = HardState(said["term"], said["vote"]) if whole else None
        except FileNotFoundError:
            return HardState()
        except (ValueError, KeyError, TypeError):
            state = None
        except OSError as exc:
            raise StorageFailed(f"cannot read {self._file} ({exc.strerror})") from exc
        if state is None:
            raise BadSetting(
                f"DISTRIQUEUE_DATA_DIR: {self._file} is damaged. Remove it, and this node starts as a new one, "
                "once the others have a leader"
            )
        if (said["cluster"], said["node"]) != (self._cluster, self._node):
            raise BadSetting(
                f"DISTRIQUEUE_DATA_DIR: {self._file} belongs to node {said['node']} of cluster {said['cluster']}, "
                f"and this is {self._node} of {self._cluster}"
            )
        return state

    def save(self, state: HardState) -> None:
        """Replace the file."""
        said: dict[str, Any] = {
            "cluster": self._cluster,
            "node": self._node,
            "term": state.term,
            "vote": state.vote,
        }
        try:
            self._write(json.dumps(said | {"crc": _crc(said)}).encode() + b"\n")
            self._part.replace(self._file)
        except OSError as exc:
            if exc.errno in _NO_SPACE:
                with contextlib.suppress(OSError):
                    self._part.unlink(missing_ok=True)
                raise NoSpace(f"cannot write {self._file} ({exc.strerror})") from exc
            raise StorageFailed(f"cannot write {self._file} ({exc.strerror})") from exc
        try:
            os.fsync(self._directory_fd)
        except OSError as exc:
            raise StorageFailed(f"cannot fsync the directory of {self._file} ({exc.strerror})") from exc

    def _write(self, data: bytes) -> None:
        fd = os.open(self._part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            written = os.write(fd, data)
            if written != len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(fd)
        finally:
            os.close(fd)


def _lock(fd: int, directory: Path) -> None:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as exc:
        holder = os.pread(fd, 20, 0).decode(errors="replace").strip() or "unknown"
        raise BadSetting(
            f"DISTRIQUEUE_DATA_DIR: {directory} is in use by another orchestrator (process {holder}): "
            "every node needs a directory and a DISTRIQUEUE_NODE_ID of its own"
        ) from exc
    os.ftruncate(fd, 0)
    os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)


def _crc(said: dict[str, Any]) -> int:
    return zlib.crc32(json.dumps(said, sort_keys=True).encode())
