"""The tool's own file: everything that was recorded, as an SQLite database (docs/recording-file.md)."""

from .export import export
from .live import LiveFile
from .opening import is_recording_file
from .reader import load
from .schema import BadRecordingFile
from .selection import EVERYTHING, Selection

__all__ = [
    "EVERYTHING",
    "BadRecordingFile",
    "LiveFile",
    "Selection",
    "export",
    "is_recording_file",
    "load",
]
