"""The dashboard's files on their way."""

import gzip

import httpx
import pytest

from gateway.dashboard.assets import FOR_EVER, Assets

ASSETS = Assets()


@pytest.fixture
def client() -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(ASSETS), base_url="http://gateway")


async def test_by_its_digest_a_file_may_be_kept_for_ever(client: httpx.AsyncClient) -> None:
    answer = await client.get(ASSETS.url("app.css"))
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/css; charset=utf-8"
    assert answer.headers["cache-control"] == FOR_EVER
    assert answer.headers["content-encoding"] == "gzip"
    assert "{{" not in answer.text
    assert ASSETS.url("inter-latin-wght-normal.woff2") in answer.text


async def test_by_an_old_digest_it_is_there_and_is_not_kept(client: httpx.AsyncClient) -> None:
    answer = await client.get("/assets/000000000000/app.js", headers={"Accept-Encoding": "identity"})
    assert answer.headers["cache-control"] == "no-cache"
    assert "content-encoding" not in answer.headers


@pytest.mark.parametrize(
    "path", ["/assets/", "/assets/x", "/assets/x/../app.py", "/assets/x/nothing.js", "/assets/app.css"]
)
async def test_nothing_else_is_there(client: httpx.AsyncClient, path: str) -> None:
    assert (await client.get(path)).status_code == 404


async def test_files_are_only_read(client: httpx.AsyncClient) -> None:
    assert (await client.post(ASSETS.url("app.css"))).status_code == 405


def test_all_icons_that_templates_ask_for_are_there() -> None:
    sprite = ASSETS["icons.svg"].body.decode()
    for name in ("search", "crown", "rotate-cw", "ban", "key-round", "triangle-alert", "inbox"):
        assert f'id="{name}"' in sprite
    assert gzip.decompress(ASSETS["icons.svg"].gzipped or b"").decode() == sprite
