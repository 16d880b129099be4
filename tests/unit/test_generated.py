import pytest

from distriqueue.generated import ROOT, documents


@pytest.mark.parametrize("path", documents())
def test_a_generated_document_is_up_to_date(path: str) -> None:
    assert ROOT.joinpath(path).read_text("utf-8") == documents()[path], "run: python -m distriqueue.generated"
