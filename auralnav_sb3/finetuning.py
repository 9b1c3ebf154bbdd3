"""Does it help to train a separator on through the TD loss? Agents that go on with and without its gradients.

In the order of use::

    settings = Finetuning(steps=2_000)
    runs = finetune_all(recipe, range(3), "runs/recipe", settings, test_sounds, ("speech",), "runs/finetune")
    to_csv(runs, "runs/finetune/results.csv")
    print(to_markdown(runs))

The three `WAYS` begin with the same agent, trained on the cues of a separator that was trained before. "frozen
separator" and "end to end" differ in nothing but whether gradients reach the separator: the first acts and learns on
cues, each separated once, the second on what the ears hear; with a separator that does not move the two learn the same
but for rounding (of the replay buffer to 16 bits, and half precision where a frozen separator takes it).
"""

from __future__ import annotations

import csv
import json
import math
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from sb3_contrib import QRDQN
from stable_baselines3 import DQN
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.type_aliases import TrainFreq, TrainFrequencyUnit
from stable_baselines3.common.utils import ConstantSchedule
from stable_baselines3.common.vec_env import unwrap_vec_wrapper

from auralnav_gym.files import written_whole
from auralnav_gym.sounds import SoundBank
from auralnav_sb3.callbacks import ProgressCallback
from auralnav_sb3.conversion import to_audio, to_cues
from auralnav_sb3.evaluation import METRICS, Evaluation, evaluate, wrap_like
from auralnav_sb3.experiments import run_all, run_in_processes
from auralnav_sb3.pretraining import Mixtures, Windows, evaluate_separator
from auralnav_sb3.provenance import COLUMNS, Provenance
from auralnav_sb3.separation import Separator
from auralnav_sb3.statistics import bootstrap_grid
from auralnav_sb3.training import Recipe, check_settings, train
from auralnav_sb3.vec_separated_cues import VecSeparatedCues

NOT_AT_ALL, FROZEN, END_TO_END = WAYS = ("not at all", "frozen separator", "end to end")
# Of the scenes in which separators are measured: none that anyone would train one with.
SCENES_SEED = 1_000_000

Model = TypeVar("Model", bound=BaseAlgorithm)


