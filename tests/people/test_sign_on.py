"""Single sign-on through the real pages, against a real provider on loopback."""

import base64
import hashlib
import logging
from collections.abc import Iterator
from urllib.parse import parse_qs, urlsplit

import pytest
from django.conf import settings as present
from django.test import Client
from django.urls import reverse
from joserfc.jwk import RSAKey

from promptops.ledger import sentences
from promptops.ledger.audit import SYSTEM, Actor
from promptops.ledger.errors import Refused
from promptops.ledger.models import AuditEntry
from promptops.people import openid
from promptops.people.actions import accounts, sign_on
from promptops.people.enums import Role
from promptops.people.models import Identity, User, UserSession
from tests.conftest import PASSWORD
from tests.people.provider import Provider, changed, running, unchanged

pytestmark = [pytest.mark.django_db, pytest.mark.filterwarnings("ignore::DeprecationWarning")]

GROUPS = {"viewer": [], "editor": ["writers"], "releaser": ["ops", "leads"], "administrator": ["admins"]}


@pytest.fixture(scope="module")
def served() -> Iterator[Provider]:
    with running() as provider:
        yield provider


@pytest.fixture
def provider(served: Provider, settings) -> Provider:
    served.reset()
    openid.forget()
    settings.OIDC_ISSUER = served.issuer
    settings.OIDC_CLIENT_ID = "promptops"
    settings.OIDC_CLIENT_SECRET = "the client's secret"
    settings.OIDC_NAME = "Example"
    settings.OIDC_GROUPS = GROUPS
    return served


def entries(action: str) -> list[AuditEntry]:
    return list(AuditEntry.objects.filter(action=action).order_by("seq"))


def signed_in(client: Client) -> User | None:
    key = client.session.get("_auth_user_id")
    return User.objects.get(pk=key) if key else None


@pytest.mark.parametrize(
    ("groups", "default", "role"),
    [
        (["writers"], "", Role.EDITOR),
        (["writers", "leads"], "", Role.RELEASER),
        (["admins", "ops", "writers"], "", Role.ADMINISTRATOR),
        ("ops", "", Role.RELEASER),  # one group as a text
        (["strangers"], "viewer", Role.VIEWER),
        ([], "viewer", Role.VIEWER),
        (["writers"], "viewer", Role.EDITOR),
    ],
)
def test_groups_give_the_highest_role(provider, settings, groups, default, role):
    settings.OIDC_DEFAULT_ROLE = default
    client = Client()
    provider.person("1", preferred_username="Ada", name="Ada Lovelace", groups=groups)
    response = provider.sign_on(client, "1", "/prompts/?q=fox")
    assert (response.status_code, response["Location"]) == (302, "/prompts/?q=fox")
    user = signed_in(client)
    assert user is not None
    assert (user.username, user.name, user.role, user.has_usable_password()) == ("ada", "Ada Lovelace", role, False)
    assert (user.identity.issuer, user.identity.subject) == (provider.issuer, "1")
    assert len(entries("user.signed_on_first")) == len(entries("user.signed_on")) == 1
    assert UserSession.objects.get().user == user


@pytest.mark.parametrize("groups", [[], ["strangers"], None, {"writers": 1}, [{"name": "writers"}]])
def test_nobody_gets_in_without_a_group_that_has_a_role(provider, groups):
    client = Client()
    response = provider.sign_on(client, provider.person("2", preferred_username="eve", groups=groups))
    assert response.status_code == 403
    assert "None of your groups has a role" in response.content.decode()
    assert not User.objects.exists()
    assert signed_in(client) is None
    (entry,) = entries("user.sign_on_refused")
    assert entry.after == {"reason": "no group has a role", "subject": "2"}
    assert sentences.sentence(entry) == (
        "Somebody was refused at single sign-on as an unknown name: no group has a role"
    )


