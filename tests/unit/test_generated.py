"""The documents that are made from the code."""

import importlib
from itertools import chain

import pytest

from distriqueue.generated import ROOT, documents
from distriqueue.settings import PREFIX, READ_BY, _Settings


@pytest.mark.parametrize("path", documents())
def test_a_generated_document_is_up_to_date(path: str) -> None:
    assert ROOT.joinpath(path).read_text("utf-8") == documents()[path], "run: python -m distriqueue.generated"


def test_every_setting_is_in_the_table_once_and_as_it_is_read() -> None:
    importlib.import_module("gateway.dashboard.settings")
    page = documents()["docs/settings.md"]
    found: list[type[_Settings]] = [_Settings]
    for settings in found:
        found += settings.__subclasses__()
        for name, field in settings.model_fields.items():
            (row,) = [line for line in page.splitlines() if line.startswith(f"| `{PREFIX}{name.upper()}` |")]
            known = {each.model_fields[name].default for each in chain(*READ_BY.values()) if name in each.model_fields}
            assert known == {field.default}, name
            assert "`None`" not in row
