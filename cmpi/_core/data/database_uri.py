"""The address of a database, whose password is never shown."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import unquote

from cmpi.errors import UsageError

SHAPE = re.compile(r"(postgres(?:ql)?://)(?:([^/?#]*)@)?([^/?#]*)(.*)", re.DOTALL)
SECRET_OPTION = re.compile(r"(?<=[?&])([^=&]*password=)([^&]*)", re.IGNORECASE)


class DatabaseUri:
    """An address as libpq accepts it. As text it has `***` in place of passwords.

    Args:
        text: `postgresql://user:password@host:port/database?option=value`; each part may be missing.

    Raises:
        UsageError: It has another form. The message does not repeat it, because it may contain a password.

    Source: PostgreSQL documentation, "Connection URIs".

    >>> DatabaseUri("postgresql://ada:secret@db.lab/results?sslpassword=other")
    postgresql://ada:***@db.lab/results?sslpassword=***
    """

    def __init__(self, text: str) -> None:
        shape = SHAPE.fullmatch(text) if isinstance(text, str) else None
        if shape is None:
            raise UsageError(
                "uri must be postgresql://user:password@host:port/database; found another form"
            )
        self.with_secrets = text
        start, user, host, rest = shape.groups()
        path = rest.partition("?")[0]
        # libpq would take a part of such a password for a host, and show it in its message.
        if any("@" in part for part in (user or "", host, path)):
            raise UsageError(
                "a user name or password in the uri contains @ or /; encode it: urllib.parse.quote(it, '')"
            )
        name, colon, password = (user or "").partition(":")
        options = [value for _, value in SECRET_OPTION.findall(rest)]
        self._secrets = {each for raw in (password, *options) for each in (raw, unquote(raw)) if each}
        shown = "" if user is None else f"{name}{':***' if colon else ''}@"
        self._shown = start + shown + host + SECRET_OPTION.sub(r"\1***", rest)

    def hide(self, message: str) -> str:
        """The message without the passwords."""
        message = message.replace(self.with_secrets, self._shown)
        for secret in sorted(self._secrets, key=len, reverse=True):
            message = message.replace(secret, "***")
        return message

    def __repr__(self) -> str:
        return self._shown

    def __eq__(self, other: object) -> bool:
        return isinstance(other, DatabaseUri) and other.with_secrets == self.with_secrets

    def __hash__(self) -> int:
        return hash(self.with_secrets)

    def __reduce__(self) -> Any:
        return DatabaseUri, (self.with_secrets,)
