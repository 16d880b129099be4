"""What the deployments may say to our services."""

import re
from typing import Final

from tests.unit.deploy.tools import ROOT

SETTINGS: Final = frozenset(
    re.findall(r"^\| `(DISTRIQUEUE_\w+)`", (ROOT / "docs/settings.md").read_text("utf-8"), re.M)
)
"""Every setting that is read: the page is generated from them."""
