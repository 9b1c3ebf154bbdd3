"""SB3 callbacks: how a training goes, in the terminal and in TensorBoard.

In the order of use::

    callbacks = [ProgressCallback(), RolloutCallback(), EvaluationCallback("two-sources-v1", every_steps=5_000)]
    model = DQN("MlpPolicy", venv, tensorboard_log="runs").learn(40_000, callback=callbacks)

`auralnav_sb3.train` takes care of them itself. None of them changes a training: it goes as it would without.
"""

from __future__ import annotations

import copy
import io
import random
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import numpy as np
import soundfile
import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Image, TensorBoardOutputFormat
from stable_baselines3.common.vec_env import VecEnv
from tensorboard.compat.proto.summary_pb2 import Summary

from auralnav_gym import Suite, load_suite
from auralnav_gym.panels import PanelPainter, beside
from auralnav_gym.recording import Perception, Recording
from auralnav_gym.rendering import PlanPainter
from auralnav_gym.suites import AGENT_KWARGS
from auralnav_sb3.evaluation import Watcher, watch, wrap_like
from auralnav_sb3.recordings import record

# What SB3's other output formats cannot write.
_TENSORBOARD_ONLY = ("stdout", "log", "json", "csv")

# Episodes that are played at a time where none is recorded.
_NUM_ENVS = 8


class ProgressCallback(BaseCallback):
    """Prints how far the training is, how well the agent does, and how long it will still take.

    A line looks like ``12,000 / 40,000 steps (30 %)  success 0.64  95 steps/s  0:04:55 left``. The success is the
    share of the last 100 episodes (SB3's ``stats_window_size``) in which every source was found.

    Args:
        every_seconds: Seconds between two lines.
    """

    def __init__(self, every_seconds: float = 10.0) -> None:
        super().__init__()
        self._every_seconds = every_seconds

    def _on_training_start(self) -> None:
        self._began = self._last = time.monotonic()
        self._first_step = self.model.num_timesteps

    def _on_step(self) -> bool:
        now = time.monotonic()
        if now - self._last >= self._every_seconds:
            self._last = now
            print(self._line(now), flush=True)
        return True

    def _on_training_end(self) -> None:
        print(self._line(time.monotonic()), flush=True)

    def _line(self, now: float) -> str:
        done, total = self.model.num_timesteps, self.model._total_timesteps
        rate = max(done - self._first_step, 1) / max(now - self._began, 1e-9)
        left = timedelta(seconds=round(max(total - done, 0) / rate))
        successes = self.model.ep_success_buffer
        success = f"{np.mean(successes):.2f}" if successes else "-"
        return (
            f"{done:,} / {total:,} steps ({100 * done / total:.0f} %)  success {success}  "
            f"{rate:.0f} steps/s  {left} left"
        )


class RolloutCallback(BaseCallback):
    """Logs what the episodes of the training come to, exploration included, beside what SB3 logs of them.

    Whenever SB3 writes its log, these are in it: ``rollout/found`` (the share of the sources that was found),
    ``rollout/spl``, ``rollout/sna``, and for every term of the reward ``rollout/reward/<term>``, its sum over an
    episode; each the mean of the last 100 episodes (SB3's ``stats_window_size``) that ended. SB3 has
    ``rollout/success_rate`` and ``rollout/ep_rew_mean``, to which the terms add up. An episode that was under way when
    the training began counts from its end only: its terms are left out.

    Raises:
        ValueError: While training, if the environments are not AuralNav's.
    """

    def __init__(self) -> None:
        super().__init__()
        self._latest: dict[str, deque[float]] = {}  # by the name of the metric, of the last episodes
        self._means: dict[str, float] = {}

    def _on_training_start(self) -> None:
        self._tally = _Tally()
        if self.num_timesteps == 0:
            self._latest, self._means = {}, {}

    def _on_step(self) -> bool:
        for outcome in self._tally.add(self.locals["infos"], self.locals["dones"]):
            for name in outcome.keys() - {"success", "return", "actions"}:  # SB3 logs these
                self._note(name, outcome[name])
        for name, mean in self._means.items():
            self.logger.record(f"rollout/{name}", mean)
        return True

    def _note(self, name: str, value: float) -> None:
        assert self.model.ep_info_buffer is not None
        latest = self._latest.setdefault(name, deque(maxlen=self.model.ep_info_buffer.maxlen))
        latest.append(value)
        self._means[name] = float(np.mean(latest))


