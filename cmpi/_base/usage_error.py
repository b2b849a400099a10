"""The errors that this lowest layer raises. Import them from `cmpi.errors`, together with all others."""

from __future__ import annotations


class CmpiError(Exception):
    """Base of all errors of cmpi."""

    __module__ = "cmpi.errors"


class UsageError(CmpiError):
    """The call is wrong, and can never work in this form."""

    __module__ = "cmpi.errors"
