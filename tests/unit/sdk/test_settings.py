"""Where a client calls, and as whom."""

import pytest

from distriqueue.core.errors import BadSetting
from distriqueue.sdk.transport import AsyncTransport, Transport


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DISTRIQUEUE_URL", "DISTRIQUEUE_API_KEY"):
        monkeypatch.delenv(name, raising=False)


def test_the_default_is_this_machine() -> None:
    with Transport() as transport:
        assert transport.url == "http://127.0.0.1:8080"
        assert "authorization" not in transport._http.headers


def test_the_environment_and_then_the_caller_decide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISTRIQUEUE_URL", "http://gateway:1234/")
    monkeypatch.setenv("DISTRIQUEUE_API_KEY", "dq_env")
    with Transport() as transport:
        assert (transport.url, transport._http.headers["authorization"]) == ("http://gateway:1234", "Bearer dq_env")
    with Transport("https://other", api_key="dq_own") as transport:
        assert (transport.url, transport._http.headers["authorization"]) == ("https://other", "Bearer dq_own")


@pytest.mark.parametrize(
    "url", ["gateway:8080", "ftp://gateway", "http://", "http://a b", "http://gateway:99999", "http://u:p@gateway"]
)
def test_a_wrong_address_is_named(url: str) -> None:
    with pytest.raises(BadSetting, match="DISTRIQUEUE_URL"):
        Transport(url)


def test_a_key_that_cannot_be_sent_is_refused_and_not_shown() -> None:
    with pytest.raises(BadSetting, match="DISTRIQUEUE_API_KEY") as raised:
        Transport(api_key="dq secret")
    assert "secret" not in str(raised.value)


async def test_no_proxy_is_asked_for_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://proxy:1")
    async with AsyncTransport() as here, AsyncTransport("http://gateway") as there:
        assert (here._http.trust_env, there._http.trust_env) == (False, True)
