"""Addresses of signing in, sessions, people and tokens."""

from django.urls import path

from promptops.people.views import accounts, people, second_step, sessions, sign_on, tokens

urlpatterns = [
    path("sign-in/", accounts.sign_in, name="sign_in"),
    path("sign-in/local/", accounts.sign_in_local, name="sign_in_local"),
    path("sign-in/oidc/", sign_on.start, name="oidc"),
    path("sign-in/oidc/callback/", sign_on.callback, name="oidc_callback"),
    path("sign-in/code/", second_step.code, name="second_step"),
    path("sign-in/second-step/", second_step.setup, name="second_step_setup"),
    path("sign-out/", sign_on.sign_out, name="sign_out"),
    path("setup/<str:token>/", accounts.setup, name="setup"),
    path("join/<str:token>/", accounts.join, name="join"),
    path("password/<str:token>/", accounts.password_by_link, name="password_by_link"),
    path("account/password/", accounts.password_change, name="password"),
    path("account/second-step/", second_step.own, name="second_step_own"),
    path("account/second-step/off/", second_step.turn_off, name="second_step_off"),
    path("account/second-step/codes/", second_step.new_codes, name="second_step_codes"),
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
    path("settings/people/<number:pk>/link/", people.link, name="people_link"),
    path("settings/people/<number:pk>/unlink/", people.unlink, name="people_unlink"),
    path("settings/people/<number:pk>/second-step/", people.second_step_off, name="people_second_step_off"),
    path("settings/people/<number:pk>/password-link/", people.password_link, name="people_password_link"),
]
