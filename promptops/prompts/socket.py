"""Presence over the socket: other people see who has an editor open, until its page closes."""

import logging
import re
from typing import Any

from channels.db import database_sync_to_async
from django.db import Error

from promptops.people.models import User
from promptops.platform import outages
from promptops.prompts.actions import presence
from promptops.prompts.models import Template
from promptops.web.socket import PagePart

log = logging.getLogger(__name__)

PAGE_NAME = re.compile(r"[0-9a-f]{1,64}")


class PagePresence(PagePart):
    """The template whose editor an open page shows."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.template = ""
        self.key = ""

    async def arrive(self, user: User, data: dict[str, Any]) -> None:
        """Register the page as an editor of the template that it names, if there is such a template."""
        name = data.get("template")
        if name == self.template or not isinstance(name, str):
            return
        template = await Template.objects.filter(name=name).afirst()
        if template is not None:
            self.template, connection = name, self.page.channel_name
            # The page names itself, so that it is the same page after a reconnect, also to another process.
            page = data.get("page")
            is_named = isinstance(page, str) and PAGE_NAME.fullmatch(page)
            self.key = f"{user.pk}:{page}" if is_named else connection
            await database_sync_to_async(presence.arrive)(template, user=user, channel=self.key, connection=connection)

    async def close(self) -> None:
        """Remove the page from the template's presence."""
        if not self.template:
            return
        try:
            await database_sync_to_async(presence.leave)(self.key, connection=self.page.channel_name)
        except Error as error:  # the heartbeat removes it later
            if outages.kind(error) is None:
                raise
            log.warning("The database could not record that an editor was closed.", exc_info=error)
