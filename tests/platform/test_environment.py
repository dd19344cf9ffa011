"""Secrets in files, and settings of sign-in that cannot work."""

import os

import pytest
from django.core.exceptions import ImproperlyConfigured

from promptops.people.enums import Role
from promptops.platform import environment

SECRETS = ["SECRET_KEY", "DATABASE_URL", "REDIS_URL", "OIDC_CLIENT_SECRET", "ADMIN_PASSWORD"]


def given(monkeypatch, tmp_path, name: str, value: str, content: bytes | None) -> None:
    monkeypatch.setenv(name, value)
    if content is not None:
        path = tmp_path / "secret"
        path.write_bytes(content)
        monkeypatch.setenv(f"{name}_FILE", str(path))


@pytest.mark.parametrize("name", SECRETS)
@pytest.mark.parametrize(
    ("value", "content", "expected"),
    [
        ("plain", None, "plain"),
        ("", b"from a file\n", "from a file"),
        ("", b" inner spaces \r\n", " inner spaces "),
        ("", None, ""),
    ],
)
def test_a_secret_is_a_variable_or_a_file(name, value, content, expected, tmp_path, monkeypatch):
    given(monkeypatch, tmp_path, name, value, content)
    assert environment.secret(name) == expected


@pytest.mark.parametrize("name", SECRETS)
@pytest.mark.parametrize(
    ("value", "content", "words"),
    [("hush", b"x", "are both set"), ("", b"\n", "is empty"), ("", b"\xff\xfe", "not text in UTF-8")],
)
def test_a_secret_that_is_unclear_stops_the_start(name, value, content, words, tmp_path, monkeypatch):
    given(monkeypatch, tmp_path, name, value, content)
    with pytest.raises(ImproperlyConfigured, match=f"{name}.*{words}") as refused:
        environment.secret(name)
    assert "hush" not in str(refused.value)


def test_a_file_that_cannot_be_read_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("ADMIN_PASSWORD_FILE", str(tmp_path / "missing"))
    with pytest.raises(ImproperlyConfigured, match=r"ADMIN_PASSWORD_FILE names .*missing.*No such file"):
        environment.secret("ADMIN_PASSWORD")


def test_keys_of_providers_come_from_files_too(tmp_path, monkeypatch):
    path = tmp_path / "key"
    path.write_text("a key\n")
    for name in ("NEWVENDOR_API_KEY", "STUDIO_KEY", "OTHER_KEY"):
        monkeypatch.setenv(name, "")
        monkeypatch.setenv(f"{name}_FILE", str(path))
    environment.read_provider_keys(["STUDIO_KEY=gpu.example"])
    assert [os.environ[name] for name in ("NEWVENDOR_API_KEY", "STUDIO_KEY", "OTHER_KEY")] == ["a key", "a key", ""]
    monkeypatch.setenv("NEWVENDOR_API_KEY_FILE", str(path))
    with pytest.raises(ImproperlyConfigured, match="NEWVENDOR_API_KEY and NEWVENDOR_API_KEY_FILE are both set"):
        environment.read_provider_keys([])


@pytest.mark.parametrize(
    ("issuer", "is_good"),
    [
        ("", True),
        ("https://id.example.org/realms/x", True),
        ("http://localhost:9000", True),
        ("http://127.0.0.1:9000/x", True),
        ("http://[::1]:9000", True),
        ("http://id.example.org", False),
        ("http://localhost.evil.example", False),
        ("http://127.0.0.1@evil.example", False),
        ("id.example.org", False),
    ],
)
def test_the_issuer_needs_tls_unless_it_is_this_machine(issuer, is_good, monkeypatch):
    monkeypatch.setenv("OIDC_ISSUER", issuer)
    if is_good:
        assert environment.issuer() == issuer
    else:
        with pytest.raises(ImproperlyConfigured, match="https://"):
            environment.issuer()


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({}, ""),
        ({"groups": [[], []], "default_role": "viewer"}, ""),
        ({"issuer": ""}, ""),
        ({"issuer": "", "only": True}, "OIDC_ONLY is set without OIDC_ISSUER"),
        ({"client": ""}, "without OIDC_CLIENT_ID"),
        ({"scopes": ["profile"]}, "OIDC_SCOPES has no openid"),
        ({"groups": [[], []]}, "no group has a role"),
    ],
)
def test_settings_with_which_nobody_could_sign_in_are_refused(changes, sentence):
    good = {"issuer": "https://id.example", "client": "x", "scopes": ["openid"], "groups": [["ops"]]}
    values = {**good, "default_role": "", "only": False, **changes}
    if not sentence:
        environment.check_sign_on(**values)
        return
    with pytest.raises(ImproperlyConfigured, match=sentence):
        environment.check_sign_on(**values)


def test_roles_in_the_environment_are_those_of_people():
    assert set(environment.ROLES) == set(Role)
    environment.check_roles("TOTP_REQUIRED", ["administrator", "viewer", ""])
    with pytest.raises(ImproperlyConfigured, match="TOTP_REQUIRED has 'boss'; use viewer"):
        environment.check_roles("TOTP_REQUIRED", ["administrator", "boss"])


@pytest.mark.parametrize(("name", "password", "is_good"), [("", "", True), ("a", "b", True), ("a", "", False)])
def test_the_first_administrator_needs_a_name_and_a_password(name, password, is_good):
    if is_good:
        environment.check_administrator(name, password)
    else:
        with pytest.raises(ImproperlyConfigured, match="work together"):
            environment.check_administrator(name, password)
