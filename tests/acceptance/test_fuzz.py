"""Schemathesis, with all its checks, against a running stack that wants keys: the API does only what its document says.

`FUZZ_S=60 ./build-run.sh soak -k fuzz` for less than its ten minutes.
"""

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from distriqueue.local.stack import Stack

pytestmark = [pytest.mark.stack, pytest.mark.soak]

ROOT: Final = Path(__file__).parents[2]
SECONDS: Final = int(os.environ.get("FUZZ_S", "600"))
STREAM: Final = "/api/jobs/stream"
"""Never ends, by its nature."""


@pytest.mark.timeout(SECONDS + 300)
def test_fuzzing_finds_no_server_error_and_no_violation_of_the_document(tmp_path: Path) -> None:
    with Stack.start(tmp_path / "home", workers=1) as stack:
        key = _key(stack)
        done = subprocess.run(
            [
                str(Path(sys.executable).with_name("schemathesis")),
                *("run", f"{stack.gateway_urls[0]}/api/api-docs", "--url", stack.gateway_urls[0]),
                *("--checks", "all", "--max-time", str(SECONDS), "--continue-on-failure"),
                *("--exclude-path", STREAM, "--generation-allow-x00", "false", "--request-timeout", "20"),
                *("-H", f"Authorization: Bearer {key}", "--no-color"),
            ],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(ROOT), "SCHEMATHESIS_HOOKS": "tests.acceptance.fuzz_hooks"},
            capture_output=True,
            text=True,
            timeout=SECONDS + 240,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-2_000:]
        assert '"level": "error"' not in stack.log("gateway1")


def _key(stack: Stack) -> str:
    command = [sys.executable, "-m", "distriqueue.cli", "apikey", "create", "fuzz", "--scope", "admin"]
    env = os.environ | {"DISTRIQUEUE_DATABASE_URL": stack.database_url}
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=30, check=True).stdout.strip()
