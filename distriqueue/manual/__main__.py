"""Check every link and build the site: `./build-run.sh docs`."""

import sys
from pathlib import Path

from distriqueue.manual import site

if __name__ == "__main__":
    root = Path(__file__).parents[2]
    try:
        built = site.build(root)
    except site.NotBuilt as exc:
        sys.exit(str(exc))
    sys.stdout.write(f"{built.relative_to(root)}/index.html\n")