def test_the_flow_has_pkce_state_and_nonce_and_each_answer_counts_once(provider):
    client = Client()
    provider.person("1", preferred_username="ada", groups=["ops"])
    begun = client.get(reverse("oidc"))["Location"]
    query = {name: values[0] for name, values in parse_qs(urlsplit(begun).query).items()}
    assert begun.startswith(f"{provider.issuer}/oauth2/authorize?")
    assert query["redirect_uri"] == "http://testserver/sign-in/oidc/callback/"
    assert (query["response_type"], query["scope"]) == ("code", "openid profile email")
    assert min(len(query["state"]), len(query["nonce"])) >= 43
    back = provider.answer(begun, "1")
    assert client.get(back).status_code == 302
    digest = hashlib.sha256(provider.form["code_verifier"].encode()).digest()
    challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
    assert (query["code_challenge_method"], query["code_challenge"]) == ("S256", challenge)
    client.logout()
    assert client.get(back).status_code == 410  # again
    assert signed_in(client) is None


@pytest.mark.parametrize(
    ("change", "status", "words"),
    [
        (lambda back: back.replace("state=", "state=x"), 410, "began in another browser"),
        (lambda back: back.split("state=")[0], 410, "began in another browser"),
        (lambda back: back.replace("code=", "code=x"), 403, "invalid_grant"),
        (lambda back: f"{back}&iss=https://evil.example", 403, "Another identity provider"),
        (lambda back: f"{back}&error=access_denied", 403, "did not let you in"),
        (lambda back: f"{back}&error=<script>", 403, "unknown error"),
    ],
    ids=["other state", "no state", "other code", "other issuer", "denied", "strange error"],
)
def test_a_wrong_way_back_signs_nobody_in(provider, change, status, words):
    client = Client()
    back = provider.answer(client.get(reverse("oidc"))["Location"], provider.person("1", groups=["ops"]))
    response = client.get(change(back))
    assert response.status_code == status
    assert words in response.content.decode()
    assert signed_in(client) is None
    assert not AuditEntry.objects.exists()  # strangers can do this, so the audit must not grow


def test_an_answer_for_another_browser_signs_nobody_in(provider):
    back = provider.answer(Client().get(reverse("oidc"))["Location"], provider.person("1", groups=["ops"]))
    stranger = Client()
    stranger.get(reverse("oidc"))
    assert stranger.get(back).status_code == 410
    assert signed_in(stranger) is None


@pytest.mark.parametrize(
    ("spoil", "algorithm", "reason"),
    [
        (changed(nonce="another"), "RS256", "the token's nonce is wrong"),
        (lambda claims: {name: value for name, value in claims.items() if name != "nonce"}, "RS256", "nonce"),
        (changed(aud="another-client"), "RS256", "the token is for another client"),
        (changed(aud=["promptops", "another"]), "RS256", "the token is for another client"),  # without azp
        (changed(iss="https://evil.example"), "RS256", "the token's iss is wrong"),
        (changed(exp=-120), "RS256", "the token has expired"),
        (lambda claims: {name: value for name, value in claims.items() if name != "exp"}, "RS256", "clocks"),
        (changed(iat=600), "RS256", "the clocks differ"),
        (changed(sub=""), "RS256", "sub"),
        (unchanged, "none", "cannot be verified"),
        (unchanged, "HS256", "cannot be verified"),
    ],
    ids=["nonce", "no-nonce", "aud", "auds", "iss", "expired", "endless", "future", "sub", "none", "hmac"],
)
def test_a_wrong_token_signs_nobody_in_and_is_audited(provider, spoil, algorithm, reason):
    provider.spoil, provider.algorithm = spoil, algorithm
    client = Client()
    response = provider.sign_on(client, provider.person("1", preferred_username="ada", groups=["ops"]))
    assert response.status_code == 403
    assert signed_in(client) is None
    assert not User.objects.exists()
    (entry,) = entries("user.sign_on_refused")
    assert reason in entry.after["reason"]


def test_a_token_of_a_key_that_the_provider_does_not_publish_is_refused(provider, monkeypatch):
    monkeypatch.setattr(openid, "RETRY_SECONDS", 0.0)
    provider.spoil = unchanged
    person = provider.person("1", preferred_username="ada", groups=["ops"])
    provider.signs_with = RSAKey.generate_key(2048, {"kid": provider.key.kid})
    assert provider.sign_on(Client(), person).status_code == 403
    provider.signs_with = None
    assert provider.sign_on(Client(), person).status_code == 302


