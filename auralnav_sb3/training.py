"""From a recipe to a trained agent: a cue environment, a model, and a training that can be interrupted.

In the order of use::

    recipe = Recipe(suite="two-sources-v1", algorithm="PPO", steps=50_000)
    model = train(recipe, seed=0, folder="runs/ppo-0")  # called again after a kill, it goes on where it was
    evaluate(model, recipe.suite, wrap_like(model.get_env()), env_kwargs=recipe.env_kwargs)
    read_log("runs/ppo-0").steps_to_target
"""

from __future__ import annotations

import copy
import dataclasses
import json
import os
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium import spaces
from sb3_contrib import QRDQN, RecurrentPPO
from stable_baselines3 import A2C, DQN, PPO, SAC, TD3
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.noise import ActionNoise, NormalActionNoise
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.utils import LinearSchedule
from stable_baselines3.common.vec_env import VecEnv, VecFrameStack, unwrap_vec_wrapper

from auralnav_gym.files import written_whole
from auralnav_gym.scoring import Rewards, as_rewards
from auralnav_gym.sounds import SoundBank
from auralnav_gym.suites import Suite, load_suite
from auralnav_sb3.callbacks import EvaluationCallback, ProgressCallback, RolloutCallback
from auralnav_sb3.extractor import LEFT_AND_RIGHT, check_slots, extractor_kwargs
from auralnav_sb3.provenance import Provenance
from auralnav_sb3.symmetry import MirroredReplayBuffer
from auralnav_sb3.vec_separated_cues import VecSeparatedCues

ALGORITHMS: Mapping[str, type[BaseAlgorithm]] = {
    "DQN": DQN,
    "PPO": PPO,
    "A2C": A2C,
    "QRDQN": QRDQN,
    "RecurrentPPO": RecurrentPPO,
    "SAC": SAC,
    "TD3": TD3,
}
# Those that take one of a few actions, and those that take a forward speed and a turn rate; the others take both.
_DISCRETE_ONLY, _CONTINUOUS_ONLY = ("DQN", "QRDQN"), ("SAC", "TD3")

NET_ARCH = [256, 256]
_Q_LEARNING = {
    # What the last steps bring is lost again where the learning rate stays high.
    "learning_rate": LinearSchedule(5e-4, 5e-5, 1.0),
    "buffer_size": 100_000,
    "learning_starts": 1_000,
    "batch_size": 128,
    "gamma": 0.98,
    "n_steps": 3,
    "train_freq": 1,
    "gradient_steps": 4,
    "target_update_interval": 1_000,
    "exploration_fraction": 0.25,
    # Low, so that the agent meets in training the loops in which it would be caught when it no longer explores.
    "exploration_final_eps": 0.01,
    "policy_kwargs": {"net_arch": NET_ARCH},
}
_PROXIMAL = {
    "learning_rate": 5e-4,
    "n_steps": 256,
    "batch_size": 256,
    "gamma": 0.97,
    "ent_coef": 0.01,
    "policy_kwargs": {"net_arch": NET_ARCH},
}
_ACTOR_CRITIC = {
    "learning_rate": 5e-4,
    "buffer_size": 100_000,
    "learning_starts": 1_000,
    "batch_size": 256,
    "gamma": 0.97,
    "n_steps": 3,
    "train_freq": 1,
    # For a step of eight environments; an update takes longer than a step of one, by far.
    "gradient_steps": 4,
    "policy_kwargs": {"net_arch": NET_ARCH},
}
# What each algorithm is constructed with; `Recipe.hyperparameters` go over it.
HYPERPARAMETERS: Mapping[str, Mapping[str, Any]] = {
    "DQN": _Q_LEARNING,
    "QRDQN": {**_Q_LEARNING, "policy_kwargs": {"net_arch": NET_ARCH, "n_quantiles": 25}},
    "PPO": _PROXIMAL,
    "RecurrentPPO": {**_PROXIMAL, "policy_kwargs": {"net_arch": NET_ARCH, "lstm_hidden_size": 128}},
    "A2C": {
        "learning_rate": 7e-4,
        "n_steps": 16,
        "gamma": 0.97,
        "gae_lambda": 0.95,
        "ent_coef": 0.01,
        "policy_kwargs": {"net_arch": NET_ARCH},
    },
    # Learned from 0.05 on: from SB3's 1 on, entropy would outweigh returns of this order for most of the training.
    "SAC": {**_ACTOR_CRITIC, "ent_coef": "auto_0.05"},
    "TD3": {**_ACTOR_CRITIC, "action_noise": 0.2},
}

