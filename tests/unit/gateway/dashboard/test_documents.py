"""Documents on a page: nothing in them runs, and their secrets are not in them."""

import json
import re
from html import unescape
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.dashboard.documents import MOST_CHARS, editable, shown
from gateway.dashboard.redaction import HIDDEN, is_secret, redacted, restored

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6) | st.just("password"), inner, max_size=3)
    ),
    max_leaves=12,
)


@pytest.mark.parametrize(
    "name",
    [
        "password",
        "PASSWD",
        "db_password",
        "apiKey",
        "api_key",
        "access-key",
        "clientSecret",
        "token",
        "refresh_token",
        "Authorization",
        "Cookie",
        "cvv",
    ],
)
def test_names_of_secrets(name: str) -> None:
    assert is_secret(name)


@pytest.mark.parametrize("name", ["bypass", "keyboard", "tokens", "max_tokens", "user", "key", "passenger"])
def test_names_of_other_things(name: str) -> None:
    assert not is_secret(name)


def test_secrets_are_hidden_at_every_depth_and_put_back() -> None:
    document = {"a": [{"password": "x", "n": 1}], "token": {"deep": ["y"]}, "secret": None}
    hidden = redacted(document)
    assert hidden == {"a": [{"password": HIDDEN, "n": 1}], "token": HIDDEN, "secret": None}
    assert restored(hidden, document) == document
    hidden["a"][0]["n"] = 2
    assert restored(hidden, document)["a"] == [{"password": "x", "n": 2}]
    assert restored({"password": HIDDEN}, {}) == {"password": HIDDEN}, "nothing to put back"
    assert restored({"password": "new"}, {"password": "old"}) == {"password": "new"}


@given(JSON)
def test_a_page_says_what_the_document_says_and_nothing_else(document: Any) -> None:
    text, whole = shown(json.dumps(document))
    assert whole
    bare = re.sub(r'<span class="j-(key|text|number|word)">|</span>', "", str(text))
    bare = re.sub(r'<span class="j-hidden">redacted', json.dumps(HIDDEN), bare)
    assert "<" not in bare
    assert json.loads(unescape(bare)) == redacted(document)


@given(JSON)
def test_what_a_form_shows_can_be_sent_back(document: Any) -> None:
    assert restored(json.loads(editable(json.dumps(document))), document) == document


def test_a_large_document_is_cut_and_says_so() -> None:
    text, whole = shown(json.dumps({"long": "<" * MOST_CHARS}))
    assert not whole
    assert "<" not in str(text)


def test_nothing_is_nothing() -> None:
    assert shown(None) == ("", True)
    assert editable(None) == "{}"
