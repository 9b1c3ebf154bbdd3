"""Files that are written whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def written_whole(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Hand out a place to write to, and move what was written to ``path`` once all of it is there.

    Whoever reads ``path``, at any time, finds the old file or the new one, never a part; after an error the old one::

        with written_whole("runs/model.zip") as unfinished:
            model.save(unfinished)

    Args:
        path: The file; replaced when there is one. Its folder must exist.

    Yields:
        A path in the same folder, with the same ending.
    """
    path = Path(path)
    unfinished = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        yield unfinished
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)