_IDEAL = "ideal"
# The share of the last 100 episodes of the training (SB3's stats_window_size) whose first reach is noted.
TARGET_SUCCESS = 0.95
_CURVE_POINTS = 100
_CHECKPOINTS = 10
_CHECKPOINT_SECONDS = 120.0


@dataclasses.dataclass(frozen=True)
class Recipe:
    """What is trained, on what, and how; with a seed, all that decides how the training goes.

    Attributes:
        suite: The world: its training sounds are trained on. A suite or its name.
        algorithm: One of `ALGORITHMS`.
        separator: What `load_separator` accepts by name or path, "none" (the mixture in every slot), or "ideal" (masks
            from every source alone).
        aggregation: "weighted" or "mean".
        order: "energy" (the loudest source first), "example" (what sounds most like the example first) or "none".
        slots: What the separator's slots hold: "sources", every source one of its own, or "target", the targets
            together first and everything else second, which goes with ``order="none"`` (see `VecSeparatedCues`).
        frames: Observations that the policy sees at a time, this one and those before it.
        pose: Whether the agent knows its own pose.
        motion: Whether the agent knows how its last action moved it.
        mirror: Whether half the transitions of a batch are shown in a mirror (`MirroredReplayBuffer`); for DQN, QRDQN,
            SAC and TD3, which have a replay buffer.
        rewards: What the environment's ``rewards=`` accepts.
        hyperparameters: Arguments of the algorithm's constructor, over those of `HYPERPARAMETERS`. ``action_noise`` can
            be a number: the standard deviation of normal noise on every action.
        num_envs: Parallel environments.
        steps: Environment steps of the training, all environments together.
        pair: Which of the ears are listened to, the left one and the right one, where there are more than two.

    Raises:
        ValueError: An unknown algorithm, unknown slots or such that do not go together with the order, or frames,
            num_envs or steps below 1.
    """

    suite: Suite | str = "two-sources-v1"
    algorithm: str = "DQN"
    separator: str | os.PathLike[str] = "compact"
    aggregation: str = "weighted"
    order: str = "energy"
    slots: str = "sources"
    frames: int = 1
    pose: bool = False
    motion: bool = True
    mirror: bool = False
    rewards: Rewards | str | Mapping[str, float] | None = None
    hyperparameters: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    num_envs: int = 8
    steps: int = 30_000
    pair: Sequence[int] = LEFT_AND_RIGHT

    def __post_init__(self) -> None:
        """Refuse what could only fail later."""
        if self.algorithm not in ALGORITHMS:
            raise ValueError(f"algorithm: expected one of {list(ALGORITHMS)}, actual {self.algorithm!r}")
        if self.mirror and not issubclass(ALGORITHMS[self.algorithm], OffPolicyAlgorithm):
            raise ValueError(
                f"mirror: expected False for {self.algorithm}, which has no replay buffer to mirror, actual True"
            )
        check_slots(self.slots, self.order)
        for name in ("frames", "num_envs", "steps"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: expected at least 1, actual {getattr(self, name)!r}")

    @property
    def env_kwargs(self) -> dict[str, Any]:
        """What the agent chooses of its environment: arguments of `Suite.make_env` and `Suite.make_training_env`."""
        return {
            "pose": self.pose,
            "motion": self.motion,
            "rewards": self.rewards,
            "source_audio": self.separator == _IDEAL,
        }

    @property
    def deterministic(self) -> bool:
        """Whether `evaluate` should let it take its best action: not where a policy that draws them was learned."""
        return issubclass(ALGORITHMS[self.algorithm], OffPolicyAlgorithm)

    def load_suite(self, sounds: SoundBank | str | os.PathLike[str] | None = None) -> Suite:
        """Load the suite with other sounds than the synthetic ones, if given: a bank or a folder of recordings."""
        if isinstance(self.suite, str):
            return load_suite(self.suite, sounds)
        if sounds is not None:
            raise ValueError(f"sounds: expected None beside a suite that has its own ({self.suite.name!r})")
        return self.suite

    def settings(self, seed: int) -> dict[str, Any]:
        """Everything that decides the training, defaults filled in, as plain JSON."""
        settings: dict[str, Any] = {
            **{field.name: getattr(self, field.name) for field in dataclasses.fields(self)},
            "suite": self.load_suite().name,
            "rewards": dataclasses.asdict(as_rewards(self.rewards)),
            "hyperparameters": {**HYPERPARAMETERS[self.algorithm], **self.hyperparameters},
            "seed": seed,
        }
        return json.loads(json.dumps(settings, default=_plain))


_DQN = Recipe(algorithm="DQN", frames=4, mirror=True, steps=20_000)
RECIPES: Mapping[str, Recipe] = {
    "two-sources-v1": Recipe("two-sources-v1", "QRDQN", frames=4, mirror=True, steps=40_000),
    "four-sources-v1": Recipe("four-sources-v1", "QRDQN", frames=4, mirror=True, steps=60_000),
    # Two omnidirectional ears tell front from back only by what changes when they move: a longer memory.
    "omni-v1": Recipe("omni-v1", "QRDQN", frames=8, mirror=True, steps=60_000),
    "random-rooms-v1": Recipe("random-rooms-v1", "QRDQN", frames=4, mirror=True, steps=30_000),
    # Which of the sources to find is told by the slot it is in.
    "distractors-v1": Recipe(
        "distractors-v1",
        "QRDQN",
        separator="speech-first",
        order="none",
        slots="target",
        frames=4,
        mirror=True,
        steps=30_000,
    ),
    "babble-v1": Recipe("babble-v1", "QRDQN", separator="any-order", frames=4, mirror=True, steps=30_000),
    **{
        suite: dataclasses.replace(_DQN, suite=suite)
        for suite in ("easy-v1", "anechoic-v1", "materials-v1", "moving-v1", "alarms-v1", "human-v1")
    },
    "l-shape-v1": dataclasses.replace(_DQN, suite="l-shape-v1", steps=30_000),
    "continuous-v1": dataclasses.replace(_DQN, suite="continuous-v1", algorithm="SAC"),
}
"""For each published suite the recipe that was found to work."""


@dataclasses.dataclass(frozen=True)
class TrainingLog:
    """How a training went.

    Attributes:
        settings: Of the training, see :meth:`Recipe.settings`.
        curve: (steps, share of the last 100 episodes of the training in which every source was found), exploration
            included. Until there have been 100, those that are missing count as failed.
        steps_to_target: Steps after which that share first was `TARGET_SUCCESS`; None: never.
        seconds: Wall time, without what was lost in between.
        made_by: The world that was trained in, :meth:`auralnav_gym.Suite.describe`, and the versions: those that
            finished it, if it was cut off in between.
    """

    settings: dict[str, Any]
    curve: tuple[tuple[int, float], ...] = ()
    steps_to_target: int | None = None
    seconds: float = 0.0
    made_by: Provenance = dataclasses.field(default_factory=Provenance)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> TrainingLog:
        """Turn what JSON made of a log back into one."""
        curve = tuple((steps, success) for steps, success in content["curve"])
        return cls(**{**content, "curve": curve, "made_by": Provenance.from_json(content)})


def make_cue_env(recipe: Recipe, seed: int, sounds: SoundBank | str | os.PathLike[str] | None = None) -> VecEnv:
    """Make the environments that a recipe trains in.

    Args:
        recipe: The recipe.
        seed: Of the scenes and of the weights of an untrained separator.
        sounds: A bank or a folder of recordings, of which the training sounds are taken; None: those of the suite.

    Returns:
        Parallel environments whose observations are cue vectors, the last ``recipe.frames`` of them.
    """
    make_env = recipe.load_suite(sounds).make_training_env
    venv: VecEnv = make_vec_env(make_env, recipe.num_envs, _draw_seed(seed, 0), env_kwargs=recipe.env_kwargs)
    masks: dict[str, Any] = {"ideal": True} if recipe.separator == _IDEAL else {"separator": recipe.separator}
    venv = VecSeparatedCues(
        venv,
        device="auto",
        aggregation=recipe.aggregation,
        order=recipe.order,
        slots=recipe.slots,
        seed=seed,
        **masks,
        **extractor_kwargs(venv, recipe.slots, recipe.pair),
    )
    return _stacked(venv, recipe.frames)


def make_model(
    recipe: Recipe, venv: VecEnv, seed: int, tensorboard_log: str | os.PathLike[str] | None = None
) -> BaseAlgorithm:
    """Make the untrained model of a recipe.

    It is on the CPU, which is faster than a GPU for networks of this size; ``hyperparameters={"device": "cuda"}`` moves
    it.

    Args:
        recipe: The recipe.
        venv: From `make_cue_env`.
        seed: Of the weights, the exploration, the batches and (as `make_cue_env`) the scenes.
        tensorboard_log: Folder for TensorBoard.

    Raises:
        ValueError: The algorithm does not take such actions as the environments', or with ``mirror`` the ears of the
            pair are not each other's mirror image.
    """
    _check_actions(recipe.algorithm, venv.action_space)
    arguments: dict[str, Any] = {
        "device": "cpu",
        "seed": _draw_seed(seed, 0),
        "tensorboard_log": None if tensorboard_log is None else str(tensorboard_log),
        **HYPERPARAMETERS[recipe.algorithm],
        **recipe.hyperparameters,
    }
    if "action_noise" in arguments:
        arguments["action_noise"] = as_action_noise(arguments["action_noise"], venv.action_space)
    if recipe.mirror:
        arguments |= _mirrored(arguments, venv)
    policy = "MlpLstmPolicy" if recipe.algorithm == "RecurrentPPO" else "MlpPolicy"
    # A copy, as some algorithms write into the dicts that they are given.
    return ALGORITHMS[recipe.algorithm](policy, venv, **copy.deepcopy(arguments))


def as_action_noise(noise: ActionNoise | float | None, space: spaces.Space) -> ActionNoise | None:
    """What SB3's ``action_noise=`` accepts; a number becomes normal noise of that standard deviation."""
    if noise is None or isinstance(noise, ActionNoise):
        return noise
    shape = space.shape or ()
    return NormalActionNoise(np.zeros(shape), np.full(shape, float(noise)))


def train(
    recipe: Recipe,
    seed: int,
    folder: str | os.PathLike[str],
    sounds: SoundBank | str | os.PathLike[str] | None = None,
    tensorboard_log: str | os.PathLike[str] | None = None,
    progress: bool = True,
    evaluate_every: int | None = None,
) -> BaseAlgorithm:
    """Train a recipe, or go on with a training that was cut off, or load one that is finished.

    A tenth of the training, two minutes at most, is lost when it is killed at any moment: model, replay buffer and log
    are written to ``folder`` in between. A training that goes on begins new episodes, with new random numbers: it is as
    good as one without a break, but not the same.

    Args:
        recipe: The recipe.
        seed: See `make_cue_env` and `make_model`.
        folder: Where ``model.zip`` and ``log.json`` (`read_log`) are left, and the checkpoints until then.
        sounds: See `make_cue_env`.
        tensorboard_log: Folder for TensorBoard, which shows what `RolloutCallback` logs beside SB3's own.
        progress: Print how far it is every ten seconds.
        evaluate_every: Steps from one `EvaluationCallback` to the next, which logs to TensorBoard how the agent does in
            the first episodes of the suite, with sounds never heard in training; the training itself goes as it would
            without. None: never.

    Returns:
        The model; ``model.get_env()`` is its cue environment.

    Raises:
        DependencyNotInstalled: ``evaluate_every`` without what its picture needs, ``pip install "auralnav[render]"``.
        ValueError: The folder holds a training with other settings; or ``evaluate_every`` without ``tensorboard_log``.
    """
    if evaluate_every is not None and tensorboard_log is None:
        raise ValueError(
            f"evaluate_every: expected None without tensorboard_log, where it is shown, actual: {evaluate_every}"
        )
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    recipe = dataclasses.replace(recipe, suite=recipe.load_suite(sounds))  # recordings are read once
    check_settings(recipe, seed, folder)
    latest = _latest(folder)
    venv = make_cue_env(recipe, seed)
    if latest is None:
        log, model = TrainingLog(recipe.settings(seed)), make_model(recipe, venv, seed, tensorboard_log)
    else:
        log, model = read_log(latest), _load(latest, recipe, venv, seed, tensorboard_log)
    if latest == folder:
        return model

    made_by = Provenance.now(recipe.load_suite().describe(training=True, **recipe.env_kwargs))
    recorder = _Recorder(dataclasses.replace(log, made_by=made_by), folder, recipe.steps)
    callbacks: list[BaseCallback] = [recorder]
    if progress:
        callbacks.append(ProgressCallback())
    if tensorboard_log is not None:
        callbacks.append(RolloutCallback())
    if evaluate_every is not None:
        callbacks.append(EvaluationCallback(recipe.load_suite(), evaluate_every, deterministic=recipe.deterministic))
    model.learn(
        recipe.steps - model.num_timesteps,
        callback=callbacks,
        tb_log_name=recipe.algorithm,
        reset_num_timesteps=latest is None,
    )
    with written_whole(folder / _MODEL) as path:
        model.save(path)
    _write_log(recorder.log(), folder)
    _remove_checkpoints(folder)
    return model


def read_log(folder: str | os.PathLike[str]) -> TrainingLog:
    """Read how a finished training went.

    Raises:
        FileNotFoundError: There is no finished training in the folder.
    """
    return TrainingLog.from_json(json.loads((Path(folder) / _LOG).read_text()))


def check_settings(recipe: Recipe, seed: int, folder: str | os.PathLike[str]) -> None:
    """Raise a ValueError if the folder holds a training, finished or not, with other settings than these."""
    latest = _latest(Path(folder))
    if latest is None:
        return
    wanted, found = recipe.settings(seed), read_log(latest).settings
    differing = [key for key in wanted if wanted[key] != found.get(key)]
    if differing:
        expected, actual = ({key: settings.get(key) for key in differing} for settings in (wanted, found))
        raise ValueError(
            f"folder: {folder} holds a training with other settings: expected {expected}, actual {actual}; "
            "take another folder or remove it"
        )


# ---- Inside ----------------------------------------------------------------------------------------------------------

_MODEL, _REPLAY, _LOG = "model.zip", "replay_buffer.pkl", "log.json"


class _Recorder(BaseCallback):
    """Records the learning curve and writes checkpoints."""

    def __init__(self, log: TrainingLog, folder: Path, steps: int) -> None:
        super().__init__()
        self._before = log
        self._curve = list(log.curve)
        self._steps_to_target = log.steps_to_target
        self._folder = folder
        self._curve_every = max(steps // _CURVE_POINTS, 1)
        self._checkpoint_every = max(steps // _CHECKPOINTS, 1)

    def log(self) -> TrainingLog:
        return dataclasses.replace(
            self._before,
            curve=tuple(self._curve),
            steps_to_target=self._steps_to_target,
            seconds=self._before.seconds + time.monotonic() - self._began,
        )

    def _on_training_start(self) -> None:
        self._began = self._saved_at = time.monotonic()
        self._saved_steps = self.model.num_timesteps

    def _on_step(self) -> bool:
        successes, steps = self.model.ep_success_buffer, self.model.num_timesteps
        assert successes is not None
        assert successes.maxlen is not None
        # Not the mean of what is there: the first episodes to end are successes, as those take fewer steps.
        share = sum(successes) / successes.maxlen
        if self._steps_to_target is None and share >= TARGET_SUCCESS:
            self._steps_to_target = steps
        if steps // self._curve_every > (self._curve[-1][0] if self._curve else 0) // self._curve_every:
            self._curve.append((steps, share))
        return True

    def _on_rollout_start(self) -> None:
        # Not in the middle of a rollout: an on-policy algorithm would lose what it has not yet learned from.
        steps = self.model.num_timesteps - self._saved_steps
        if steps > 0 and (steps >= self._checkpoint_every or time.monotonic() - self._saved_at >= _CHECKPOINT_SECONDS):
            _write_checkpoint(self.model, self.log(), self._folder)
            self._saved_at, self._saved_steps = time.monotonic(), self.model.num_timesteps


def _check_actions(algorithm: str, space: spaces.Space) -> None:
    """Raise a ValueError unless an algorithm takes such actions."""
    unfit = {spaces.Discrete: _CONTINUOUS_ONLY, spaces.Box: _DISCRETE_ONLY}.get(type(space), ())
    if algorithm in unfit:
        fitting = [name for name in ALGORITHMS if name not in unfit]
        other = "discrete" if algorithm in _DISCRETE_ONLY else "continuous"
        raise ValueError(
            f"algorithm: expected one of {fitting} for the environment's actions, {space}, actual {algorithm!r}; take "
            f'one of those, or a world made with actions="{other}"'
        )


def _mirrored(arguments: Mapping[str, Any], venv: VecEnv) -> dict[str, Any]:
    """Arguments for an algorithm that learns from mirrored transitions too."""
    cues = unwrap_vec_wrapper(venv, VecSeparatedCues)
    assert isinstance(cues, VecSeparatedCues)
    left, right = (venv.get_attr("ears", 0)[0].positions[each] for each in cues.extractor.pair)
    if not np.allclose(left * (1, -1, 1), right, atol=1e-3):
        raise ValueError(
            "mirror: expected False where left and right ear are not each other's mirror image, actual True with "
            f"pair={cues.extractor.pair}, at {left.tolist()} and {right.tolist()} m"
        )
    signs = cues.extractor.mirror_signs
    signs = np.tile(signs, np.prod(venv.observation_space.shape or (1,)) // len(signs))  # frame by frame
    returns = {"n_steps": arguments.get("n_steps", 1), "gamma": arguments["gamma"]}
    # The buffer makes the n-step returns; SB3 would warn that it ignores those of an algorithm that is given a buffer.
    return {
        "replay_buffer_class": MirroredReplayBuffer,
        "replay_buffer_kwargs": {"signs": signs, **returns},
        "n_steps": 1,
    }


def _plain(value: Any) -> Any:
    """What JSON can hold in place of a class, a path or an object such as SB3's schedules."""
    if isinstance(value, type | Callable) and hasattr(value, "__qualname__"):
        return value.__qualname__
    return {type(value).__name__: vars(value)} if hasattr(value, "__dict__") else str(value)


def _stacked(venv: VecEnv, frames: int) -> VecEnv:
    return venv if frames == 1 else VecFrameStack(venv, frames)


def _draw_seed(seed: int, steps: int) -> int:
    """A seed for what begins after so many steps; neighbouring seeds of runs, plus ranks, would share scenes."""
    return int(np.random.SeedSequence((seed, steps)).generate_state(1)[0])


def _write_log(log: TrainingLog, folder: Path) -> None:
    with written_whole(folder / _LOG) as path:
        path.write_text(json.dumps(dataclasses.asdict(log), indent=1) + "\n")


def _write_checkpoint(model: BaseAlgorithm, log: TrainingLog, folder: Path) -> None:
    """Write a folder of which all is there or nothing: model, replay buffer and log belong together."""
    unfinished = folder / "unfinished"
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir()
    model.save(unfinished / _MODEL)
    if isinstance(model, OffPolicyAlgorithm):
        model.save_replay_buffer(unfinished / _REPLAY)
    _write_log(log, unfinished)
    older = _checkpoints(folder)
    os.replace(unfinished, folder / f"checkpoint-{model.num_timesteps}")
    for each in older:
        shutil.rmtree(each)


def _checkpoints(folder: Path) -> list[Path]:
    """The checkpoints, the latest last."""
    return sorted(folder.glob("checkpoint-*"), key=lambda path: int(path.name.removeprefix("checkpoint-")))


def _latest(folder: Path) -> Path | None:
    """Where the model is: the folder itself when the training is finished, a checkpoint's, or None."""
    if (folder / _LOG).exists():
        return folder
    return next(reversed(_checkpoints(folder)), None)


def _remove_checkpoints(folder: Path) -> None:
    for each in (*_checkpoints(folder), folder / "unfinished"):
        shutil.rmtree(each, ignore_errors=True)


def _load(
    folder: Path, recipe: Recipe, venv: VecEnv, seed: int, tensorboard_log: str | os.PathLike[str] | None
) -> BaseAlgorithm:
    """Load a checkpoint or a finished model; its random numbers are not those that it began with."""
    algorithm = ALGORITHMS[recipe.algorithm]
    overrides: dict[str, Any] = {"tensorboard_log": None if tensorboard_log is None else str(tensorboard_log)}
    if issubclass(algorithm, OffPolicyAlgorithm) and not recipe.mirror:
        # As the constructor was given it: SB3 warns of the class that it chose itself for n-step returns.
        overrides["replay_buffer_class"] = recipe.hyperparameters.get("replay_buffer_class")
    model = algorithm.load(folder / _MODEL, venv, recipe.hyperparameters.get("device", "cpu"), **overrides)
    model.set_random_seed(_draw_seed(seed, model.num_timesteps))
    if isinstance(model, OffPolicyAlgorithm) and (folder / _REPLAY).exists():
        model.load_replay_buffer(folder / _REPLAY)
        buffer = model.replay_buffer
        assert buffer is not None
        # What follows in the buffer belongs to new episodes: n-step returns must not run on into them.
        newest = (buffer.pos - 1) % buffer.buffer_size
        buffer.timeouts[newest] = np.logical_or(buffer.timeouts[newest], np.logical_not(buffer.dones[newest]))
    return model