class EvaluationCallback(BaseCallback):
    """Plays episodes of a suite every so many steps and logs what came of them, to be read, seen and heard.

    They are the first of the suite, always the same, played without exploration as `evaluate` plays them, with sounds
    that are never heard in training. Nothing in the training is decided by them: no model is chosen, no training is
    stopped, no random number is used up. To keep the best model as well, add SB3's `EvalCallback`, with other episodes
    than those on which results are reported.

    Logged, means over the episodes: ``eval/success``, ``eval/found``, ``eval/spl``, ``eval/sna``, ``eval/return``,
    ``eval/actions`` (how many were taken) and ``eval/reward/<term>``, the sum of a term over an episode.

    The first few episodes are recorded. Over all observations on which the agent acted in them: ``eval/q_value/best``,
    the mean of the best action's, and ``eval/q_value/gap``, by how much it is above the second best; for policies that
    draw their actions ``eval/probability/best`` and ``eval/probability/gap``. There is no such thing where actions are
    continuous.

    To TensorBoard alone: histograms over the same observations, of ``eval/cues/<cue>``, all separated sources together,
    and of ``eval/q_value/<action>`` (``eval/probability/<action>``; where they are continuous ``eval/action/<number>``,
    the actions themselves); and of the first episode ``eval/sound``, all that the two ears heard, and ``eval/picture``,
    the room at its end, and beside it what the agent made of the last observation on which it acted.

    Args:
        suite: A suite or its name.
        every_steps: Environment steps from one evaluation to the next, all training environments together; the first
            is after so many.
        num_episodes: How many are played, or all where the suite has fewer.
        num_recorded: How many of them are recorded, at most all. They take about three times as long as others.
        wrap: As `evaluate` takes it; None: what is around the model's own environments, by `wrap_like`.
        env_kwargs: As `evaluate` takes it. What it leaves open, the rewards among it, is as in the model's own
            environments.
        deterministic: As `evaluate` takes it; False for PPO and A2C.
        picture: Whether to log the picture, which needs ``pip install "auralnav[render]"``.

    Raises:
        DependencyNotInstalled: ``picture`` without what it needs.
        ValueError: ``every_steps``, ``num_episodes`` or ``num_recorded`` below 1. When training: see `wrap_like` and
            `evaluate`.
    """

    def __init__(
        self,
        suite: Suite | str,
        every_steps: int = 5_000,
        num_episodes: int = 20,
        num_recorded: int = 4,
        wrap: Callable[[VecEnv], VecEnv] | None = None,
        env_kwargs: Mapping[str, Any] | None = None,
        deterministic: bool = True,
        picture: bool = True,
    ) -> None:
        super().__init__()
        suite = load_suite(suite) if isinstance(suite, str) else suite
        counts = {"every_steps": every_steps, "num_episodes": num_episodes, "num_recorded": num_recorded}
        for name, value in counts.items():
            if value < 1:
                raise ValueError(f"{name}: expected 1 or more, actual: {value}")
        self._every_steps = every_steps
        seeds = suite.seeds[:num_episodes]
        self._recorded = replace(suite, seeds=seeds[:num_recorded])
        self._others = replace(suite, seeds=seeds[num_recorded:]) if len(seeds) > num_recorded else None
        self._given_wrap = wrap
        self._given_env_kwargs = dict(env_kwargs or {})
        self._deterministic = deterministic
        self._painters = (PlanPainter(), PanelPainter(suite.sample_rate)) if picture else None

    def _on_training_start(self) -> None:
        self._last_step = self.num_timesteps
        venv = self.training_env
        self._wrap = wrap_like(venv) if self._given_wrap is None else self._given_wrap
        world = venv.get_attr("config", 0)[0]
        own = {name: getattr(world, name) for name in AGENT_KWARGS if name != "render_mode"}
        self._env_kwargs = own | self._given_env_kwargs

    def _on_step(self) -> bool:
        if self.num_timesteps // self._every_steps > self._last_step // self._every_steps:
            with _nothing_drawn(self.model):
                recordings, outcomes = self._play()
            self._log(recordings, outcomes)
        self._last_step = self.num_timesteps
        return True

    def _play(self) -> tuple[tuple[Recording, ...], list[dict[str, float]]]:
        """The recordings of the first episodes, and what all came to."""
        how: dict[str, Any] = {"wrap": self._wrap, "env_kwargs": self._env_kwargs, "deterministic": self._deterministic}
        recordings = record(self.model, self._recorded, num_episodes=None, **how)
        outcomes = [
            _outcome(each.info, {name: float(terms.sum()) for name, terms in each.reward_terms.items()})
            for each in recordings
        ]
        if self._others is not None:
            counter = _Counter()
            watch(counter, self.model, self._others, num_envs=_NUM_ENVS, num_episodes=None, **how)
            outcomes += counter.outcomes
        return recordings, outcomes

    def _log(self, recordings: Sequence[Recording], outcomes: Sequence[Mapping[str, float]]) -> None:
        perceptions = [perception for recording in recordings for perception in recording.perceptions[:-1]]
        means = {name: float(np.mean([outcome[name] for outcome in outcomes])) for name in outcomes[0]}
        for name, mean in (means | _mean_values(perceptions)).items():
            self.logger.record(f"eval/{name}", mean)
        self.logger.record("time/total_timesteps", self.num_timesteps, exclude="tensorboard")
        tensorboards = [each for each in self.logger.output_formats if isinstance(each, TensorBoardOutputFormat)]
        if tensorboards:
            for name, values in _distributions(perceptions).items():
                self.logger.record(f"eval/{name}", torch.as_tensor(values), exclude=_TENSORBOARD_ONLY)
            if self._painters is not None:
                picture = Image(_picture(recordings[0], *self._painters), "HWC")
                self.logger.record("eval/picture", picture, exclude=_TENSORBOARD_ONLY)
        for tensorboard in tensorboards:
            sound = sound_summary("eval/sound", recordings[0].sound, recordings[0].sample_rate)
            assert tensorboard.writer.file_writer is not None
            tensorboard.writer.file_writer.add_summary(sound, self.num_timesteps)
        self.logger.dump(self.num_timesteps)


