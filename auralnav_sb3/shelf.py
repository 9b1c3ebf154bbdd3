"""Where what is trained already lies: small folders inside the package, by name, or anyone's own.

Each holds three files: ``weights.safetensors``, what the networks weigh; a JSON file, what they are; and ``README.md``,
the card: what they were trained on, how, and what they reach. None of them can hold code. The JSON file says what made
them, too (``made_by``, see `auralnav_sb3.provenance`).
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from auralnav_gym.files import written_whole
from auralnav_sb3.provenance import Provenance

WEIGHTS, CARD = "weights.safetensors", "README.md"
_MADE_BY = "made_by"


@dataclass(frozen=True)
class Shelf:
    """Trained things of one kind.

    Attributes:
        kind: "agent" or "separator"; the settings are in ``agent.json`` or ``separator.json``.
        folder: Where those that are shipped lie, each in a folder of its name.
    """

    kind: str
    folder: Path

    @property
    def settings_file(self) -> str:
        """The name of the JSON file."""
        return f"{self.kind}.json"

    def names(self) -> tuple[str, ...]:
        """Those that are shipped."""
        return tuple(sorted(path.parent.name for path in self.folder.glob(f"*/{self.settings_file}")))

    def find(self, name_or_folder: str | os.PathLike[str]) -> Path | None:
        """The folder of one that is shipped, or of one's own; None if there is none."""
        for folder in (self.folder / name_or_folder, Path(name_or_folder)):
            if (folder / self.settings_file).is_file():
                return folder
        return None

    def get(self, name_or_folder: str | os.PathLike[str]) -> Path:
        """As `find`.

        Raises:
            ValueError: There is none.
        """
        folder = self.find(name_or_folder)
        if folder is None:
            raise ValueError(
                f"name_or_folder: expected one of {list(self.names())} or a folder that save_{self.kind} wrote, "
                f"actual {os.fspath(name_or_folder)!r}"
            )
        return folder

    def card(self, name_or_folder: str | os.PathLike[str]) -> str:
        """The card: Markdown.

        Raises:
            ValueError: There is none of that name.
        """
        return (self.get(name_or_folder) / CARD).read_text(encoding="utf-8")

    def made_by(self, name_or_folder: str | os.PathLike[str]) -> Provenance:
        """What made one; nothing is known of those that were made before that was written down.

        Raises:
            ValueError: There is none of that name, or a file is corrupt.
        """
        return Provenance.from_json(self._content(self.get(name_or_folder)))

    def _content(self, folder: Path) -> dict[str, Any]:
        path = folder / self.settings_file
        try:
            return json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(f"{path}: expected JSON, actual {error}") from error

    def read(self, name_or_folder: str | os.PathLike[str]) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """Read settings and weights; whatever is in the files, nothing of it runs.

        Raises:
            FileNotFoundError: The weights are not there.
            ValueError: There is none of that name, or a file is corrupt.
        """
        folder = self.get(name_or_folder)
        settings = {key: value for key, value in self._content(folder).items() if key != _MADE_BY}
        path = folder / WEIGHTS
        try:
            return settings, load_file(path)
        except SafetensorError as error:
            raise ValueError(f"{path}: expected weights in the safetensors format, actual {error}") from error

    def write(
        self,
        folder: str | os.PathLike[str],
        settings: Mapping[str, Any],
        weights: Mapping[str, Tensor],
        card: str,
        made_by: Provenance | None = None,
    ) -> None:
        """Write the three files, each whole or not at all.

        Args:
            folder: Made if it is not there.
            settings: Plain JSON.
            weights: By name; no two may share memory.
            card: Markdown.
            made_by: What made it; None: the versions that are at work.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        with written_whole(folder / WEIGHTS) as path:
            save_file({name: weight.cpu().contiguous() for name, weight in weights.items()}, path)
        with written_whole(folder / self.settings_file) as path:
            content = {**settings, _MADE_BY: asdict(Provenance.now({}) if made_by is None else made_by)}
            path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        with written_whole(folder / CARD) as path:
            path.write_text(card, encoding="utf-8")
