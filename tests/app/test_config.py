"""Settings: read from the environment, refused at start by the name of the key."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from app.config import Settings, load_settings, secret_key
from decant.errors import ConfigError


@pytest.fixture(autouse=True)
def empty_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for key in Settings.model_fields:
        monkeypatch.delenv(key, raising=False)


def test_values_come_from_the_environment_and_the_argument_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment variable of the setting's name sets it; what create_app is given goes first."""
    monkeypatch.setenv("DATABASE_URL", "postgresql://db/one")
    monkeypatch.setenv("LOG_LEVEL", "ERROR")
    settings = load_settings({"DATABASE_URL": "postgres://db/two", "ANYTHING_ELSE": 1})
    assert settings.DATABASE_URL == "postgresql://db/two"
    assert settings.LOG_LEVEL == "ERROR"


def test_an_empty_variable_is_as_if_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """``REDIS_URL= hypercorn …`` embeds Valkey, as without the variable."""
    monkeypatch.setenv("REDIS_URL", "")
    assert load_settings().REDIS_URL is None


@pytest.mark.parametrize(
    ("key", "value", "allowed"),
    [
        ("DATABASE_URL", "sqlite:///x.db", "PostgreSQL"),
        ("DATABASE_URL", "localhost:5432", "PostgreSQL"),
        ("DATABASE_POOL_SIZE", "many", "integer"),
        ("DATABASE_POOL_SIZE", "0", "greater"),
        ("DATABASE_POOL_TIMEOUT_S", "-1", "greater"),
        ("REDIS_URL", "http://localhost", "Redis"),
        ("SECRET_KEY", "dev", "16 characters"),
        ("PUBLIC_URL", "sho.rt", "origin"),
        ("PUBLIC_URL", "https://sho.rt/path", "origin"),
        ("PUBLIC_URL", "https://a:b@sho.rt", "user name"),
        ("PUBLIC_URL", "https://sho.rt:99999", "Port"),
        ("PROXY_HOPS", "11", "less"),
        ("SESSION_COOKIE_SECURE", "perhaps", "boolean"),
        ("SESSION_LIFETIME_DAYS", "0", "greater"),
        ("REGISTRATION", "maybe", "'open' or 'closed'"),
        ("MIGRATE_ON_START", "perhaps", "boolean"),
        ("MAX_CONTENT_LENGTH", "12", "greater"),
        ("ARGON2_TIME_COST", "0", "greater"),
        ("ARGON2_MEMORY_COST_KIB", "1", "greater"),
        ("ARGON2_PARALLELISM", "0", "greater"),
        ("HASH_THREADS", "0", "greater"),
        ("PREVIEWS", "perhaps", "'on' or 'off'"),
        ("SMTP_URL", "http://mail", "an SMTP URL is needed"),
        ("MAIL_FROM", "nobody", "a sender is needed"),
        ("RATE_MAIL", "often", "limits are written as"),
        ("LOG_LEVEL", "LOUD", "'DEBUG'"),
        ("LOG_FORMAT", "xml", "'console' or 'json'"),
    ],
)
def test_a_wrong_value_stops_the_start_by_its_key(
    key: str, value: str, allowed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each wrong value is named: its key, the value, what is allowed."""
    monkeypatch.setenv(key, value)
    with pytest.raises(ConfigError, match=rf"{key} = ") as caught:
        load_settings()
    assert caught.value.key == key
    assert allowed in caught.value.allowed


def test_passwords_and_keys_are_not_in_the_message() -> None:
    """A wrong URL or key is shown without its secret."""
    with pytest.raises(ConfigError) as url:
        load_settings({"DATABASE_URL": "mysql://root:hunter2@db/x"})
    assert "hunter2" not in str(url.value)
    assert "root:***@db" in str(url.value)
    with pytest.raises(ConfigError) as url:
        load_settings({"DATABASE_URL": "postgresql//root:hunter2@db/x"})
    assert "'***@db/x'" in str(url.value)
    assert "hunter2" not in str(url.value)
    with pytest.raises(ConfigError) as key:
        load_settings({"SECRET_KEY": "hunter2"})
    assert "hunter2" not in str(key.value)


def test_a_key_is_made_once_and_kept_for_its_owner_alone(tmp_path: Path) -> None:
    """Without SECRET_KEY, restarts and sister processes get the same one, which only its owner can read."""
    settings = load_settings({"DATA_DIR": tmp_path / "data"})
    made = secret_key(settings)
    assert len(made) == 64
    assert secret_key(settings) == made
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["secret_key"]
    assert stat.S_IMODE((tmp_path / "data" / "secret_key").stat().st_mode) == 0o600


def test_a_key_that_cannot_be_kept_stops_the_start(tmp_path: Path) -> None:
    """A DATA_DIR that cannot be written is said by SECRET_KEY, which is what to set then."""
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="SECRET_KEY"):
        secret_key(load_settings({"DATA_DIR": tmp_path / "file"}))
