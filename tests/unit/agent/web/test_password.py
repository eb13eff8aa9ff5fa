import logging
from pathlib import Path

import pytest

from agent.errors import ConfigError
from agent.web.password import PasswordHash, Passwords, Role, generate, why_weak, write_password


def test_a_password_fits_its_own_hash_and_no_other_does() -> None:
    known = PasswordHash.parse(str(PasswordHash.of("a ladder at noon")))
    assert known.fits("a ladder at noon")
    assert not known.fits("a ladder at noom")
    assert not known.fits("")


def test_two_hashes_of_one_password_differ() -> None:
    assert str(PasswordHash.of("a ladder at noon")) != str(PasswordHash.of("a ladder at noon"))


@pytest.mark.parametrize(
    "line",
    [
        pytest.param("", id="empty"),
        pytest.param("a ladder at noon", id="a password in the clear"),
        pytest.param("bcrypt$16384$8$1$00112233445566778899aabbccddeeff$" + "00" * 32, id="of another kind"),
        pytest.param("scrypt$16384$8$1$zz$" + "00" * 32, id="no hexadecimal"),
        pytest.param("scrypt$16384$8$1$0011223344556677$00", id="a short hash, which fits one in 256"),
        pytest.param("scrypt$1073741824$8$1$0011223344556677$" + "00" * 32, id="more memory than the box has"),
        pytest.param("scrypt$1000$8$1$0011223344556677$" + "00" * 32, id="no power of two"),
        pytest.param("scrypt$16384$8$1000000$0011223344556677$" + "00" * 32, id="more work than can be done"),
        pytest.param("scrypt$-2$8$1$0011223344556677$" + "00" * 32, id="negative"),
    ],
)
def test_a_file_that_is_no_hash_lets_nobody_in_and_its_words_are_not_told(
    tmp_path: Path, line: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "technician"
    path.write_text(line)
    path.chmod(0o600)
    with caplog.at_level(logging.ERROR):
        assert Passwords({Role.TECHNICIAN: path}).role_of(line) is None
    assert str(path) in caplog.text
    assert "ladder" not in caplog.text


def test_a_written_password_is_for_its_owner_alone_and_is_not_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "web" / "technician"
    write_password(path, "a ladder at noon")
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert "ladder" not in path.read_text()
    assert Passwords({Role.TECHNICIAN: path}).role_of("a ladder at noon") is Role.TECHNICIAN


def test_a_password_that_cannot_be_written_names_its_file(tmp_path: Path) -> None:
    (tmp_path / "web").write_text("")
    with pytest.raises(ConfigError, match=str(tmp_path / "web" / "technician")):
        write_password(tmp_path / "web" / "technician", "a ladder at noon")


def test_a_password_that_was_changed_is_changed_at_once(tmp_path: Path) -> None:
    path = tmp_path / "technician"
    passwords = Passwords({Role.TECHNICIAN: path})
    assert not passwords.is_set()
    write_password(path, "a ladder at noon")
    assert passwords.role_of("a ladder at noon") is Role.TECHNICIAN
    write_password(path, "rain on the mast")
    assert passwords.role_of("a ladder at noon") is None
    assert passwords.role_of("rain on the mast") is Role.TECHNICIAN
    path.unlink()
    assert passwords.role_of("rain on the mast") is None


def test_one_password_for_both_roles_is_the_technicians(tmp_path: Path) -> None:
    files = {Role.VIEWER: tmp_path / "viewer", Role.TECHNICIAN: tmp_path / "technician"}
    for path in files.values():
        write_password(path, "a ladder at noon")
    assert Passwords(files).role_of("a ladder at noon") is Role.TECHNICIAN


@pytest.mark.parametrize(
    ("password", "weak"),
    [
        ("short", "length"),
        ("ten letters", None),
        ("aaaaaaaaaaaaaaaaaaaa", "plain"),
        ("1212121212", "plain"),
        ("with a bell \a in it", "length"),
        ("x" * 129, "length"),
        ("mật khẩu dài", None),
    ],
)
def test_what_is_too_weak(password: str, weak: str | None) -> None:
    assert why_weak(password) == weak


def test_what_is_generated_is_strong_and_never_the_same() -> None:
    made = {generate() for _ in range(200)}
    assert len(made) == 200
    assert {why_weak(password) for password in made} == {None}