def sound_summary(tag: str, sound: np.ndarray, sample_rate: int) -> Summary:
    """What TensorBoard's ``SummaryWriter.file_writer.add_summary`` takes to write a sound.

    SummaryWriter's own ``add_audio`` is for a single channel.

    Args:
        tag: What TensorBoard shows it under.
        sound: (C, N) float in [-1, 1].
        sample_rate: Hz.

    Returns:
        The sound as a 16 bit WAV of C channels.
    """
    file = io.BytesIO()
    soundfile.write(file, sound.T, sample_rate, format="WAV", subtype="PCM_16")
    audio = Summary.Audio(
        sample_rate=sample_rate,
        num_channels=len(sound),
        length_frames=sound.shape[-1],
        encoded_audio_string=file.getvalue(),
        content_type="audio/wav",
    )
    return Summary(value=[Summary.Value(tag=tag, audio=audio)])


class _Tally:
    """What the episodes of parallel environments come to, the terms of their rewards summed up."""

    def __init__(self) -> None:
        self._terms: dict[int, defaultdict[str, float]] = {}  # by environment; of episodes seen from their start on

    def add(self, infos: Sequence[Mapping[str, Any]], dones: Sequence[bool] | np.ndarray) -> list[dict[str, float]]:
        """Count a step in; returns what the episodes that it ended came to."""
        outcomes = []
        for index, (info, done) in enumerate(zip(infos, dones, strict=True)):
            if "rewards" not in info:
                raise ValueError(
                    'infos: expected "rewards", the terms of the reward, which AuralNav\'s environments give, actual: '
                    f"{sorted(info)}"
                )
            if info["num_actions"] == 1:
                self._terms[index] = defaultdict(float)
            if index in self._terms:
                for name, term in info["rewards"].items():
                    self._terms[index][name] += term
            if done:
                outcomes.append(_outcome(info, self._terms.pop(index, {})))
        return outcomes


