"""The keys as last read: what counts, and until when."""

import asyncio
import time

import pytest

from distriqueue.access import keyring as module
from distriqueue.access.keyring import Keyring
from distriqueue.core.access import ANONYMOUS, STRANGER, Scope, Token
from distriqueue.core.errors import Overloaded, RateLimited, StoreUnavailable, Unauthorized
from tests.unit.access.fakes import Clock, FakeKeys, refreshed


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LEAST_S", 0.01)
    monkeypatch.setattr(module, "WAIT_S", 0.5)


def keyring_of(keys: FakeKeys, *, open_without_keys: bool = True, clock: Clock | None = None) -> Keyring:
    return Keyring(keys, open_without_keys=open_without_keys, **({"clock": clock} if clock else {}))


async def test_without_any_key_everybody_is_let_in() -> None:
    keyring = keyring_of(FakeKeys())
    await keyring.step()
    assert keyring.is_open
    assert await keyring.identify(None) is ANONYMOUS
    assert await keyring.identify("junk") is ANONYMOUS
    assert keyring.recognise(None) is ANONYMOUS


async def test_without_any_key_nobody_is_let_in_beyond_loopback() -> None:
    keyring = keyring_of(FakeKeys(), open_without_keys=False)
    await keyring.step()
    with pytest.raises(Unauthorized):
        await keyring.identify(None)


async def test_a_stack_s_own_key_closes_nothing_and_counts_once_another_does() -> None:
    keys = FakeKeys()
    own = keys.add(Scope.WORKER, internal=True)
    keyring = keyring_of(keys)
    await keyring.step()
    was_open = keyring.is_open
    keys.add(Scope.ADMIN)
    await keyring.step()
    assert (was_open, keyring.is_open) == (True, False)
    assert (await keyring.identify(own.text)).key_id == own.key_id


async def test_revoking_the_last_key_opens_nothing() -> None:
    keys = FakeKeys()
    token = keys.add(Scope.ADMIN)
    keyring = keyring_of(keys)
    await keyring.step()
    assert (await keyring.identify(token.text)).may(Scope.ADMIN)
    keys.live.clear()
    async with refreshed(keyring):
        with pytest.raises(Unauthorized):
            await keyring.identify(None)
        await keyring.step()
        with pytest.raises(Unauthorized, match="revoked"):
            await keyring.identify(token.text)


async def test_a_wrong_secret_of_a_known_id_is_refused_without_a_reading() -> None:
    keys = FakeKeys()
    token = keys.add(Scope.ADMIN)
    keyring = keyring_of(keys)
    await keyring.step()
    with pytest.raises(Unauthorized, match="wrong"):
        await keyring.identify(Token(token.key_id, Token.new().secret).text)
    assert keys.readings == 1


async def test_a_key_made_during_a_reading_is_found_by_the_next() -> None:
    keys = FakeKeys(gate=asyncio.Event())
    keys.add(Scope.ADMIN)
    keyring = keyring_of(keys)
    assert keys.gate
    keys.gate.set()
    await keyring.step()
    keys.gate.clear()
    async with refreshed(keyring):
        async with asyncio.timeout(2):
            while keys.readings < 2:  # noqa: ASYNC110 -- the fake has no signal for it
                await asyncio.sleep(0)
        new = keys.add(Scope.READ)
        asking = asyncio.gather(keyring.identify(new.text))
        await asyncio.sleep(0)
        keys.gate.set()
        assert (await asking)[0].key_id == new.key_id
    assert keys.readings == 3


async def test_many_unknown_keys_make_few_readings() -> None:
    keys = FakeKeys()
    keys.add(Scope.ADMIN)
    keyring = keyring_of(keys)
    await keyring.step()
    async with refreshed(keyring):
        asked = [keyring.identify(Token.new().text) for _ in range(500)]
        answers = await asyncio.gather(*asked, return_exceptions=True)
    assert {type(answer) for answer in answers} == {Unauthorized}
    assert keys.readings <= 4


async def test_unknown_keys_one_after_another_make_no_more_readings_than_may(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LEAST_S", 0.05)
    keys = FakeKeys()
    keys.add(Scope.ADMIN)
    keyring = keyring_of(keys)
    await keyring.step()
    began_s = time.monotonic()
    async with refreshed(keyring):
        for _ in range(4):
            with pytest.raises(Unauthorized):
                await keyring.identify(Token.new().text)
    assert time.monotonic() - began_s >= 4 * 0.05


async def test_no_more_wait_for_a_reading_than_may(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_WAITING", 2)
    keys = FakeKeys()
    keys.add(Scope.ADMIN)
    keyring = keyring_of(keys)
    await keyring.step()
    async with refreshed(keyring):
        asked = [keyring.identify(Token.new().text) for _ in range(5)]
        answers = await asyncio.gather(*asked, return_exceptions=True)
    assert [type(answer) for answer in answers].count(Overloaded) == 3


async def test_nobody_is_let_in_before_the_first_reading() -> None:
    keys = FakeKeys(away=True)
    keyring = keyring_of(keys)
    assert keyring.recognise(None) is STRANGER
    async with refreshed(keyring):
        with pytest.raises(StoreUnavailable):
            await keyring.identify(None)


async def test_a_request_waits_for_the_first_reading() -> None:
    keyring = keyring_of(FakeKeys())
    asking = asyncio.gather(keyring.identify(None))
    await asyncio.sleep(0)
    async with refreshed(keyring):
        assert (await asking)[0] is ANONYMOUS


async def test_without_postgres_known_keys_count_and_unknown_ones_cannot_be_told() -> None:
    keys = FakeKeys()
    token = keys.add(Scope.READ)
    keyring = keyring_of(keys)
    await keyring.step()
    keys.away = True
    async with refreshed(keyring):
        await keyring.step()
        assert (await keyring.identify(token.text)).key_id == token.key_id
        with pytest.raises(StoreUnavailable):
            await keyring.identify(Token.new().text)
        with pytest.raises(Unauthorized):
            await keyring.identify(None)


async def test_a_key_expires_between_readings_by_our_own_clock() -> None:
    clock, keys = Clock(), FakeKeys()
    token = keys.add(Scope.READ, expires_in_s=5.0)
    keyring = keyring_of(keys, clock=clock)
    await keyring.step()
    clock.now_s += 4.9
    await keyring.identify(token.text)
    clock.now_s += 0.2
    with pytest.raises(Unauthorized):
        await keyring.identify(token.text)
    assert keyring.recognise(token.text) is STRANGER


async def test_a_rate_outlives_readings_and_follows_changes() -> None:
    clock, keys = Clock(), FakeKeys()
    token = keys.add(Scope.READ, requests_per_s=2.0)
    keyring = keyring_of(keys, clock=clock)
    await keyring.step()
    for _ in range(2):
        await keyring.identify(token.text)
    clock.now_s += 0.1
    await keyring.step()
    with pytest.raises(RateLimited, match="2 times a second") as limited:
        await keyring.identify(token.text)
    assert limited.value.retry_after_s == pytest.approx(0.4)
    assert keyring.recognise(token.text).key_id == token.key_id


async def test_use_is_noted_now_and_then() -> None:
    clock, keys = Clock(), FakeKeys()
    token = keys.add(Scope.READ)
    keyring = keyring_of(keys, clock=clock)
    await keyring.step()
    for _ in range(3):
        await keyring.identify(token.text)
    clock.now_s += 1
    await keyring.step()
    assert keys.touched == []
    clock.now_s += module.TOUCH_EVERY_S
    await keyring.step()
    clock.now_s += module.TOUCH_EVERY_S
    await keyring.step()
    assert keys.touched == [token.key_id]
