"""Idempotency keys: what a client sent once, and the answer, kept in the transaction that stored what was asked for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from distriqueue.core.errors import DistriQueueError, IdempotencyKeyInFlight, IdempotencyKeyReused
from distriqueue.store.statements import load

SQL: Final = load("idempotency.sql")


@dataclass(frozen=True, slots=True)
class IdempotencyKey:
    """What a client calls one request, and what the request was; `scope` keeps the callers' keys apart."""

    scope: str
    key: str
    fingerprint: bytes


async def first_answers(connection: Any, keys: Mapping[int, IdempotencyKey]) -> dict[int, DistriQueueError | str | int]:
    """Return, by the requests' numbers, what answers those that came before.

    That is the first answer as kept, an error, or the number of the same request among these. The keys of the others
    are this transaction's until its end.
    """
    answers: dict[int, DistriQueueError | str | int] = {}
    first: dict[tuple[str, str], int] = {}
    for n, key in keys.items():
        same = first.setdefault((key.scope, key.key), n)
        if same != n:
            answers[n] = same if keys[same].fingerprint == key.fingerprint else in_flight(key)
    if not first:
        return answers
    numbers = list(first.values())
    names = [scope for scope, _ in first], [key for _, key in first]
    for row in await connection.fetch(SQL["lock"], *names):
        if not row["free"]:
            n = numbers[row["n"] - 1]
            answers[n] = in_flight(keys[n])
    for row in await connection.fetch(SQL["kept"], *names):  # a statement of its own: it sees what the locks waited for
        n = numbers[row["n"] - 1]
        if n not in answers:
            answers[n] = row["answer"] if row["fingerprint"] == keys[n].fingerprint else _reused(keys[n])
    return answers


async def keep(connection: Any, answers: Sequence[tuple[IdempotencyKey, str]]) -> None:
    """Keep the answers to requests that `first_answers` knew nothing of, in the same transaction."""
    if answers:
        await connection.execute(
            SQL["keep"],
            [key.scope for key, _ in answers],
            [key.key for key, _ in answers],
            [key.fingerprint for key, _ in answers],
            [answer for _, answer in answers],
        )


def in_flight(key: IdempotencyKey) -> IdempotencyKeyInFlight:
    """Say that nothing can be said yet."""
    return IdempotencyKeyInFlight(f"a request with the Idempotency-Key {key.key!r} is being worked on")


def _reused(key: IdempotencyKey) -> IdempotencyKeyReused:
    return IdempotencyKeyReused(f"the Idempotency-Key {key.key!r} was used for another request")
