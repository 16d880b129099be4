"""Which scope each call takes."""

from collections.abc import Iterable, Mapping
from typing import Final

from distriqueue.core.access import Scope

PUBLIC: Final = None
"""Takes no key at all."""


class Rules:
    """A service's table: calls by the scope that they take. What is not in it takes `admin`.

    A call is `GET /api/jobs/{}`, where `{}` is one segment, or `GET /static/*`, which is all below. HEAD is as GET.
    """

    def __init__(self, table: Mapping[Scope | None, Iterable[str]]) -> None:
        self.calls: Final = {call: scope for scope, calls in table.items() for call in calls}
        if len(self.calls) < sum(len(tuple(calls)) for calls in table.values()):
            raise ValueError("a call is in the table twice")
        self._exact: dict[tuple[str, str], Scope | None] = {}
        self._shaped: dict[tuple[str, int], list[tuple[list[str], Scope | None]]] = {}
        self._below: list[tuple[str, str, Scope | None]] = []
        for call, scope in self.calls.items():
            method, _, path = call.partition(" ")
            if path.endswith("/*"):
                self._below.append((method, path[:-1], scope))
            elif "{}" in path:
                parts = path.split("/")
                self._shaped.setdefault((method, len(parts)), []).append((parts, scope))
            else:
                self._exact[method, path] = scope

    def scope_of(self, method: str, path: str) -> Scope | None:
        """Return what the call takes; PUBLIC for nothing."""
        if method == "HEAD":
            method = "GET"
        try:
            return self._exact[method, path]
        except KeyError:
            pass
        parts = path.split("/")
        for shape, scope in self._shaped.get((method, len(parts)), ()):
            if all(part if name == "{}" else name == part for name, part in zip(shape, parts, strict=True)):
                return scope
        for allowed, start, scope in self._below:
            if method == allowed and path.startswith(start):
                return scope
        return Scope.ADMIN
