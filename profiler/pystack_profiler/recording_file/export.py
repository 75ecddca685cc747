"""A recording that is in memory as a recording file, for pipes and for parts of other files."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import tempfile
from pathlib import Path
from typing import BinaryIO

from ..profile import Profile, Recording
from ..track import Track
from ..view import DEFAULT_VIEW, View
from .batches import batch_of
from .schema import create
from .writer import RecordingWriter


def export(recording: Recording, stream: BinaryIO, view: View = DEFAULT_VIEW) -> None:
    """Writes all of the recording: a view is chosen when the file is read."""
    with tempfile.TemporaryDirectory(prefix="pystack-") as folder:
        path = Path(folder, "recording")
        connection = sqlite3.connect(path, isolation_level=None)
        with contextlib.closing(connection):
            connection.execute("PRAGMA synchronous = OFF")  # nobody looks for a temporary file
            create(connection)
            writer = RecordingWriter(connection, recording.began_ns or recording.start_ns)
            for profile in recording.profiles:
                writer.append(profile, batch_of(profile))
            writer.finish(recording, _positions)
        with open(path, "rb") as file:
            shutil.copyfileobj(file, stream)


def _positions(profile: Profile) -> dict[Track, int]:
    return {track: number for number, track in enumerate(profile.all_tracks)}
