"""The errors that the ground floor raises itself. Import them from `cmpi.errors`, where all others are."""

from __future__ import annotations


class CmpiError(Exception):
    """Base of all errors of cmpi."""

    __module__ = "cmpi.errors"


class UsageError(CmpiError):
    """A call that can never work as it stands."""

    __module__ = "cmpi.errors"
