"""What processes take: CPU time over a span, and resident memory."""

import time
from collections.abc import Sequence

import psutil


class Meter:
    """CPU time, user and system, of processes since the meter was made."""

    def __init__(self, pids: Sequence[int]) -> None:
        self._processes = [psutil.Process(pid) for pid in pids]
        self._before = [_cpu_s(process) for process in self._processes]
        self._since = time.monotonic()

    def read(self) -> list[float]:
        """Return what each has taken, in % of one core."""
        took_s = time.monotonic() - self._since
        used = [_cpu_s(process) for process in self._processes]
        return [100 * (after - before) / took_s for after, before in zip(used, self._before, strict=True)]


def resident_mb(pids: Sequence[int]) -> float:
    """Return the resident memory of the largest of the processes, shared pages included, in MB of a million bytes."""
    return max(float(psutil.Process(pid).memory_info().rss) for pid in pids) / 1e6


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)
