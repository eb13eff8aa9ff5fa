"""Files of passwords and keys: one that others may read is told, and used all the same."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from agent import secret_file
from agent.camera import credentials_in
from agent.uplink import Login


@pytest.mark.parametrize(
    ("mode", "told"),
    [(0o600, None), (0o400, None), (0o640, "0640"), (0o604, "0604"), (0o644, "0644"), (0o620, "0620")],
)
def test_a_file_that_others_may_read_or_write_is_told_with_its_mode(
    tmp_path: Path, mode: int, told: str | None
) -> None:
    path = tmp_path / "login"
    path.touch()
    path.chmod(mode)
    assert secret_file.open_mode(path, {}) == told


def test_a_credential_of_systemd_is_well_kept_whatever_its_mode_says(tmp_path: Path) -> None:
    path = tmp_path / "login"
    path.touch(0o440)
    path.chmod(0o440)
    assert secret_file.open_mode(path, {"CREDENTIALS_DIRECTORY": str(tmp_path)}) is None
    assert secret_file.open_mode(path, {"CREDENTIALS_DIRECTORY": str(tmp_path / "other")}) == "0440"


def test_an_open_file_is_used_with_one_warning_that_says_what_to_do(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Boxes that have worked so for years go on after an update."""
    path = tmp_path / "north.toml"
    path.write_text('user = "viewer"\npassword = "tr@ da"\n')
    path.chmod(0o644)
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert credentials_in(path, "camera north").password == "tr@ da"
    (record,) = caplog.records
    assert record.getMessage() == (
        f"{path}: mode 0644, so other users of this box may read it; wanted 0600: sudo chown gateway-agent {path}; "
        f"sudo chmod 600 {path}"
    )


def test_a_closed_file_is_used_without_a_word(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "password"
    path.write_text("trà đá\n")
    path.chmod(0o600)
    with caplog.at_level(logging.WARNING):
        assert Login("gw", path).password() == "trà đá"
    assert caplog.records == []
