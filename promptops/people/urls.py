"""Addresses of signing in, sessions, people and tokens."""

from django.urls import path

from promptops.people.views import accounts, people, sessions, tokens

urlpatterns = [
    path("sign-in/", accounts.sign_in, name="sign_in"),
    path("sign-out/", accounts.sign_out, name="sign_out"),
    path("setup/<str:token>/", accounts.setup, name="setup"),
    path("join/<str:token>/", accounts.join, name="join"),
    path("password/<str:token>/", accounts.password_by_link, name="password_by_link"),
    path("account/password/", accounts.password_change, name="password"),
    path("account/sessions/", sessions.own, name="sessions"),
    path("account/sessions/end/", sessions.end_others, name="sessions_end"),
    path("account/sessions/<number:session>/end/", sessions.end_own, name="session_end"),
    path("settings/tokens/", tokens.index, name="tokens"),
    path("settings/tokens/make/", tokens.make, name="token_make"),
    path("settings/tokens/<number:pk>/rotate/", tokens.rotate, name="token_rotate"),
    path("settings/tokens/<number:pk>/revoke/", tokens.revoke, name="token_revoke"),
    path("settings/people/", people.index, name="people"),
    path("settings/people/invite/", people.invite, name="people_invite"),
    path("settings/people/links/<number:pk>/withdraw/", people.withdraw, name="people_withdraw"),
    path("settings/people/<number:pk>/role/", people.role, name="people_role"),
    path("settings/people/<number:pk>/active/", people.active, name="people_active"),
    path("settings/people/<number:pk>/sessions/", sessions.of_person, name="people_sessions"),
    path("settings/people/<number:pk>/sessions/end/", sessions.end_all_of_person, name="people_sessions_end"),
    path(
        "settings/people/<number:pk>/sessions/<number:session>/end/",
        sessions.end_of_person,
        name="people_session_end",
    ),
    path("settings/people/<number:pk>/password-link/", people.password_link, name="people_password_link"),
]
