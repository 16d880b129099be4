"""Sessions: true as long as the key is, forged by nobody, and of no use to other sites' pages."""

import dataclasses

import pytest

from distriqueue.access.session import COOKIE, CSRF_HEADER, LASTS_S, Session, Sessions, SessionSource
from distriqueue.core.access import Token
from distriqueue.core.errors import Forbidden

TOKEN = Token.new()
NOW_S = 1_900_000_000.0


class Clock:
    def __init__(self) -> None:
        self.now_s = NOW_S

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def sessions(clock: Clock) -> Sessions:
    return Sessions(b"what the gateways share", clock=clock)


def of(sessions: Sessions, session: Session) -> Session | None:
    return sessions.of([(b"cookie", f"other=1; {sessions.cookie}={session.text}; more=2".encode())])


def test_a_session_is_of_its_key_and_no_other(sessions: Sessions) -> None:
    session = of(sessions, sessions.new(TOKEN))
    assert session is not None
    assert session.key_id == TOKEN.key_id
    assert session.fits(TOKEN.hash())
    assert not session.fits(Token.new().hash())


def test_it_ends(sessions: Sessions, clock: Clock) -> None:
    session = sessions.new(TOKEN)
    clock.now_s = NOW_S + LASTS_S - 1
    assert sessions.parse(session.text).fits(TOKEN.hash())  # type: ignore[union-attr]
    clock.now_s = NOW_S + LASTS_S + 1
    assert not sessions.parse(session.text).fits(TOKEN.hash())  # type: ignore[union-attr]


def test_who_changes_it_has_none(sessions: Sessions) -> None:
    text = sessions.new(TOKEN).text
    key_id, ends, nonce, signature = text.split(".")
    other = Token.new()
    for forged in (
        f"{key_id}.{int(ends) + 3600}.{nonce}.{signature}",
        f"{other.key_id}.{ends}.{nonce}.{signature}",
        f"{key_id}.{ends}.{'0' * 32}.{signature}",
        f"{key_id}.{ends}.{nonce}.{'0' * 64}",
    ):
        session = sessions.parse(forged)
        assert session is not None
        assert not session.fits(TOKEN.hash())
        assert not session.fits(other.hash())


def test_the_table_of_keys_alone_forges_none(sessions: Sessions) -> None:
    forged = Sessions(b"a guess").new(TOKEN)
    session = sessions.parse(forged.text)
    assert session is not None
    assert not session.fits(TOKEN.hash())


def source(secret: bytes, url: str) -> SessionSource:
    async def read() -> bytes:
        return secret

    return SessionSource(read, database_url=url)


async def test_gateways_of_one_installation_share_them() -> None:
    ours = await source(b"s" * 32, "postgresql://a:secret@one:1/x").get()
    session = ours.new(TOKEN)
    again = await source(b"s" * 32, "postgresql://b:secret@two:2/x").get()
    assert again.cookie == ours.cookie
    assert again.parse(session.text).fits(TOKEN.hash())  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("secret", "url"), [(b"t" * 32, "postgresql://one/x"), (b"s" * 32, "postgresql://a:another@one/x")]
)
async def test_others_have_other_sessions_under_other_names(secret: bytes, url: str) -> None:
    ours = await source(b"s" * 32, "postgresql://one/x").get()
    other = await source(secret, url).get()
    assert other.cookie != ours.cookie
    assert other.csrf_cookie != ours.csrf_cookie
    assert not other.parse(ours.new(TOKEN).text).fits(TOKEN.hash())  # type: ignore[union-attr]
    both = f"{other.cookie}={other.new(TOKEN).text}; {ours.cookie}={(own := ours.new(TOKEN)).text}"
    found = ours.of([(b"cookie", both.encode())])
    assert found is not None
    assert found.text == own.text


async def test_the_secret_is_read_once_and_only_for_those_who_have_a_session() -> None:
    readings = 0

    async def read() -> bytes:
        nonlocal readings
        readings += 1
        return b"s" * 32

    made = SessionSource(read, database_url="postgresql://one/x")
    for header in (b"other=1", b"session=2"):
        assert await made.of([(b"cookie", header)]) is None
    assert (readings, made.csrf_cookie) == (0, "")
    sessions = await made.get()
    session = sessions.new(TOKEN)
    found = await made.of([(b"cookie", f"{sessions.cookie}={session.text}".encode())])
    assert found is not None
    assert found[1].fits(TOKEN.hash())
    assert (readings, made.csrf_cookie) == (1, sessions.csrf_cookie)


@pytest.mark.parametrize("text", ["", "x", "a.b.c.d", "0" * 16 + ".1.." + "0" * 64, "dq_" + "0" * 16])
def test_what_is_none(sessions: Sessions, text: str) -> None:
    assert sessions.parse(text) is None
    assert sessions.of([(b"cookie", f"{sessions.cookie}={text}".encode())]) is None
    assert sessions.of([(b"cookie", f"{COOKIE}=;;;\xff".encode("latin-1"))]) is None
    assert sessions.of([]) is None


def test_writes_take_the_sessions_own_token(sessions: Sessions) -> None:
    session, other = sessions.new(TOKEN), sessions.new(TOKEN)
    header = CSRF_HEADER.encode()
    sessions.check_write(session, "GET", [])
    sessions.check_write(session, "POST", [(header, sessions.csrf(session).encode())])
    for headers in ([], [(header, b"")], [(header, sessions.csrf(other).encode())], [(header, "é".encode())]):
        with pytest.raises(Forbidden):
            sessions.check_write(session, "POST", headers)


def test_nothing_of_it_is_in_logs(sessions: Sessions) -> None:
    session = sessions.new(TOKEN)
    assert session.text not in repr(session)
    assert session.text.rpartition(".")[2] not in repr(session)
    assert {field.name for field in dataclasses.fields(Session) if field.repr} == {"key_id", "ends_at_s"}