def test_new_keys_of_the_provider_are_fetched_once_a_token_needs_them(provider, monkeypatch):
    provider.spoil = unchanged
    person = provider.person("1", preferred_username="ada", groups=["ops"])
    for _ in range(2):
        assert provider.sign_on(Client(), person).status_code == 302
    assert provider.asked.count("/jwks") == 1  # the documents are kept
    monkeypatch.setattr(openid, "RETRY_SECONDS", 0.0)
    provider.rotate()
    assert provider.sign_on(Client(), person).status_code == 302
    assert provider.asked.count("/jwks") == 2


def test_groups_of_the_userinfo_endpoint_count_if_the_token_has_none(provider):
    provider.spoil = lambda claims: {name: value for name, value in claims.items() if name != "groups"}
    client = Client()
    provider.sign_on(client, provider.person("1", preferred_username="ada", groups=["ops"]))
    assert signed_in(client).role == Role.RELEASER
    assert "/userinfo" in provider.asked


def test_a_claim_may_be_inside_another_one(provider, settings):
    settings.OIDC_GROUPS_CLAIM = "realm_access.roles"
    client = Client()
    provider.sign_on(client, provider.person("1", preferred_username="ada", realm_access={"roles": ["writers"]}))
    assert signed_in(client).role == Role.EDITOR


@pytest.mark.parametrize(
    ("metadata", "words"),
    [
        ({"issuer": "https://evil.example"}, "names another issuer"),
        ({"token_endpoint": "http://192.0.2.1/token"}, "no usable token_endpoint"),
        ({"authorization_endpoint": "javascript:alert(1)"}, "no usable authorization_endpoint"),
        ({"jwks_uri": None}, "no usable jwks_uri"),
        ({"padding": "x" * openid.MAX_BYTES}, "sent more than 512 KiB"),
    ],
)
def test_documents_that_cannot_be_trusted_are_refused(provider, metadata, words):
    provider.metadata = metadata
    client = Client()
    response = client.get(reverse("oidc"))
    if response.status_code == 302:
        response = client.get(provider.answer(response["Location"], provider.person("1", groups=["ops"])))
    assert response.status_code == 503
    assert words in response.content.decode()


def test_a_provider_that_is_down_gets_one_try_and_a_sentence(provider, settings, monkeypatch):
    provider.is_down = True
    for _ in range(3):
        response = Client().get(reverse("oidc"), {"next": "/prompts/"})
        assert response.status_code == 503
    assert len(provider.asked) == 1
    assert "status 503" in response.content.decode()
    assert f"{reverse('sign_in')}?next=/prompts/" in response.content.decode()
    monkeypatch.setattr(openid, "RETRY_SECONDS", 0.0)
    provider.is_down = False
    assert Client().get(reverse("oidc")).status_code == 302
    settings.OIDC_ISSUER = "http://127.0.0.1:9"
    assert "the connection was refused" in Client().get(reverse("oidc")).content.decode()


def test_a_local_account_is_never_taken_over_until_an_administrator_links_it(provider, editor, administrator):
    person = provider.person("77", preferred_username="EDDIE", name="Eddie Editor", groups=["ops"])
    response = provider.sign_on(Client(), person)
    assert response.status_code == 403
    assert "already has an account named eddie" in response.content.decode()
    assert User.objects.count() == 2
    client = Client()
    client.force_login(administrator, backend=present.AUTHENTICATION_BACKENDS[-1])
    page = client.get(reverse("people_sessions", args=[editor.pk])).content.decode()
    assert 'value="77"' in page  # the account that was refused
    url = reverse("people_link", args=[editor.pk])
    assert client.post(url, {"subject": "77"}).status_code == 200  # the panel
    assert not Identity.objects.exists()
    client.post(url, {"subject": "77", "confirm": "1"})
    browser = Client()
    assert provider.sign_on(browser, person).status_code == 302
    assert signed_in(browser) == editor
    editor.refresh_from_db()
    assert (editor.role, editor.check_password(PASSWORD)) == (Role.RELEASER, True)
    client.post(reverse("people_unlink", args=[editor.pk]), {"confirm": "1"})
    assert not editor.sessions.exists()
    assert provider.sign_on(browser, person).status_code == 403
    assert [len(entries(name)) for name in ("user.identity_linked", "user.identity_unlinked")] == [1, 1]


