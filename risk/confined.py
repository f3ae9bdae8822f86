"""May a file that a request names be read?

Only a CSV file that lies in one of the data folders: nothing else of this machine can be named.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from risk import artifacts, csvfile
from risk.problems import Refusal

MIB = 1024 * 1024


def read(path: Any, root: Path, folders: Sequence[Path], max_bytes: int) -> bytes:
    """Read a named file of one of `folders`; relative names are taken from `root`.

    The folder is compared as text, before the disk is asked; the file is opened without following a
    link, and must be a regular one.
    """
    if not isinstance(path, str) or not path or "\0" in path or not csvfile.is_encodable(path):
        raise Refusal(400, "filepath must be the name of a file")
    named = Path(os.path.normpath(root / path))
    if named.parent not in folders or not artifacts.is_input_name(named.name):
        shown = " or ".join(dict.fromkeys(folder.name for folder in folders))
        raise Refusal(403, f"filepath must name a CSV file in {shown}")
    try:
        with csvfile.open_regular(named) as handle:
            data = handle.read(max_bytes + 1)
    except FileNotFoundError as error:
        raise Refusal(404, "filepath: there is no such file") from error
    except OSError as error:
        raise Refusal(403, "filepath: not a regular file that may be read") from error
    if len(data) > max_bytes:
        raise Refusal(413, f"the file is over {max_bytes // MIB} MiB")
    return data
