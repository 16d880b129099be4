"""Tokens, callers and rates: pure."""

import hashlib

import pytest

from distriqueue.core.access import ANONYMOUS, STRANGER, Caller, Scope, Token, words
from distriqueue.core.bucket import Bucket


def test_a_token_is_read_back_from_its_text_and_fits_its_own_hash_only() -> None:
    token, other = Token.new(), Token.new()
    assert Token.parse(token.text) == token
    assert token.fits(token.hash())
    assert not other.fits(token.hash())
    assert token.hash() == hashlib.sha256(token.secret.encode()).digest()


def test_a_secret_has_256_bits_and_does_not_show() -> None:
    token = Token.new()
    assert len(bytes.fromhex(token.secret)) == 32
    assert token.secret not in repr(token)
    assert len({Token.new().secret for _ in range(100)}) == 100


@pytest.mark.parametrize(
    "text",
    [
        "",
        "dq_",
        "dq__",
        f"dq_{'a' * 16}_",
        f"dq_{'a' * 16}_{'g' * 64}",
        f"DQ_{'a' * 16}_{'a' * 64}",
        f"dq_{'a' * 16}_{'a' * 65}",
        f"dq_{'a' * 16}_{'a' * 64}\n",
        f"dq_{'a' * 16}_{'٣' * 64}",
        f" dq_{'a' * 16}_{'a' * 64}",
    ],
)
def test_what_is_no_token(text: str) -> None:
    assert Token.parse(text) is None


def test_admin_may_all_and_others_what_they_have() -> None:
    admin, worker = Caller("1", "a", frozenset({Scope.ADMIN})), Caller("2", "w", frozenset({Scope.WORKER}))
    assert all(admin.may(scope) for scope in Scope)
    assert [scope for scope in Scope if worker.may(scope)] == [Scope.WORKER]
    assert all(ANONYMOUS.may(scope) for scope in Scope)
    assert not any(STRANGER.may(scope) for scope in Scope)


def test_scopes_are_named_in_one_order() -> None:
    assert words({Scope.ADMIN, Scope.READ, Scope.WORKER}) == "read worker admin"


def test_a_bucket_gives_a_second_s_worth_and_then_its_rate() -> None:
    bucket = Bucket(4.0, now_s=0.0)
    assert [bucket.take(0.0) for _ in range(4)] == [0.0] * 4
    assert bucket.take(0.0) == pytest.approx(0.25)
    assert bucket.take(0.25) == 0.0
    assert bucket.take(0.25) == pytest.approx(0.25)
    assert [bucket.take(100.0) == 0.0 for _ in range(5)] == [True] * 4 + [False]


def test_a_rate_below_one_a_second_lets_one_through() -> None:
    bucket = Bucket(0.5, now_s=0.0)
    assert bucket.take(0.0) == 0.0
    assert bucket.take(0.0) == pytest.approx(2.0)
    assert bucket.take(2.0) == 0.0