def test_one_account_at_the_provider_is_linked_to_one_person(provider, editor, viewer, actor):
    sign_on.link_identity(editor, "77", by=actor)
    with pytest.raises(Refused, match="linked to Eddie Editor"):
        sign_on.link_identity(viewer, "77", by=actor)
    with pytest.raises(Refused, match="linked already"):
        sign_on.link_identity(editor, "78", by=actor)


def test_equal_names_are_told_apart_and_strange_user_names_fall_back(provider, editor):
    for subject, claims, username, name in [
        ("1", {"preferred_username": "ed", "name": "Eddie Editor"}, "ed", "Eddie Editor (ed)"),
        ("2", {"preferred_username": "爱达", "email": "ada@example.org"}, "ada@example.org", "ada@example.org"),
        ("3", {}, "3", "3"),
    ]:
        client = Client()
        provider.sign_on(client, provider.person(subject, groups=["ops"], **claims))
        user = signed_in(client)
        assert (user.username, user.name) == (username, name)


def test_roles_follow_the_groups_at_every_sign_in(provider, administrator):
    client = Client()
    provider.sign_on(client, provider.person("1", preferred_username="eve", groups=["admins"]))
    panel = Client(headers={"HX-Request": "true"})
    panel.force_login(administrator, backend=present.AUTHENTICATION_BACKENDS[-1])
    page = panel.get(reverse("people_role", args=[signed_in(client).pk])).content.decode()
    assert "follows the groups" in page
    provider.person("1", preferred_username="eve", groups=["writers"])
    provider.sign_on(again := Client(), "1")
    assert signed_in(again).role == Role.EDITOR
    (entry,) = entries("user.role_followed_groups")
    assert (entry.actor_name, entry.before, entry.after) == (
        SYSTEM.name, {"role": "administrator"}, {"role": "editor"},
    )  # fmt: skip
    provider.sign_on(Client(), "1")
    assert len(entries("user.role_followed_groups")) == 1
    provider.person("1", preferred_username="eve", groups=[])
    assert provider.sign_on(Client(), "1").status_code == 403
    assert client.get("/").status_code == again.get("/").status_code == 302  # their sessions have ended
    assert User.objects.get(username="eve").role == Role.EDITOR


def test_without_groups_in_the_settings_administrators_decide_about_roles(provider, settings, administrator):
    settings.OIDC_GROUPS = {role: [] for role in GROUPS}
    settings.OIDC_DEFAULT_ROLE = "viewer"
    client = Client()
    provider.sign_on(client, provider.person("1", preferred_username="eve"))
    user = signed_in(client)
    accounts.change_role(user, "releaser", by=Actor.person(administrator))
    provider.sign_on(Client(), "1")
    user.refresh_from_db()
    assert user.role == Role.RELEASER


def test_the_last_administrator_stays_one_and_a_deactivated_person_stays_out(provider):
    provider.sign_on(client := Client(), provider.person("1", preferred_username="eve", groups=["admins"]))
    user = signed_in(client)
    provider.person("1", preferred_username="eve", groups=["writers"])
    response = provider.sign_on(Client(), "1")
    assert (response.status_code, "you are the last one" in response.content.decode()) == (403, True)
    user.refresh_from_db()
    assert user.role == Role.ADMINISTRATOR
    User.objects.update(is_active=False)
    response = provider.sign_on(Client(), "1")
    assert (response.status_code, "is deactivated" in response.content.decode()) == (403, True)


def test_signing_out_ends_both_sessions(provider):
    client = Client()
    provider.sign_on(client, provider.person("1", preferred_username="ada", groups=["ops"]))
    token = client.session["oidc_id_token"]
    response = client.post(reverse("sign_out"))
    page = response.content.decode().replace("&amp;", "&")
    assert signed_in(client) is None
    assert f'content="0; url={provider.issuer}/oauth2/end_session?client_id=promptops' in page
    assert f"id_token_hint={token}" in page
    assert "post_logout_redirect_uri=http%3A%2F%2Ftestserver%2Fsign-in%2F" in page
    assert "Refresh" not in response.headers
    assert len(entries("user.signed_out")) == 1