@dataclass(frozen=True)
class Finetuning:
    """How an agent goes on; the same for all ways.

    Attributes:
        steps: Environment steps, all environments together, in which it learns.
        warmup: Environment steps before those, in which it fills its replay buffer with its own play.
        batch_size: Transitions in an update. End to end an update separates twice as many observations, each of as many
            frames as the agent remembers, and back-propagates through half of them.
        gradient_steps: Updates each time that all environments have made a step.
        learning_rate: Of the policy, constant.
        separator_lr_scale: Learning rate of a separator that learns over that of the policy (`SeparatorAdam`).
        exploration_rate: Share of random actions, in the warm-up too; constant.

    Raises:
        ValueError: One of them is out of range.
    """

    steps: int = 2_000
    warmup: int = 1_000
    batch_size: int = 32
    gradient_steps: int = 1
    learning_rate: float = 1e-4
    separator_lr_scale: float = 0.1
    exploration_rate: float = 0.01

    def __post_init__(self) -> None:
        """Refuse what could only fail later."""
        for name in ("steps", "warmup", "batch_size", "gradient_steps"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: expected at least 1, actual {getattr(self, name)!r}")
        for name in ("learning_rate", "separator_lr_scale"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name}: expected a number above 0, actual {getattr(self, name)!r}")
        if not 0 <= self.exploration_rate <= 1:
            raise ValueError(f"exploration_rate: expected 0 to 1, actual {self.exploration_rate!r}")


@dataclass(frozen=True)
class SceneScores:
    """What `evaluate_separator` says of a separator scene by scene.

    Of each a number a scene, of those scenes that have any, which are the same for every separator.

    Attributes:
        si_sdr: Mean over the windows in which every slot has a source, dB.
        si_sdr_improvement: The same over the mixture, dB.
        empty_db: Mean level of what was put into empty slots, relative to the mixture, dB.
    """

    si_sdr: tuple[float, ...]
    si_sdr_improvement: tuple[float, ...]
    empty_db: tuple[float, ...]


@dataclass(frozen=True)
class FinetuningRun:
    """One agent after one way, and its separator before and after.

    Attributes:
        way: One of `WAYS`.
        seed: Of the agent.
        evaluation: Of the agent, after.
        before: Of its separator.
        after: Of its separator, in the same scenes.
        seconds: Wall time of the way, the warm-up included.
        settings: Of the training before, of the way, and of the scenes in which separators are measured.
    """

    way: str
    seed: int
    evaluation: Evaluation
    before: SceneScores
    after: SceneScores
    seconds: float
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def made_by(self) -> Provenance:
        """The world of the evaluation, the settings and the versions."""
        return self.evaluation.made_by.with_training(self.settings)


# ---- Learning --------------------------------------------------------------------------------------------------------


def finetune(model: Model, way: str, settings: Finetuning, seed: int = 0, progress: bool = False) -> Model:
    """Let an agent that was trained on cues go on in one of the ways.

    Its replay buffer begins empty, and is filled with its own play before it learns. A bound on the norm of gradients
    is lifted, for it would make those of the policy the smaller the larger those of a separator are.

    Args:
        model: DQN or QRDQN, in an environment that `to_audio` accepts. It stays as it is; its environment is that of
            the new model, too.
        way: One of `WAYS`.
        settings: How.
        seed: Of the scenes, the exploration and the batches.
        progress: Print how far it is every ten seconds.

    Returns:
        A model on cues, as before: its separator, frozen now, is in its environment (`to_audio` makes of it one that
        acts on what the ears hear). For `NOT_AT_ALL` the model itself.

    Raises:
        TypeError: Another algorithm.
        ValueError: An unknown way; or as `to_audio`.
    """
    if way not in WAYS:
        raise ValueError(f"way: expected one of {list(WAYS)}, actual {way!r}")
    if not isinstance(model, DQN | QRDQN):
        raise TypeError(f"model: expected DQN or QRDQN, whose loss is TD, actual {type(model).__name__}")
    if way == NOT_AT_ALL:
        return model
    if way == END_TO_END:
        learner = to_audio(model, freeze_separator=False, separator_lr_scale=settings.separator_lr_scale)
    else:
        learner = to_cues(to_audio(model))  # there and back, so that both begin with the same
    learner.batch_size = settings.batch_size
    learner.train_freq = TrainFreq(1, TrainFrequencyUnit.STEP)  # type: ignore[assignment]
    learner.learning_rate = settings.learning_rate
    learner._setup_lr_schedule()
    learner.max_grad_norm = math.inf
    learner.exploration_rate = settings.exploration_rate
    learner.exploration_schedule = ConstantSchedule(settings.exploration_rate)
    learner.learning_starts = 0  # until then SB3 takes random actions
    learner.set_random_seed(seed)
    callback = ProgressCallback() if progress else None
    learner.gradient_steps = 0
    learner.learn(settings.warmup, callback, reset_num_timesteps=False)
    learner.gradient_steps = settings.gradient_steps
    learner.learn(settings.steps, callback, reset_num_timesteps=False)
    return to_cues(learner) if way == END_TO_END else learner


def separator_of(model: BaseAlgorithm) -> Separator:
    """The separator in the environment of a model on cues."""
    venv = model.get_env()
    cues = None if venv is None else unwrap_vec_wrapper(venv, VecSeparatedCues)
    if not isinstance(cues, VecSeparatedCues):
        raise ValueError(f"model: expected one with VecSeparatedCues in its environment, actual environment {venv}")
    return cues.extractor.separator


def measure_separators(separators: Sequence[Separator], mixtures: Mixtures, num_scenes: int) -> list[SceneScores]:
    """Measure separators on the first scenes of some mixtures, scene by scene, so that they can be compared in pairs.

    Args:
        separators: On the CPU.
        mixtures: Of sounds that they were not trained on, with a seed that they were not trained with.
        num_scenes: Items of ``mixtures``.

    Returns:
        Those of every separator.
    """
    scores: list[tuple[list[float], list[float], list[float]]] = [([], [], []) for _ in separators]
    for index in range(num_scenes):
        scene = _Scene(mixtures, index)
        for separator, (si_sdr, improvement, empty) in zip(separators, scores, strict=True):
            quality = evaluate_separator(separator, scene, 1)[-1]
            if quality.num_windows:
                si_sdr.append(quality.si_sdr.mean)
                improvement.append(quality.si_sdr_improvement.mean)
            if quality.num_empty:
                empty.append(quality.empty_db.mean)
    return [SceneScores(*map(tuple, each)) for each in scores]


class _Scene(Mixtures):
    """A single scene of some mixtures, rendered once."""

    def __init__(self, mixtures: Mixtures, index: int) -> None:
        vars(self).update(vars(mixtures))
        self._length = 1
        self._windows = mixtures[index]

    def __getitem__(self, index: int) -> Windows:
        """Return the scene."""
        return self._windows


# ---- Runs ------------------------------------------------------------------------------------------------------------


def finetune_all(
    recipe: Recipe,
    seeds: Iterable[int],
    trained: str | os.PathLike[str],
    settings: Finetuning,
    sounds: SoundBank,
    first_kinds: Sequence[str] | None,
    folder: str | os.PathLike[str],
    processes: int = 2,
    episodes: int | None = None,
    scenes: int = 250,
) -> list[FinetuningRun]:
    """Let the agents of a recipe go on in every way, each in a process of its own, with one thread.

    What is finished is not done again; a way that was cut off begins anew. Below ``folder``, every run has a folder
    ``WAY/seed-SEED`` with its model, which acts on what the ears hear, its ``log.txt``, and its ``result.json``: the
    settings and the scores of all episodes and scenes, with the world and the versions.

    Args:
        recipe: Of the agents.
        seeds: Of the agents.
        trained: Where `run_all` left the agents of this recipe; those that are missing are trained by it. The name of
            this folder is that of the recipe.
        settings: How they go on.
        sounds: What the separators are measured with: sounds that they were not trained on.
        first_kinds: The kinds of sound that belong into the first slot of the separators; None: they put sources in any
            order. See `Mixtures`.
        folder: Where all is written.
        processes: How many run at the same time.
        episodes: Of the suite, to evaluate on; None: all.
        scenes: To measure separators in.

    Returns:
        The runs, way by way, seed by seed.

    Raises:
        ValueError: A folder that holds a training or a run with other settings; or processes, episodes or scenes below
            1.
        RuntimeError: Some runs failed. The others were finished first.
    """
    trained, folder = Path(trained), Path(folder)
    episodes = len(recipe.load_suite()) if episodes is None else episodes
    for name, count in (("processes", processes), ("episodes", episodes), ("scenes", scenes)):
        if count < 1:
            raise ValueError(f"{name}: expected at least 1, actual: {count}")
    kinds = None if first_kinds is None else tuple(first_kinds)
    agents = {seed: f"seed-{seed}" for seed in seeds}
    jobs = [
        _Job(way, seed, recipe, trained / agent, settings, sounds, kinds, folder / way / agent, episodes, scenes)
        for way in WAYS
        for seed, agent in agents.items()
    ]
    for job in jobs:
        job.check()
    # The longest first, so that no process is alone with one of them in the end.
    waiting = [job for job in reversed(jobs) if not job.is_finished]
    untrained = sorted({job.seed for job in waiting if not (job.trained / _LOG).exists()})
    if untrained:
        run_all({trained.name: recipe}, untrained, trained.parent, processes)
    failed = run_in_processes(waiting, processes)
    if failed:
        logs = ", ".join(str(job.folder / "log.txt") for job in failed)
        raise RuntimeError(f"{len(failed)} of {len(jobs)} runs failed; see {logs}")
    return [job.result() for job in jobs]


# Where there is a log, the model is finished, as in a training.
_MODEL, _LOG, _RESULT = "model.zip", "log.json", "result.json"


@dataclass(frozen=True)
class _Job:
    way: str
    seed: int
    recipe: Recipe
    trained: Path
    settings: Finetuning
    sounds: SoundBank
    first_kinds: tuple[str, ...] | None
    folder: Path
    episodes: int
    scenes: int

    def __str__(self) -> str:
        return f"{self.way}, seed {self.seed}"

    @property
    def learned_with(self) -> dict[str, Any]:
        """All that decides what becomes of the model, as plain JSON."""
        own = {} if self.way == NOT_AT_ALL else asdict(self.settings)
        return {"way": self.way, **own, "trained": self.recipe.settings(self.seed)}

    @property
    def measured_on(self) -> dict[str, Any]:
        """What decides the scores of the model, as plain JSON."""
        return {
            "episodes": self.episodes,
            "scenes": self.scenes,
            "first_kinds": None if self.first_kinds is None else list(self.first_kinds),
            "sounds": sorted(sound.name for sound in self.sounds),
        }

    def check(self) -> None:
        check_settings(self.recipe, self.seed, self.trained)
        if not (self.folder / _LOG).exists():
            return
        wanted, found = self.learned_with, _read(self.folder / _LOG)["settings"]
        differing = [key for key in {**wanted, **found} if wanted.get(key) != found.get(key)]
        if differing:
            expected, actual = ({key: settings.get(key) for key in differing} for settings in (wanted, found))
            raise ValueError(
                f"folder: {self.folder} holds a run with other settings: expected {expected}, actual {actual}; "
                "take another folder or remove it"
            )

    @property
    def is_finished(self) -> bool:
        path = self.folder / _RESULT
        return path.exists() and _read(path)["measured_on"] == self.measured_on

    def result(self) -> FinetuningRun:
        content = _read(self.folder / _RESULT)["run"]
        evaluation = Evaluation.from_json(content["evaluation"])
        scores = {
            when: SceneScores(**{name: tuple(values) for name, values in content[when].items()})
            for when in ("before", "after")
        }
        return FinetuningRun(**{**content, "evaluation": evaluation, **scores})

    def run(self) -> None:
        model = train(self.recipe, self.seed, self.trained, progress=False)
        tuned = self.tune(model)
        venv = tuned.get_env()
        assert venv is not None
        world = venv.unwrapped
        before, after = (separator_of(each).cpu() for each in (model, tuned))
        mixtures = Mixtures(
            self.sounds,
            self.first_kinds,
            before.num_sources,
            seed=SCENES_SEED,
            num_samples=world.observation_space["audio"].shape[-1],  # type: ignore[index]
            ears=world.get_attr("ears", 0)[0],
        )
        scores_before, scores_after = measure_separators((before, after), mixtures, self.scenes)
        evaluation = evaluate(
            tuned,
            self.recipe.suite,
            wrap_like(venv),
            num_episodes=self.episodes,
            env_kwargs=self.recipe.env_kwargs,
        )
        seconds = _read(self.folder / _LOG)["seconds"]
        scenes = {"first_kinds": self.first_kinds, "seed": SCENES_SEED, "sounds": self.sounds.to_config()}
        settings = {**self.learned_with, "scenes": scenes}
        del settings["trained"]["seed"]  # that of the run
        run = FinetuningRun(self.way, self.seed, evaluation, scores_before, scores_after, seconds, settings)
        _write(self.folder / _RESULT, {"measured_on": self.measured_on, "run": asdict(run)})

    def tune(self, model: BaseAlgorithm) -> BaseAlgorithm:
        """The model on cues that the way leads to, or that it led to before."""
        if (self.folder / _LOG).exists():
            return to_cues(type(model).load(self.folder / _MODEL, to_audio(model).get_env(), model.device))
        began = time.monotonic()
        # Not the seed of the training, whose scenes it would meet again.
        seed = int(np.random.SeedSequence((self.seed, model.num_timesteps, 1)).generate_state(1)[0])
        tuned = finetune(model, self.way, self.settings, seed, progress=True)
        seconds = time.monotonic() - began
        with written_whole(self.folder / _MODEL) as path:
            to_audio(tuned).save(path)
        world = self.recipe.load_suite().describe(training=True, **self.recipe.env_kwargs)
        content = {"settings": self.learned_with, "seconds": seconds, "made_by": asdict(Provenance.now(world))}
        _write(self.folder / _LOG, content)
        return tuned


def _read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text())


