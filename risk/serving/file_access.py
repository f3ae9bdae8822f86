"""Access to files that a request names.

Only a CSV file that lies in one of the data folders: nothing else of this machine can be named.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from risk.data import csv_check, inputs
from risk.serving.problems import Refusal

MIB = 1024 * 1024
_ALONG = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class DataFiles:
    """The folders whose files may be named, where they really lie when the server begins.

    A link that the operator made then is followed once, here; one that takes the place of a folder or a
    file later is followed by nobody, however quickly it is swapped.
    """

    def __init__(self, root: Path, folders: Sequence[Path], max_bytes: int) -> None:
        self._root = root
        self._real = {folder: Path(os.path.realpath(folder)) for folder in folders}
        self._max_bytes = max_bytes

    def read(self, path: Any) -> bytes:
        """Read a named file; relative names are taken from the folder of config.json.

        The folder is compared as text, before the disk is asked.
        """
        if not isinstance(path, str) or not path or "\0" in path or not csv_check.is_encodable(path):
            raise Refusal(400, "filepath must be the name of a file")
        named = Path(os.path.normpath(self._root / path))
        if named.parent not in self._real or not inputs.is_input_name(named.name):
            shown = " or ".join(dict.fromkeys(folder.name for folder in self._real))
            raise Refusal(403, f"filepath must name a CSV file in {shown}")
        try:
            data = _read_beneath(self._real[named.parent], named.name, self._max_bytes + 1)
        except FileNotFoundError as error:
            raise Refusal(404, "filepath: there is no such file") from error
        except OSError as error:
            raise Refusal(403, "filepath: not a regular file that may be read") from error
        if len(data) > self._max_bytes:
            raise Refusal(413, f"the file is over {self._max_bytes // MIB} MiB")
        return data


def _read_beneath(folder: Path, name: str, max_bytes: int) -> bytes:
    """Read a regular file, every part of its path opened without following a link."""
    handle = os.open("/", _ALONG)
    try:
        for part in folder.parts[1:]:
            below = os.open(part, _ALONG, dir_fd=handle)
            os.close(handle)
            handle = below
        with csv_check.open_regular(Path(name), dir_fd=handle) as file:
            return file.read(max_bytes)
    finally:
        os.close(handle)
