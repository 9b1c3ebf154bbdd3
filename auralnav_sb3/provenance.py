"""Where results come from: every file of results carries the configuration and the versions that made it.

- JSON files have them under ``made_by``: ``{"configuration": {...}, "versions": {...}}``.
- csv files have two more columns, `COLUMNS`, of JSON: ``json.loads(pandas.read_csv(path).versions[0])``.
- Markdown files end in a block of JSON that is folded away.
- Pictures have the same JSON among their metadata: ``PIL.Image.open(path).text["Provenance"]``.

A configuration is what :meth:`auralnav_gym.Suite.describe` says of the world, and how the agent was trained.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from auralnav_gym.config import to_text, versions
from auralnav_gym.files import written_whole

COLUMNS = ("configuration", "versions")

# Beside those that the world is made with: what agents and separators are.
_DISTRIBUTIONS = ("torch", "torchaudio", "stable-baselines3", "sb3-contrib", "asteroid")


@dataclass(frozen=True)
class Provenance:
    """What made a result.

    Attributes:
        configuration: The world and the training, plain data; empty: not known.
        versions: From the name of a distribution to its version; empty: not known.
    """

    configuration: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def now(cls, configuration: Mapping[str, Any]) -> Provenance:
        """What is being made with a configuration, by the versions that are at work."""
        return cls(dict(configuration), versions(*_DISTRIBUTIONS))

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Provenance:
        """Turn what JSON made of a result's provenance back into it; the result holds it under ``made_by``, if any."""
        return cls(**content.get("made_by", {}))

    def with_training(self, settings: Mapping[str, Any]) -> Provenance:
        """The same, of an agent that was trained so."""
        return replace(
            self, configuration={**self.configuration, "training": settings} if settings else self.configuration
        )

    @property
    def cells(self) -> list[str]:
        """The cells of `COLUMNS`; empty where nothing is known."""
        return [json.dumps(part) if part else "" for part in (self.configuration, self.versions)]


def to_json(made_by: Mapping[str, Provenance]) -> str:
    """What made some results, each said once, in JSON that people can read; "" if nothing is known of any.

    Args:
        made_by: By the names of the results.
    """
    names: dict[str, list[str]] = {}
    for name, each in made_by.items():
        if each != Provenance():
            names.setdefault(json.dumps(asdict(each)), []).append(name)
    entries = [{"results": of, **json.loads(content)} for content, of in names.items()]
    return to_text(entries) if entries else ""


def folded(made_by: Mapping[str, Provenance]) -> str:
    """A block of Markdown with what `to_json` says, folded away; "" if that is nothing."""
    text = to_json(made_by)
    if not text:
        return ""
    return f"<details>\n<summary>Configuration and versions</summary>\n\n```json\n{text}\n```\n\n</details>"


def to_metadata(made_by: Mapping[str, Provenance]) -> dict[str, str]:
    """The metadata of a png file (Matplotlib's ``savefig(metadata=)``) with what `to_json` says."""
    text = to_json(made_by)
    return {"Provenance": text} if text else {}


def write_markdown(path: str | os.PathLike[str], text: str, made_by: Mapping[str, Provenance]) -> None:
    """Write a text and, below it, what made it, whole or not at all."""
    with written_whole(path) as unfinished:
        unfinished.write_text("\n\n".join(filter(None, (text, folded(made_by)))) + "\n", encoding="utf-8")