def _write(path: Path, content: dict[str, Any]) -> None:
    with written_whole(path) as unfinished:
        unfinished.write_text(json.dumps(content, indent=1) + "\n")


# ---- Tables ----------------------------------------------------------------------------------------------------------

# What is compared with what.
_PAIRS = ((FROZEN, NOT_AT_ALL), (END_TO_END, FROZEN), (END_TO_END, NOT_AT_ALL))
_SCORES = ("si_sdr", "si_sdr_improvement", "empty_db")


def to_csv(runs: Sequence[FinetuningRun], path: str | os.PathLike[str]) -> None:
    """Write a row a run.

    Means over its episodes and over the scenes of its separator (dB), the wall time, and what made it (JSON, see
    `auralnav_sb3.provenance`).
    """
    columns = [f"{score}_{when}" for score in _SCORES for when in ("before", "after")]
    with written_whole(path) as unfinished, unfinished.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["way", "seed", "suite", "episodes", *METRICS, "scenes", *columns, "seconds", *COLUMNS])
        for run in runs:
            means = [run.evaluation.values(metric).mean() for metric in METRICS]
            of_separators = [
                np.mean(scores) if scores else ""
                for score in _SCORES
                for scores in (getattr(run.before, score), getattr(run.after, score))
            ]
            played = [run.evaluation.suite, len(run.evaluation.episodes), *means]
            measured = [len(run.before.si_sdr), *of_separators, round(run.seconds, 1)]
            writer.writerow([run.way, run.seed, *played, *measured, *run.made_by.cells])


