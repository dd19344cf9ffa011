"""The permission table: the one place that says which role may do what. Views and sockets ask `allows`."""

from promptops.people.enums import Permission, Role

TABLE: dict[Role, frozenset[Permission]] = {
    Role.VIEWER: frozenset({Permission.READ}),
    Role.EDITOR: frozenset({Permission.READ, Permission.EDIT}),
    Role.RELEASER: frozenset({Permission.READ, Permission.EDIT, Permission.RELEASE}),
    Role.ADMINISTRATOR: frozenset(Permission),
}


def allows(role: str, permission: Permission) -> bool:
    """Return whether `role` has `permission`. An unknown role has none."""
    return permission in TABLE.get(role, frozenset())  # type: ignore[call-overload]


def roles_with(permission: Permission) -> list[Role]:
    """Return the roles that have `permission`, weakest first."""
    return [role for role in Role if permission in TABLE[role]]
