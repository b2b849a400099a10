"""The code of a keeper: a process that serves the files of a folder on its host to the tasks of a job."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from cmpi._runtime.linux.own_file import open_own
from cmpi.channels.call import Call
from cmpi.channels.mailbox import Mailbox
from cmpi.channels.sender import Sender
from cmpi.data.execution.places import host_here
from cmpi.data.execution.spill_folder import SpillFolder
from cmpi.errors import ChannelClosed
from cmpi.identifiers import Pid
from cmpi.processes.when_ended import when_ended

OPEN_FILES = 64  # that a keeper keeps open


def keep(owner: Pid, channel: str, parent: str, folder: str) -> None:
    """Serve a folder until the owner says that it needs no more of it, or ends.

    Args:
        owner: The process that runs the stream. It is told the host and the folder.
        channel: The name of the channel for that.
        parent: Where to create the folder, which is removed at the end.
        folder: The owner's folder on this host, if there is one: it is served and stays.
    """
    own = None if folder else SpillFolder(parent)
    last: Call | None = None
    try:
        with Mailbox[Call]() as box:
            when_ended(owner, box.close, "cmpi-data-owner")
            path = folder or own.path if own is not None else folder
            with Sender[Any](owner, name=channel) as answer:
                answer.send((host_here(), path))
            last = _serve(box, path)
            if own is not None:
                own.close()
            if last is not None:
                last.reply()
    except KeyboardInterrupt:  # the owner is interrupted, too, and reports it
        pass
    finally:
        if own is not None:
            own.close()


def _serve(box: Mailbox[Call], folder: str) -> Call | None:
    """Answer requests: lists of (name of a file, offset, bytes), or None, which is returned and ends
    this."""
    files: dict[str, Any] = {}
    try:
        while True:
            call = box.recv()
            if call.request is None:
                return call
            try:
                call.reply([_part(files, folder, *each) for each in call.request])
            except OSError as error:
                call.fail(error)
    except ChannelClosed:
        return None
    finally:
        for file in files.values():
            file.close()


def _part(files: dict[str, Any], folder: str, name: str, offset: int, nbytes: int) -> Any:
    file = files.pop(name, None)
    if file is None:
        if len(files) >= OPEN_FILES:
            files.pop(next(iter(files))).close()
        file = open_own(os.path.join(folder, os.path.basename(name)))
    files[name] = file  # the one used last comes last
    file.seek(offset)
    return np.frombuffer(file.read(nbytes), np.uint8)
