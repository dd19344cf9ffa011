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
)
