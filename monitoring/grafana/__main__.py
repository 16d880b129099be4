"""`python -m monitoring.grafana [DIRECTORY]`: write the dashboards, into `dashboards/` beside this file if not told."""

import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Final

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from monitoring.grafana import cluster, gateway, jobs, overview, servers, workers

HERE: Final = Path(__file__).parent / "dashboards"
ALL: Final[Mapping[str, ModuleType]] = {
    "overview": overview,
    "jobs": jobs,
    "workers": workers,
    "cluster": cluster,
    "gateway": gateway,
    "servers": servers,
}


def rendered() -> dict[str, str]:
    """Return the dashboards' JSON by their files' names."""
    encoder = JSONEncoder(sort_keys=True, indent=2)
    return {f"{name}.json": encoder.encode(module.dashboard().build()) + "\n" for name, module in ALL.items()}


def main() -> None:
    """Write them."""
    directory = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in rendered().items():
        (directory / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
