"""Term and vote on disk: whole or not at all, and nobody else's."""

import errno
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from distriqueue.core.errors import BadSetting
from orchestrator.cluster.storage import FILE, FileStorage, NoSpace, StorageFailed
from orchestrator.raft import HardState

VOTED = HardState(7, "node2")


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[FileStorage]:
    with FileStorage.open(tmp_path / "data", cluster="c", node="node1") as opened:
        yield opened


def test_what_was_saved_is_loaded_by_the_next_process(tmp_path: Path) -> None:
    for number in (0, 1, 2):
        with FileStorage.open(tmp_path, cluster="c", node="node1") as storage:
            assert storage.load() == HardState(number, "node2" if number else None)
            storage.save(HardState(number + 1, "node2"))
    assert json.loads((tmp_path / FILE).read_text())["crc"]


def test_file_and_directory_are_flushed_in_this_order(storage: FileStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = []
    fsync, replace = os.fsync, Path.replace

    def flushed(fd: int) -> None:
        steps.append("directory" if os.path.isdir(f"/proc/self/fd/{fd}") else "file")  # noqa: PTH112 -- a descriptor
        fsync(fd)

    def renamed(self: Path, target: Path) -> Path:
        steps.append("rename")
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", flushed)
    monkeypatch.setattr(Path, "replace", renamed)
    storage.save(VOTED)
    assert steps == ["file", "rename", "directory"]


def test_a_second_process_is_refused_and_told_who_is_first(storage: FileStorage, tmp_path: Path) -> None:
    assert storage.load() == HardState()
    with (
        pytest.raises(BadSetting, match=rf"in use by another orchestrator \(process {os.getpid()}\)"),
        FileStorage.open(tmp_path / "data", cluster="c", node="node1"),
    ):
        pass


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[:-10],
        lambda text: text.replace('"term": 7', '"term": 8'),
        lambda text: text.replace("node2", "node3"),
        lambda _: "",
        lambda _: "[]",
        lambda _: "\x00" * 100,
    ],
)
def test_a_damaged_file_stops_the_start(storage: FileStorage, tmp_path: Path, damage: Callable[[str], str]) -> None:
    storage.save(VOTED)
    file = tmp_path / "data" / FILE
    file.write_text(damage(file.read_text()))
    with pytest.raises(BadSetting, match=f"{FILE} is damaged. Remove it"):
        storage.load()


@pytest.mark.parametrize(("cluster", "node"), [("c", "node2"), ("other", "node1")])
def test_the_file_of_another_node_stops_the_start(tmp_path: Path, cluster: str, node: str) -> None:
    with FileStorage.open(tmp_path, cluster="c", node="node1") as storage:
        storage.save(VOTED)
    with (
        FileStorage.open(tmp_path, cluster=cluster, node=node) as storage,
        pytest.raises(BadSetting, match="belongs to node node1 of cluster c"),
    ):
        storage.load()


@pytest.mark.parametrize("call", ["open", "write", "fsync"])
def test_without_room_the_old_state_stays(
    storage: FileStorage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    storage.save(VOTED)
    with monkeypatch.context() as patched:
        patched.setattr(os, call, _failing(errno.ENOSPC))
        with pytest.raises(NoSpace, match="No space left on device"):
            storage.save(HardState(8, "node3"))
    assert storage.load() == VOTED
    assert sorted(each.name for each in (tmp_path / "data").iterdir()) == [FILE, "lock"]


def test_half_a_write_is_no_room(storage: FileStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(os, "write", lambda _fd, _data: 3)
        with pytest.raises(NoSpace):
            storage.save(VOTED)
    assert storage.load() == HardState()


def test_a_failed_flush_is_the_end(storage: FileStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", _failing(errno.EIO))
    with pytest.raises(StorageFailed, match="Input/output error"):
        storage.save(VOTED)


def test_a_directory_that_cannot_be_made_is_a_wrong_setting(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(BadSetting, match="DISTRIQUEUE_DATA_DIR: cannot use"),
        FileStorage.open(tmp_path / "file" / "data", cluster="c", node="n"),
    ):
        pass


def _failing(number: int) -> object:
    def fail(*_args: object, **_options: object) -> None:
        raise OSError(number, os.strerror(number))

    return fail