class _Counter(Watcher):
    """Notes what the episodes that are played come to."""

    def __init__(self) -> None:
        self._tally = _Tally()
        self.outcomes: list[dict[str, float]] = []

    def after_action(self, venv: VecEnv, state: Any, dones: np.ndarray, infos: Sequence[Mapping[str, Any]]) -> None:
        self.outcomes += self._tally.add(infos, dones)


def _outcome(info: Mapping[str, Any], terms: Mapping[str, float]) -> dict[str, float]:
    """What an episode came to.

    Args:
        info: Of its last step.
        terms: The sum of each term of the reward; empty: not known.
    """
    outcome = {
        "success": float(info["is_success"]),
        "found": info["num_found"] / info["num_sources"],
        "spl": float(info["spl"]),
        "sna": float(info["sna"]),
        "actions": float(info["num_actions"]),
    }
    if terms:
        outcome["return"] = sum(terms.values())
    return outcome | {f"reward/{name}": value for name, value in terms.items()}


def _kind(perceptions: Sequence[Perception]) -> str:
    """The kind of the values of the actions, as part of a tag; "" where there are none."""
    return perceptions[0].value_kind.lower().replace("-", "_") if perceptions else ""


def _mean_values(perceptions: Sequence[Perception]) -> dict[str, float]:
    """The mean value of the best action, and how far the second best is below it; none of continuous actions."""
    kind = _kind(perceptions)
    if kind in ("", "action"):
        return {}
    ascending = np.sort([perception.values for perception in perceptions])
    return {
        f"{kind}/best": float(ascending[:, -1].mean()),
        f"{kind}/gap": float((ascending[:, -1] - ascending[:, -2]).mean()),
    }


def _distributions(perceptions: Sequence[Perception]) -> dict[str, np.ndarray]:
    """Of every cue and of every action the values in all observations, flat; none where the agent has no such thing."""
    if not perceptions:
        return {}
    cues = np.stack([perception.cues for perception in perceptions])  # (M, S, K)
    values = np.stack([perception.values for perception in perceptions])  # (M, A)
    names = [name.replace(" ", "_") for name in perceptions[0].value_names]
    by_name = {f"cues/{name}": cues[..., index].ravel() for index, name in enumerate(perceptions[0].cue_names)}
    by_name |= {f"{_kind(perceptions)}/{name}": values[:, index] for index, name in enumerate(names)}
    return {name: each for name, each in by_name.items() if each.size}


def _picture(recording: Recording, plan: PlanPainter, panels: PanelPainter) -> np.ndarray:
    """The room at the end, beside it what the agent made of the last observation on which it acted: (H, W, 3) uint8."""
    perception = recording.perceptions[-2] if recording.perceptions else None
    before, last = ("", *recording.action_names)[-2:]
    return beside(
        plan.paint(recording.snapshots[-1]), panels.paint(recording.audio[-2], perception, last, last_action=before)
    )


@contextmanager
def _nothing_drawn(model: BaseAlgorithm) -> Iterator[None]:
    """Leave all generators of random numbers that a model draws from as they are before."""
    devices = [model.device] if model.device.type == "cuda" else []
    of_python, of_numpy = random.getstate(), np.random.get_state()  # noqa: NPY002 (SB3 explores with it)
    of_actions = copy.deepcopy(model.action_space.np_random.bit_generator.state)
    with torch.random.fork_rng(devices):
        try:
            yield
        finally:
            random.setstate(of_python)
            np.random.set_state(of_numpy)  # noqa: NPY002
            model.action_space.np_random.bit_generator.state = of_actions
