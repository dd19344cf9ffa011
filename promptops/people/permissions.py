"""The permission table: the one place that says which role may do what. Views and consumers ask `allows`."""

from promptops.people.enums import Permission, Role

TABLE: dict[Role, frozenset[Permission]] = {
    Role.VIEWER: frozenset({Permission.READ}),
    Role.EDITOR: frozenset({Permission.READ, Permission.EDIT}),
    Role.RELEASER: frozenset({Permission.READ, Permission.EDIT, Permission.RELEASE}),
    Role.ADMINISTRATOR: frozenset(Permission),
}


def allows(role: str, permission: Permission) -> bool:
    """Whether `role` has `permission`; an unknown role has none."""
    return permission in TABLE.get(role, frozenset())  # type: ignore[call-overload]


def roles_with(permission: Permission) -> list[Role]:
    """The roles that have `permission`, weakest first (for sentences such as "ask a releaser")."""
    return [role for role in Role if permission in TABLE[role]]
