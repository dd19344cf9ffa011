"""The audited actions of people: accounts, one-time links, sign-ins and sessions. Their verbs are in `actions`."""

from promptops.ledger import registry
from promptops.ledger.registry import Action

registry.noun("user", "People")
registry.object_kind("user", "Person")
registry.object_kind("onetimelink", "One-time link")
registry.register(
    Action(
        "user.created",
        "{actor} joined as {after[role]}",
        when="somebody used an invitation or the set-up link",
        object="user",
    ),
    Action(
        "user.administrator_made",
        "{actor} created the administrator {object} from the environment",
        when="a start created the first administrator from `ADMIN_NAME`",
        object="user",
    ),
    Action(
        "user.signed_on_first",
        "{actor} joined as {after[role]} by single sign-on",
        when="somebody without an account signed in by single sign-on and got one",
        object="user",
    ),
    Action(
        "user.invited",
        "{actor} made a one-time link for a new {after[role]}",
        when="an administrator made a one-time link",
        object="onetimelink",
    ),
    Action(
        "user.invitation_withdrawn",
        "{actor} withdrew a one-time link for a new {before[role]}",
        when="a one-time link for a new person was withdrawn",
        object="onetimelink",
    ),
    Action(
        "user.role_changed",
        "{actor} changed {object} from {before[role]} to {after[role]}",
        when="the role of a person changed",
        object="user",
    ),
    Action(
        "user.role_followed_groups",
        "Groups at the identity provider changed {object} from {before[role]} to {after[role]}",
        when="somebody signed in by single sign-on, and their groups have another role than before",
        object="user",
    ),
    Action(
        "user.identity_linked",
        "{actor} linked {object} to an account at the identity provider",
        when="an administrator linked a person to an account at the identity provider",
        object="user",
    ),
    Action(
        "user.identity_unlinked",
        "{actor} removed the link of {object} to the identity provider",
        when="an administrator removed such a link; the person's sessions ended",
        object="user",
    ),
    Action(
        "user.second_step_on",
        "{actor} turned on the second step of signing in",
        when="somebody turned on the second step of signing in",
        object="user",
    ),
    Action(
        "user.second_step_off",
        "{actor} turned off the second step of {object}",
        when="somebody turned off their own second step, an administrator that of a person, or `admin_link` did",
        object="user",
    ),
    Action(
        "user.recovery_codes_made",
        "{actor} made new recovery codes",
        when="somebody made new recovery codes; the old ones stopped working",
        object="user",
    ),
    Action(
        "user.recovery_code_used",
        "{actor} signed in with a recovery code; {after[left]} are left",
        when="somebody used a recovery code in place of a code of the app",
        object="user",
    ),
    Action(
        "user.deactivated",
        "{actor} deactivated {object}",
        when="a person was deactivated and can no longer sign in",
        object="user",
    ),
    Action(
        "user.reactivated", "{actor} reactivated {object}", when="a deactivated person was reactivated", object="user"
    ),
    Action(
        "user.password_link_made",
        "{actor} made a one-time link for {object} to set a new password",
        when="a one-time link to set a new password was made",
        object="user",
    ),
    Action("user.password_changed", "{actor} set a new password", when="somebody set a new password", object="user"),
    Action("user.signed_in", "{actor} signed in", when="somebody signed in", object="user", is_change=False),
    Action(
        "user.signed_on",
        "{actor} signed in by single sign-on",
        when="somebody signed in by single sign-on",
        object="user",
        is_change=False,
    ),
    Action("user.signed_out", "{actor} signed out", when="somebody signed out", object="user", is_change=False),
    Action(
        "user.session_ended",
        "{actor} ended a session of {object} ({before[browser]}, {before[address]})",
        when="somebody ended a session of their own or, as an administrator, of another person",
        object="user",
    ),
    Action(
        "user.sign_in_failed",
        "Somebody failed to sign in as {object}",
        when="a sign-in failed",
        object="user",
        is_change=False,
    ),
    Action(
        "user.locked_out",
        "Sign-in as {object} was locked after too many failures",
        when="sign-in was locked after five failures for a name from one address, for 15 minutes",
        object="user",
        is_change=False,
    ),
    Action(
        "user.sign_on_refused",
        "Somebody was refused at single sign-on as {object}: {after[reason]}",
        when="single sign-on was refused: no group with a role, a taken name, a deactivated person, or a wrong token",
        object="user",
        is_change=False,
    ),
    Action(
        "user.code_refused",
        "Somebody typed a wrong one-time code for {object}",
        when="a one-time code or recovery code was wrong; after five in 15 minutes none is tried",
        object="user",
        is_change=False,
    ),
)
