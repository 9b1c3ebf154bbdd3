"""What people reached in the episodes that they played, and agents in the same ones: a csv file, and tables from it.

In the order of use::

    log = PlayLog("runs/play/episodes.csv", load_suite("two-sources-v1"))
    (index,) = log.next_episodes("Ann", 1)
    ...  # Ann plays it: a Recording
    log.add(recording, index, "Ann", BY_EAR)
    print(log.to_markdown("Ann"))
"""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass, fields
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np

from auralnav_gym.config import to_plain, versions
from auralnav_gym.files import written_whole
from auralnav_gym.recording import Recording
from auralnav_gym.suites import Suite
from auralnav_gym.tables import markdown_table

BY_EAR, WITH_MAP, AGENT = "by ear", "with the map", "agent"
"""How an episode was played: by a person whom the map was hidden from to the end, or not; or by an agent."""

# How the cells of a column are read, by the type of the field, and what is expected there.
_KINDS: dict[str, tuple[Callable[[str], Any], str]] = {
    "int": (int, "a whole number"),
    "float": (float, "a number"),
    "str": (str, "a text"),
}

# The columns of tables: what is averaged, and to how many decimals.
_METRICS = {
    "success": ("success", 2),
    "found": ("found", 2),
    "SPL": ("spl", 2),
    "SNA": ("sna", 2),
    "actions": ("steps", 0),
    "metres": ("path_length", 1),
    "return": ("episode_return", 2),
}


@dataclass(frozen=True)
class PlayedEpisode:
    """What one episode came to: a row of the file.

    Attributes:
        suite: The name of the suite.
        episode: Its index in the suite.
        seed: What it was reset with.
        player: The name of the person or of the agent.
        how: `BY_EAR`, `WITH_MAP` or `AGENT`.
        attempt: 1 when the player plays it for the first time. At the end of an episode the map is shown, so that the
            later ones are no longer by ear alone; tables leave them out.
        success: 1.0 if every target was found, else 0.0.
        found: Share of the targets that was found, in [0, 1].
        spl: Success weighted by path length, in [0, 1].
        sna: Success weighted by number of actions, in [0, 1].
        steps: Actions taken.
        path_length: Metres walked.
        episode_return: Sum of the rewards, not discounted.
        date: When it was played, UTC, as ISO 8601 has it.
        configuration: What :meth:`Suite.describe` says of the world that was played in, as JSON.
        versions: Those at work, as JSON.
    """

    suite: str
    episode: int
    seed: int
    player: str
    how: str
    attempt: int
    success: float
    found: float
    spl: float
    sna: float
    steps: int
    path_length: float
    episode_return: float
    date: str
    configuration: str
    versions: str

    @classmethod
    def from_row(cls, row: Mapping[str, str]) -> PlayedEpisode:
        """Turn a row of the file back into what it was made of.

        Raises:
            ValueError: A cell holds no number where one is expected.
        """
        values: dict[str, Any] = {}
        for field in fields(cls):
            read, words = _KINDS[str(field.type)]
            try:
                values[field.name] = read(row[field.name])
            except ValueError as error:
                raise ValueError(f"{field.name}: expected {words}, actual: {row[field.name]!r}") from error
        return cls(**values)


COLUMNS = tuple(field.name for field in fields(PlayedEpisode))


def mean_in_words(values: np.ndarray, digits: int) -> str:
    """The mean of values (n,), to so many decimals."""
    return f"{values.mean():.{digits}f}"


