"""Signatures, and which addresses webhooks may go to."""

import base64
import time
from ipaddress import ip_address
from typing import Any

import httpcore
import pytest
from pydantic import SecretStr
from standardwebhooks import Webhook as Verifier
from standardwebhooks.webhooks import WebhookVerificationError

from distriqueue.core.errors import BadSetting
from distriqueue.settings import WebhookSettings
from workers.runtime.retry_after import retry_after_s
from workers.webhooks.addresses import Allowed, why_not_public
from workers.webhooks.delivery import Pinned
from workers.webhooks.signing import Signer

NEW, OLD, OTHER = (f"whsec_{base64.b64encode(bytes([n]) * 32).decode()}" for n in (1, 2, 3))


def test_each_secret_verifies_during_a_rotation_and_no_other() -> None:
    body = '{"type":"job.completed","data":"ä"}'
    headers = Signer([SecretStr(NEW), SecretStr(OLD)]).headers("msg_1", int(time.time()), body.encode())
    for secret in (NEW, OLD):
        assert Verifier(secret).verify(body, headers)["data"] == "ä"
    with pytest.raises(WebhookVerificationError):
        Verifier(OTHER).verify(body, headers)
    with pytest.raises(WebhookVerificationError):
        Verifier(NEW).verify(body.replace("ä", "a"), headers)
    newest = Signer([SecretStr(NEW)]).headers("msg_1", int(headers["webhook-timestamp"]), body.encode())
    assert headers["webhook-signature"].startswith(newest["webhook-signature"] + " "), "newest first"


def test_a_signature_is_that_of_the_specification() -> None:
    """The example of the Standard Webhooks libraries' own tests."""
    signer = Signer([SecretStr("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")])
    headers = signer.headers("msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@pytest.mark.parametrize(
    "address",
    [
        "8.8.8.8",
        "172.15.255.255",
        "100.128.0.1",
        "192.0.1.1",
        "223.255.255.255",
        "2606:4700::1111",
        "2a00::1",
        "::ffff:8.8.8.8",
        "64:ff9b::808:808",
        "2002:808:808::1",
    ],
)
def test_global_unicast_is_public(address: str) -> None:
    assert why_not_public(ip_address(address)) is None


@pytest.mark.parametrize(
    ("address", "what"),
    [
        ("0.0.0.0", "unspecified"),
        ("10.1.2.3", "private"),
        ("172.16.0.1", "private"),
        ("192.168.1.1", "private"),
        ("100.64.0.1", "carrier"),
        ("100.127.255.255", "carrier"),
        ("127.0.0.1", "loopback"),
        ("127.9.9.9", "loopback"),
        ("169.254.169.254", "link-local"),
        ("192.0.0.170", "reserved"),
        ("192.0.2.1", "documentation"),
        ("198.19.0.1", "benchmarks"),
        ("224.0.0.1", "multicast"),
        ("240.0.0.1", "reserved"),
        ("255.255.255.255", "reserved"),
        ("::", "unspecified"),
        ("::1", "loopback"),
        ("fd00:ec2::254", "private"),
        ("fe80::1", "link-local"),
        ("fe80::1%eth0", "link-local"),
        ("fec0::1", "private"),
        ("ff02::1", "multicast"),
        ("2001:db8::1", "documentation"),
        ("3fff::1", "documentation"),
        ("2001:0:4136:e378:8000:63bf:3fff:fdd2", "reserved"),
        ("4000::1", "reserved"),
        ("100::1", "reserved"),
        ("::127.0.0.1", "reserved"),
        ("::ffff:0:127.0.0.1", "reserved"),
        ("64:ff9b:1::a00:1", "reserved"),
        ("::ffff:127.0.0.1", "127.0.0.1, loopback"),
        ("::ffff:100.64.0.1", "100.64.0.1, shared"),
        ("64:ff9b::a9fe:a9fe", "169.254.169.254, link-local"),
        ("2002:a00:1::1", "10.0.0.1, private"),
    ],
)
def test_anything_else_is_not(address: str, what: str) -> None:
    assert what in (why_not_public(ip_address(address)) or "")