def to_markdown(runs: Sequence[FinetuningRun]) -> str:
    """Make a table of the ways, one of the differences between them, and a line that says what the intervals are over.

    Args:
        runs: Of every way the same seeds, as `finetune_all` gives them.
    """
    values = {way: _values([run for run in runs if run.way == way]) for way in WAYS}
    rows = []
    for way, of_way in values.items():
        group = [run for run in runs if run.way == way]
        intervals = [str(bootstrap_grid(each)) for each in of_way.values()]
        minutes = np.mean([run.seconds for run in group]) / 60
        rows.append([way, group[0].evaluation.suite, str(len(group)), *intervals, f"{minutes:.1f}"])
    compared = ("success", "SPL", "SI-SDR after, dB")
    differences = [
        [f"{one} - {other}", *(str(bootstrap_grid(values[one][name] - values[other][name])) for name in compared)]
        for one, other in _PAIRS
    ]
    header = ["fine-tuning", "suite", "runs", *values[NOT_AT_ALL], "minutes"]
    counts = sorted({(len(run.evaluation.episodes), len(run.before.si_sdr)) for run in runs})
    measured = " or ".join(f"{episodes} episodes and {scenes} scenes" for episodes, scenes in counts)
    note = (
        f"Each run was evaluated on {measured}, the same for all. Mean, [95 % bootstrap interval over runs and "
        "episodes, or runs and scenes]; differences are taken in pairs. SI-SDR: of the separator, where every slot has "
        "a source. Minutes: wall time of a run's learning."
    )
    return "\n\n".join([_table(header, rows), _table(["difference", *compared], differences), note])


def _values(group: Sequence[FinetuningRun]) -> dict[str, np.ndarray]:
    """What the tables are of, by its heading: (runs, episodes) or (runs, scenes) float64."""
    before, after = (np.array([getattr(run, when).si_sdr for run in group]) for when in ("before", "after"))
    return {
        "success": np.stack([run.evaluation.values("success") for run in group]),
        "SPL": np.stack([run.evaluation.values("spl") for run in group]),
        "SI-SDR before, dB": before,
        "SI-SDR after, dB": after,
        "change, dB": after - before,
    }


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "\n".join("| " + " | ".join(line) + " |" for line in (header, ["---"] * len(header), *rows))