@pytest.mark.parametrize("how", ["password", "no end_session_endpoint", "down"])
def test_signing_out_ends_the_local_session_whatever_the_provider_does(provider, how, viewer):
    client = Client()
    if how == "password":
        client.post(reverse("sign_in"), {"username": "vera", "password": PASSWORD})
    else:
        provider.sign_on(client, provider.person("1", preferred_username="ada", groups=["ops"]))
        openid.forget()
        provider.is_down = how == "down"
        provider.metadata = {"end_session_endpoint": None}
    response = client.post(reverse("sign_out"))
    assert (response.status_code, response["Location"]) == (302, reverse("sign_in"))
    assert signed_in(client) is None


@pytest.mark.parametrize(
    "target", ["https://evil.example/", "//evil.example", "/\\evil.example", "javascript:alert(1)", "/a\nb"]
)
def test_the_way_back_never_leads_elsewhere(provider, target):
    response = provider.sign_on(Client(), provider.person("1", preferred_username="a", groups=["ops"]), target)
    assert response["Location"] == "/"


def test_no_secret_is_in_the_log_the_audit_or_the_page(provider, caplog):
    caplog.set_level(logging.DEBUG, logger="promptops")
    client = Client()
    begun = client.get(reverse("oidc"))["Location"]
    back = provider.answer(begun, provider.person("1", preferred_username="ada", groups=["ops"]))
    client.get(back)
    provider.spoil = changed(exp=-120)
    openid.forget()
    failed = provider.sign_on(Client(), "1").content.decode()
    token = client.session["oidc_id_token"]
    written = caplog.text + failed + str(list(AuditEntry.objects.values("before", "after", "note", "object_name")))
    code = parse_qs(urlsplit(back).query)["code"][0]
    for secret in (code, token, provider.form["code_verifier"], "the client's secret"):
        assert secret not in written
    assert not any(attempt in client.session for attempt in ("state", "nonce"))


def test_with_oidc_only_just_administrators_have_a_form_for_passwords(provider, settings, administrator, viewer):
    settings.OIDC_ONLY = True
    page = Client().get(reverse("sign_in"), {"next": "/prompts/"}).content.decode()
    assert 'name="password"' not in page
    assert 'href="/sign-in/oidc/?next=/prompts/"' in page
    form = {"username": "ada", "password": PASSWORD, "next": "/runs/"}
    assert Client().post(reverse("sign_in"), form).status_code == 403
    local = reverse("sign_in_local")
    assert Client().post(local, form | {"username": "vera"}).status_code == 422
    assert entries("user.sign_in_failed")[-1].object_name == "vera"
    assert Client().post(local, form)["Location"] == "/runs/"
    with pytest.raises(Refused, match="OIDC_ONLY"):
        accounts.invite(Role.VIEWER, by=Actor.person(administrator))
    with pytest.raises(Refused, match="OIDC_ONLY"):
        accounts.make_password_link(viewer, by=SYSTEM)
    token = accounts.make_password_link(administrator, by=SYSTEM)  # what admin_link does
    assert Client().get(reverse("password_by_link", args=[token])).status_code == 200
    settings.OIDC_ONLY = False
    _, token = accounts.invite(Role.VIEWER, by=Actor.person(administrator))
    settings.OIDC_ONLY = True
    assert Client().get(reverse("join", args=[token])).status_code == 410


def test_without_an_issuer_there_is_no_single_sign_on(viewer):
    client = Client()
    assert 'id="sign-on"' not in client.get(reverse("sign_in")).content.decode()
    assert client.get(reverse("oidc"))["Location"] == reverse("sign_in")
    assert client.get(reverse("sign_in_local"))["Location"] == reverse("sign_in")


def test_somebody_who_is_locked_out_by_passwords_can_still_sign_on(provider, viewer, actor):
    sign_on.link_identity(viewer, "9", by=actor)
    for attempt in range(5):
        code = Client().post(reverse("sign_in"), {"username": "vera", "password": f"wrong {attempt}"}).status_code
    assert code == 429
    client = Client()
    provider.sign_on(client, provider.person("9", groups=["ops"]))
    assert signed_in(client) == viewer