def test_what_is_allowed_is_that_and_nothing_beside() -> None:
    allowed = Allowed.of(["Hooks.Internal", "10.1.0.0/16", "::1", "127.0.0.1"])
    assert allowed.has_host("hooks.internal.")
    assert not allowed.has_host("a.hooks.internal")
    assert not allowed.has_host("127.0.0.1"), "addresses are looked up as such"
    yes = ("10.1.255.1", "::1", "127.0.0.1", "::ffff:127.0.0.1", "::ffff:10.1.0.1")
    no = ("10.2.0.1", "::2", "127.0.0.2", "::ffff:127.0.0.2", "fe80::1")
    assert [allowed.has_address(ip_address(each)) for each in yes] == [True] * len(yes)
    assert [allowed.has_address(ip_address(each)) for each in no] == [False] * len(no)


def set_to(monkeypatch: pytest.MonkeyPatch, **values: str) -> None:
    """Set settings in the environment."""
    for name, value in values.items():
        monkeypatch.setenv(f"DISTRIQUEUE_{name.upper()}", value)


def test_settings_hold_secrets_newest_first_and_do_not_show_them(monkeypatch: pytest.MonkeyPatch) -> None:
    set_to(monkeypatch, webhook_secrets=f" {NEW}, {OLD},", webhook_allow="localhost, 10.0.0.0/8,::1,web1")
    settings = WebhookSettings.load()
    assert [secret.get_secret_value() for secret in settings.webhook_secrets] == [NEW, OLD]
    assert settings.webhook_allow == ("localhost", "10.0.0.0/8", "::1", "web1")
    assert NEW not in repr(settings)
    assert WebhookSettings.load(webhook_secrets="").webhook_secrets == ()


@pytest.mark.parametrize(
    ("secret", "said"),
    [
        (NEW.removeprefix("whsec_"), "does not start with whsec_"),
        ("whsec_not*base64", "is not Base64"),
        (f"whsec_{base64.b64encode(bytes(23)).decode()}", "has 23 bytes, it must have 24 to 64"),
        (f"whsec_{base64.b64encode(bytes(65)).decode()}", "has 65 bytes, it must have 24 to 64"),
        ("whsec_", "has 0 bytes"),
    ],
)
def test_a_wrong_secret_is_named_by_its_place_only(monkeypatch: pytest.MonkeyPatch, secret: str, said: str) -> None:
    set_to(monkeypatch, webhook_secrets=f"{OLD},{secret}")
    with pytest.raises(BadSetting) as refusal:
        WebhookSettings.load()
    assert refusal.value.message.startswith("DISTRIQUEUE_WEBHOOK_SECRETS: ")
    assert f"secret 2 of 2 {said}" in refusal.value.message
    assert OLD not in refusal.value.message
    assert secret == "whsec_" or secret not in refusal.value.message


@pytest.mark.parametrize("entry", ["10.0.0.1/8", "300.1.1.1", "10.1", "fe80::/200", "[::1]", "a b", "http://x", "x:80"])
def test_what_is_no_host_address_or_network_is_named(monkeypatch: pytest.MonkeyPatch, entry: str) -> None:
    set_to(monkeypatch, webhook_allow=f"localhost,{entry}")
    with pytest.raises(BadSetting, match=r"DISTRIQUEUE_WEBHOOK_ALLOW: .* is no host, address or network"):
        WebhookSettings.load()


@pytest.mark.parametrize(
    ("header", "wait_s"),
    [
        (None, 0),
        ("", 0),
        ("7", 7),
        ("-3", 0),
        ("1e9", 60),
        ("inf", 0),
        ("nan", 0),
        ("soon", 0),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0),
        ("Wed, 21 Oct 2099 07:28:00 GMT", 60),
    ],
)
def test_retry_after_is_read_in_both_forms_and_bounded(header: str | None, wait_s: float) -> None:
    assert retry_after_s(header, most_s=60) == wait_s


class Unreachable(httpcore.AnyIOBackend):
    """A network in which nobody answers; notes what was tried, and for how long."""

    def __init__(self) -> None:
        self.tried: list[tuple[str, float]] = []

    async def connect_tcp(self, host: str, *how: Any, **_: Any) -> Any:
        """Time out, at once."""
        self.tried.append((host, how[1]))
        raise httpcore.ConnectTimeout


async def test_the_addresses_of_a_name_share_the_time_to_connect() -> None:
    network = Unreachable()
    pinned = Pinned(["192.0.2.1", "2001:db8::1", "192.0.2.2"], network)
    with pytest.raises(httpcore.ConnectTimeout):
        await pinned.connect_tcp("the.name", 443, 6.0)
    assert [host for host, _ in network.tried] == ["192.0.2.1", "2001:db8::1", "192.0.2.2"]
    assert [round(timeout_s) for _, timeout_s in network.tried] == [2, 3, 6], "what one leaves, the next ones get"