class PlayLog:
    """The episodes of a suite that people and agents played, in a file that grows.

    Args:
        path: The csv file; it and its folder are made when the first episode is added.
        suite: The suite. The file may hold episodes of others.
        made_with: From the name of a distribution to its version; None: :func:`auralnav_gym.versions`.

    Raises:
        ValueError: There is a file, and it is another one.
    """

    def __init__(self, path: str | os.PathLike[str], suite: Suite, made_with: Mapping[str, str] | None = None) -> None:
        self.path, self.suite = Path(path), suite
        self._versions = json.dumps(dict(versions() if made_with is None else made_with))
        self.read()

    def read(self) -> tuple[PlayedEpisode, ...]:
        """All episodes in the file, those of other suites too, in the order in which they were added.

        Raises:
            ValueError: It is another file.
        """
        if not self.path.exists():
            return ()
        with self.path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            if tuple(reader.fieldnames or ()) != COLUMNS:
                raise ValueError(
                    f"{self.path}: expected the columns {', '.join(COLUMNS)}, actual: "
                    f"{', '.join(reader.fieldnames or ()) or 'none'}. Choose another file for the record."
                )
            episodes = []
            for row in reader:
                if None in row.values() or None in row:
                    raise ValueError(f"{self.path}, line {reader.line_num}: expected {len(COLUMNS)} cells")
                try:
                    episodes.append(PlayedEpisode.from_row(row))
                except ValueError as error:
                    raise ValueError(f"{self.path}, line {reader.line_num}: {error}") from error
        return tuple(episodes)

    def add(self, recording: Recording, index: int, player: str, how: str) -> PlayedEpisode:
        """Add an episode to the file, or leave it as it is should anything go wrong.

        An agent plays an episode once: when the file has that already, nothing is added.

        Args:
            recording: The episode, to its end.
            index: Which episode of the suite it is.
            player: The name of the person or the agent.
            how: `BY_EAR`, `WITH_MAP` or `AGENT`.

        Returns:
            The episode as the file has it.

        Raises:
            ValueError: It is not that episode, it was left before its end, or ``how`` is none of the three.
        """
        if how not in (BY_EAR, WITH_MAP, AGENT):
            raise ValueError(f"how: expected one of {[BY_EAR, WITH_MAP, AGENT]}, actual: {how!r}")
        seed = self.suite.seeds[index]
        if recording.seed != seed:
            raise ValueError(
                f"recording: expected episode {index} of {self.suite.name!r}, seed {seed}, actual: {recording.seed}"
            )
        if not (recording.terminated or recording.truncated):
            raise ValueError("recording: expected an episode to its end, actual: one that was left before")
        before, is_agent = self.read(), how == AGENT
        same_player = ((self.suite.name, index), player, is_agent)
        earlier = [e for e in before if ((e.suite, e.episode), e.player, e.how == AGENT) == same_player]
        if is_agent and earlier:
            return earlier[0]
        info = recording.info
        episode = PlayedEpisode(
            suite=self.suite.name,
            episode=index,
            seed=seed,
            player=player,
            how=how,
            attempt=len(earlier) + 1,
            success=float(info["is_success"]),
            found=info["num_found"] / info["num_sources"],
            spl=float(info["spl"]),
            sna=float(info["sna"]),
            steps=int(info["num_actions"]),
            path_length=float(info["path_length"]),
            episode_return=float(recording.rewards.sum()),
            date=datetime.now(timezone.utc).isoformat(timespec="seconds"),
            configuration=json.dumps({**self.suite.describe(), "world": to_plain(recording.world, strict=False)}),
            versions=self._versions,
        )
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with written_whole(self.path) as unfinished, unfinished.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, COLUMNS)
            writer.writeheader()
            writer.writerows(asdict(each) for each in (*before, episode))
        return episode

    def next_episodes(self, player: str, count: int) -> list[int]:
        """The indices of the first episodes of the suite that a person has not played, by ear or with the map.

        Args:
            player: The name of the person.
            count: How many; fewer if the suite has no more.
        """
        played = {each.episode for each in self._of_people(player)}
        return [index for index in range(len(self.suite)) if index not in played][:count]

    def missing(self, player: str, agents: Collection[str]) -> list[tuple[str, int]]:
        """What a table of a person's episodes lacks: names of agents, and episodes that these have not played."""
        there = {(each.player, each.episode) for each in self._of_suite() if each.how == AGENT}
        indices = dict.fromkeys(each.episode for each in self._of_people(player))
        return [(agent, index) for agent in agents for index in indices if (agent, index) not in there]

    def to_markdown(
        self, player: str, agents: Collection[str] = (), summarize: Callable[[np.ndarray, int], str] = mean_in_words
    ) -> str:
        """Tables of what a person reached and, below, what agents reached in the very same episodes.

        One of the episodes that were played by ear, one of those with the map, as far as there are any. Of what was
        played more than once the first time counts.

        Args:
            player: The name of the person.
            agents: Which agents; those of whom an episode is missing are left out.
            summarize: What a cell says of the values of a metric, (n,) float64, to how many decimals.
        """
        firsts = [each for each in self._of_suite() if each.attempt == 1]
        tables = []
        for how in (BY_EAR, WITH_MAP):
            own = [each for each in firsts if each.player == player and each.how == how]
            indices = {each.episode for each in own}
            groups = {f"{player}, {how}": own}
            for agent in agents:
                theirs = [each for each in firsts if (each.player, each.how) == (agent, AGENT)]
                groups[agent] = [each for each in theirs if each.episode in indices]
            rows = [
                [
                    name,
                    self.suite.name,
                    str(len(group)),
                    *(
                        summarize(np.array([getattr(each, metric) for each in group], dtype=np.float64), digits)
                        for metric, digits in _METRICS.values()
                    ),
                ]
                for name, group in groups.items()
                if len(group) == len(indices) > 0
            ]
            if rows:
                tables.append(markdown_table(["player", "suite", "episodes", *_METRICS], rows))
        return "\n\n".join(tables)

    def _of_suite(self) -> list[PlayedEpisode]:
        return [each for each in self.read() if each.suite == self.suite.name]

    def _of_people(self, player: str) -> list[PlayedEpisode]:
        return [each for each in self._of_suite() if each.player == player and each.how != AGENT]
