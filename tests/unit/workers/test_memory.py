"""What a worker says of its memory: its children count, and it does not look each time."""

import subprocess
import sys

import psutil
import pytest

from workers.runtime import memory

HOLD = "data = bytearray(b'x') * 50_000_000; print('held', flush=True); input()"


def test_it_is_what_this_process_and_its_children_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "LOOK_EVERY_S", 0.0)
    looked = memory.Memory()
    alone = looked.resident()
    assert alone >= psutil.Process().memory_info().rss // 2
    child = subprocess.Popen([sys.executable, "-c", HOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == "held\n"
        assert looked.resident() - alone > 40_000_000
    finally:
        child.communicate("\n", timeout=10)


def test_it_looks_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    looked = memory.Memory()
    before = looked.resident()
    monkeypatch.setattr(psutil.Process, "memory_info", lambda _: pytest.fail("it has looked just now"))
    assert looked.resident() == before
