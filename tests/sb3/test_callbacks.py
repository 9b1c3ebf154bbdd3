"""What the callbacks log, read back from the event files, against episodes noted or played by hand."""

from __future__ import annotations

import csv
import io
import random
import sys
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import PIL.Image
import pytest
import soundfile
import torch
from gymnasium.error import DependencyNotInstalled
from sb3_contrib import QRDQN, RecurrentPPO
from stable_baselines3 import DQN, PPO, SAC
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.logger import configure
from stable_baselines3.common.vec_env import (
    DummyVecEnv,
    VecCheckNan,
    VecEnv,
    VecFrameStack,
    VecMonitor,
    VecNormalize,
)
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.utils.tensorboard import SummaryWriter

from auralnav_gym import Suite, SyntheticSounds
from auralnav_gym.rendering import PlanPainter
from auralnav_sb3 import (
    Evaluation,
    Recipe,
    SeparatedCuesExtractor,
    SeparatorConfig,
    VecSeparatedCues,
    evaluate,
    extractor_kwargs,
    train,
)
from auralnav_sb3.callbacks import EvaluationCallback, RolloutCallback, sound_summary

WORLD = {"listen_seconds": 0.05, "max_episode_steps": 12, "start_distance": 1.2}
SUITE = Suite("tiny", seeds=range(1000, 1005), env_kwargs=WORLD, sounds=SyntheticSounds(per_kind=2, seconds=1.0))
DRIVES = Suite("tiny-drives", seeds=SUITE.seeds, env_kwargs={**WORLD, "actions": "continuous"}, sounds=SUITE.sounds)
TERMS = ["step", "turn", "walk", "found", "all_found", "touched", "progress", "proximity"]
CUES = ["sin_ipd", "cos_ipd", "ild", "log_volume"]
ACTIONS = ["forward", "backward", "turn_right", "turn_left"]
OUTCOMES = ["success", "found", "spl", "sna", "return", "actions"]

Q_LEARNING: dict[str, Any] = {
    "learning_starts": 10,
    "batch_size": 16,
    "buffer_size": 500,
    "gradient_steps": 1,
    "seed": 0,
}
ROLLOUTS: dict[str, Any] = {"n_steps": 8, "batch_size": 16, "n_epochs": 1, "seed": 0}


def tiny_net() -> dict[str, Any]:
    return {"policy_kwargs": {"net_arch": [8]}}  # a new one each time: some algorithms write into it


class Noting(gym.Wrapper):
    """Notes every episode that ends: at which step of the environment, the sum of each term, and the last info."""

    def __init__(self, env: gym.Env, notes: list[tuple[int, dict[str, float], dict[str, Any]]]) -> None:
        super().__init__(env)
        self.notes, self.steps = notes, 0
        self.sums: dict[str, float] = {}

    def reset(self, **kwargs: Any) -> Any:
        self.sums = defaultdict(float)
        return self.env.reset(**kwargs)

    def step(self, action: Any) -> Any:
        observation, reward, terminated, truncated, info = self.env.step(action)
        self.steps += 1
        for name, term in info["rewards"].items():
            self.sums[name] += term
        if terminated or truncated:
            self.notes.append((self.steps, dict(self.sums), info))
        return observation, reward, terminated, truncated, info


def noting_venv(make_env: Callable[[], gym.Env], notes: list[Any]) -> VecEnv:
    venv = DummyVecEnv([lambda: Noting(make_env(), notes)] * 2)
    venv.seed(0)
    return VecMonitor(venv)


def cue_venv(
    notes: list[Any] | None = None, suite: Suite = SUITE, ideal: bool = False, **env_kwargs: Any
) -> VecSeparatedCues:
    notes = [] if notes is None else notes
    kwargs = {"pose": False, "source_audio": ideal, **env_kwargs}
    venv = noting_venv(lambda: suite.make_training_env(**kwargs), notes)
    masks: dict[str, Any] = {"ideal": True} if ideal else {"separator": "none"}
    return VecSeparatedCues(venv, **masks, **extractor_kwargs(venv))


def make_model(name: str, tiny: SeparatorConfig, notes: list[Any] | None = None, log: Path | None = None) -> Any:
    notes = [] if notes is None else notes
    logged: dict[str, Any] = {"tensorboard_log": None if log is None else str(log)}
    if name == "DQN on audio":
        venv = noting_venv(SUITE.make_training_env, notes)
        policy_kwargs = {
            "net_arch": [8],
            "features_extractor_class": SeparatedCuesExtractor,
            "features_extractor_kwargs": {"separator": tiny, "freeze_separator": False, **extractor_kwargs(venv)},
        }
        return DQN("MultiInputPolicy", venv, policy_kwargs=policy_kwargs, **Q_LEARNING, **logged)
    if name == "PPO without cues":
        return PPO("MultiInputPolicy", noting_venv(SUITE.make_training_env, notes), **ROLLOUTS, **tiny_net(), **logged)
    if name == "SAC":
        return SAC("MlpPolicy", cue_venv(notes, DRIVES), **Q_LEARNING, **tiny_net(), **logged)
    if name == "PPO, normalized":
        venv = VecNormalize(cue_venv(notes, ideal=True))
        return PPO("MlpPolicy", venv, **ROLLOUTS, **tiny_net(), **logged)
    if name == "RecurrentPPO":
        policy_kwargs = {"net_arch": [8], "lstm_hidden_size": 4}
        return RecurrentPPO("MlpLstmPolicy", cue_venv(notes), policy_kwargs=policy_kwargs, **ROLLOUTS, **logged)
    if name == "QRDQN, stacked":
        return QRDQN("MlpPolicy", VecFrameStack(cue_venv(notes), 3), **Q_LEARNING, **tiny_net(), **logged)
    assert name == "DQN"
    return DQN("MlpPolicy", cue_venv(notes), **Q_LEARNING, **tiny_net(), **logged)


MODELS = [
    "DQN",
    "QRDQN, stacked",
    "DQN on audio",
    "PPO, normalized",
    "PPO without cues",
    "RecurrentPPO",
    "SAC",
]
ON_AUDIO = ["DQN on audio", "PPO without cues"]
WITH_IDEAL_MASKS = ["PPO, normalized"]


def suite_of(name: str) -> Suite:
    return DRIVES if name == "SAC" else SUITE


def events(folder: Path) -> EventAccumulator:
    """All events below a folder of one run."""
    (run,) = {path.parent for path in folder.rglob("events.out.tfevents.*")}
    return EventAccumulator(str(run), {"scalars": 0, "histograms": 0, "images": 0, "audio": 0}).Reload()


def scalars(read: EventAccumulator, tag: str) -> dict[int, float]:
    return {event.step: event.value for event in read.Scalars(tag)}


class Calling(BaseCallback):
    """Calls a function after every step."""

    def __init__(self, function: Callable[[Calling], Any]) -> None:
        super().__init__()
        self.function = function

    def _on_step(self) -> bool:
        self.function(self)
        return True


# ---- Episodes of the training ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["DQN", "PPO, normalized", "RecurrentPPO"])
def test_rollouts_are_logged_as_noted_by_hand(name: str, tiny: SeparatorConfig, tmp_path: Path) -> None:
    """The last seven episodes at every step at which SB3 writes."""
    notes: list[Any] = []
    model = make_model(name, tiny, notes, tmp_path)
    model._stats_window_size = 7
    model.learn(160, RolloutCallback(), log_interval=1)
    read = events(tmp_path)
    logged = {tag: scalars(read, tag) for tag in read.Tags()["scalars"] if tag.startswith("rollout/")}
    steps = logged["rollout/ep_rew_mean"].keys()
    assert len(steps) > 5
    assert len(notes) > 7
    for step in steps:
        ended = [note for note in notes if 2 * note[0] <= step][-7:]
        expected = {
            "found": np.mean([info["num_found"] / 2 for _, _, info in ended]),
            "spl": np.mean([info["spl"] for _, _, info in ended]),
            "sna": np.mean([info["sna"] for _, _, info in ended]),
            **{f"reward/{term}": np.mean([sums[term] for _, sums, _ in ended]) for term in TERMS},
        }
        for tag, value in expected.items():
            assert logged[f"rollout/{tag}"][step] == pytest.approx(value, rel=1e-5, abs=1e-7), (tag, step)
        total = sum(logged[f"rollout/reward/{term}"][step] for term in TERMS)
        assert total == pytest.approx(logged["rollout/ep_rew_mean"][step], abs=1e-4)
    assert len(set(logged["rollout/found"].values())) > 1  # else there would be nothing to tell the episodes by


def test_terms_of_an_episode_that_was_under_way_are_left_out(tiny: SeparatorConfig, tmp_path: Path) -> None:
    notes: list[Any] = []
    model = make_model("DQN", tiny, notes, tmp_path)
    callback = RolloutCallback()
    model.learn(10, log_interval=1)  # none ends in five steps of each
    begun = len(notes)
    model.learn(90, callback, log_interval=1, reset_num_timesteps=False)
    read = events(tmp_path)
    last = max(scalars(read, "rollout/spl"))
    seen_whole, seen_ended = [], []
    for steps, sums, info in notes[begun:]:
        seen_ended.append(info["spl"])
        if steps - info["num_actions"] >= 5:
            seen_whole.append(sums["walk"])
    assert 0 < len(seen_whole) < len(seen_ended)
    assert scalars(read, "rollout/reward/walk")[last] == pytest.approx(np.mean(seen_whole), rel=1e-5)
    assert scalars(read, "rollout/spl")[last] == pytest.approx(np.mean(seen_ended), rel=1e-5)


def test_the_window_is_kept_when_a_training_goes_on_and_emptied_when_one_begins(tiny: SeparatorConfig) -> None:
    notes: list[Any] = []
    model = make_model("DQN", tiny, notes)
    callback, means = RolloutCallback(), []
    spy = Calling(lambda each: means.append(each.logger.name_to_value.get("rollout/found")))

    def found() -> list[float]:
        return [info["num_found"] / 2 for _, _, info in notes]

    model.learn(60, [callback, spy], log_interval=1000)
    assert means[-1] == pytest.approx(np.mean(found()))
    model.learn(60, [callback, spy], log_interval=1000, reset_num_timesteps=False)
    assert means[-1] == pytest.approx(np.mean(found()))
    before = len(notes)
    model.learn(60, [callback, spy], log_interval=1000)
    assert means[-1] == pytest.approx(np.mean(found()[before:]))


def test_other_environments_than_auralnavs(make_env: Callable[..., gym.Env]) -> None:
    model = PPO("MultiInputPolicy", make_vec_env(make_env, 2), **ROLLOUTS, **tiny_net())
    with pytest.raises(ValueError, match='infos: expected "rewards", the terms of the reward, which AuralNav'):
        model.learn(8, RolloutCallback())


# ---- Evaluations ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tiny_separator() -> SeparatorConfig:
    return SeparatorConfig(n_filters=8, kernel_size=16, stride=8, bn_chan=8, hid_size=4, chunk_size=10, n_repeats=1)


class Heard(gym.Wrapper):
    """Keeps what was heard and how it stood, moment by moment, resets that follow the end included."""

    def __init__(self, env: gym.Env) -> None:
        super().__init__(env)
        self.audio: list[np.ndarray] = []
        self.snapshots: list[Any] = []

    def reset(self, **kwargs: Any) -> Any:
        observation, info = self.env.reset(**kwargs)
        self.keep(observation)
        return observation, info

    def step(self, action: Any) -> Any:
        observation, *rest = self.env.step(action)
        self.keep(observation)
        return observation, *rest

    def keep(self, observation: Mapping[str, np.ndarray]) -> None:
        self.audio.append(observation["audio"].copy())
        self.snapshots.append(self.unwrapped.snapshot)  # type: ignore[attr-defined]


def play_by_hand(model: DQN, seeds: Sequence[int], extractor: SeparatedCuesExtractor) -> list[dict[str, Any]]:
    """A model on cues in one environment, one episode after the other, greedily."""
    episodes = []
    for seed in seeds:
        env = Heard(SUITE.make_env(pose=False))
        venv = VecSeparatedCues(DummyVecEnv([lambda env=env: env]), extractor)
        venv.seed(seed)
        observation, done, sums = venv.reset(), [False], defaultdict(float)
        features, values = [], []
        while not done[0]:
            with torch.no_grad():
                values.append(model.q_net(torch.as_tensor(observation))[0].numpy())
            features.append(observation[0])
            observation, _, done, infos = venv.step(np.array([values[-1].argmax()]))
            for name, term in infos[0]["rewards"].items():
                sums[name] += term
        count = len(values)
        episodes.append(
            {
                "features": np.array(features),
                "values": np.array(values),
                "sums": sums,
                "info": infos[0],
                "sound": np.concatenate(env.audio[: count + 1], axis=1),
                "snapshot": env.snapshots[count],
            }
        )
    return episodes


@pytest.fixture(scope="module")
def logged(
    tiny_separator: SeparatorConfig, tmp_path_factory: pytest.TempPathFactory
) -> tuple[EventAccumulator, list[dict[str, Any]]]:
    """What an evaluation of five episodes, two of them recorded, wrote, and the same episodes by hand."""
    folder = tmp_path_factory.mktemp("logged")
    model = make_model("DQN", tiny_separator, log=folder)
    model.learning_starts = 1000  # it stays as it is
    model.learn(60, EvaluationCallback(SUITE, every_steps=50, num_episodes=5, num_recorded=2))
    return events(folder), play_by_hand(model, SUITE.seeds, model.get_env().extractor)


Logged = tuple[EventAccumulator, list[dict[str, Any]]]


def test_means_are_those_of_episodes_played_by_hand(logged: Logged) -> None:
    read, episodes = logged
    infos = [episode["info"] for episode in episodes]
    returns = [sum(episode["sums"].values()) for episode in episodes]
    expected = {
        "success": np.mean([info["is_success"] for info in infos]),
        "found": np.mean([info["num_found"] / 2 for info in infos]),
        "spl": np.mean([info["spl"] for info in infos]),
        "sna": np.mean([info["sna"] for info in infos]),
        "return": np.mean(returns),
        "actions": np.mean([info["num_actions"] for info in infos]),
        **{f"reward/{term}": np.mean([episode["sums"][term] for episode in episodes]) for term in TERMS},
    }
    assert len(set(returns)) > 1
    for tag, value in expected.items():
        assert scalars(read, f"eval/{tag}") == {50: pytest.approx(value, rel=1e-5)}, tag


def test_values_are_those_of_the_recorded_episodes(logged: Logged) -> None:
    read, episodes = logged
    values = np.concatenate([episode["values"] for episode in episodes[:2]])
    ordered = np.array([sorted(row, reverse=True) for row in values.tolist()])
    assert scalars(read, "eval/q_value/best") == {50: pytest.approx(ordered[:, 0].mean(), rel=1e-5)}
    assert scalars(read, "eval/q_value/gap") == {50: pytest.approx((ordered[:, 0] - ordered[:, 1]).mean(), rel=1e-4)}


def check_histogram(read: EventAccumulator, tag: str, values: np.ndarray) -> None:
    (event,) = read.Histograms(tag)
    histogram = event.histogram_value
    assert event.step == 50
    assert histogram.num == values.size
    assert histogram.min == pytest.approx(values.min(), rel=1e-5)
    assert histogram.max == pytest.approx(values.max(), rel=1e-5)
    assert histogram.sum == pytest.approx(values.sum(), rel=1e-4, abs=1e-4)
    counts, _ = np.histogram(values, [-np.inf, *histogram.bucket_limit])
    assert histogram.bucket == counts.tolist()
    assert np.count_nonzero(counts) > 1


@pytest.mark.parametrize("index", range(4), ids=CUES)
def test_histograms_of_cues(logged: Logged, index: int) -> None:
    read, episodes = logged
    features = np.concatenate([episode["features"] for episode in episodes[:2]])  # two sources of four cues
    check_histogram(read, f"eval/cues/{CUES[index]}", np.concatenate([features[:, index], features[:, 4 + index]]))


@pytest.mark.parametrize("index", range(4), ids=ACTIONS)
def test_histograms_of_values(logged: Logged, index: int) -> None:
    read, episodes = logged
    values = np.concatenate([episode["values"] for episode in episodes[:2]])
    check_histogram(read, f"eval/q_value/{ACTIONS[index]}", values[:, index])


def test_the_sound_is_what_the_ears_heard(logged: Logged) -> None:
    read, episodes = logged
    (event,) = read.Audio("eval/sound")
    decoded, sample_rate = soundfile.read(io.BytesIO(event.encoded_audio_string))
    expected = episodes[0]["sound"]
    assert (event.step, event.content_type) == (50, "audio/wav")
    assert event.sample_rate == sample_rate == 8000
    assert event.length_frames == len(decoded) == expected.shape[1]
    assert decoded.shape[1] == 2
    np.testing.assert_allclose(decoded.T, expected, atol=1 / 32768)
    assert np.abs(expected[0] - expected[1]).max() > 0.01  # so that ears that are exchanged would be seen


def test_the_picture_is_the_room_at_the_end_beside_what_was_heard(logged: Logged) -> None:
    read, episodes = logged
    (event,) = read.Images("eval/picture")
    picture = np.asarray(PIL.Image.open(io.BytesIO(event.encoded_image_string)))
    assert (event.step, event.width, event.height) == (50, 1280, 672)
    assert picture.shape == (672, 1280, 3)
    plan = PlanPainter().paint(episodes[0]["snapshot"])
    np.testing.assert_array_equal(picture[:, : plan.shape[1]], plan)
    assert len(np.unique(picture[:, plan.shape[1] :].reshape(-1, 3), axis=0)) > 100


def test_there_is_nothing_else(logged: Logged) -> None:
    tags = logged[0].Tags()
    ours = [*OUTCOMES, *(f"reward/{term}" for term in TERMS), "q_value/best", "q_value/gap"]
    assert {tag for tag in tags["scalars"] if tag.startswith("eval/")} == {f"eval/{tag}" for tag in ours}
    histograms = [*(f"cues/{name}" for name in CUES), *(f"q_value/{name}" for name in ACTIONS)]
    assert set(tags["histograms"]) == {f"eval/{tag}" for tag in histograms}
    assert (tags["images"], tags["audio"], tags["tensors"]) == (["eval/picture"], ["eval/sound"], [])


@pytest.mark.parametrize(
    ("name", "deterministic"),
    [*((name, True) for name in MODELS), *((name, False) for name in ("DQN", "PPO, normalized", "SAC"))],
)
def test_every_model_is_evaluated_as_it_is_then_and_trains_as_without(
    name: str, deterministic: bool, tiny: SeparatorConfig, tmp_path: Path
) -> None:
    """Against `evaluate` at the same steps; and weights, episodes and all that draws end as in a training alone."""
    suite = suite_of(name)
    env_kwargs = {"pose": name in ON_AUDIO, "source_audio": name in WITH_IDEAL_MASKS}
    results: dict[int, Evaluation] = {}

    def evaluate_too(callback: Calling) -> None:
        if callback.num_timesteps in (24, 48) and deterministic:
            wrap = wrap_by_hand(name, callback.training_env)
            results[callback.num_timesteps] = evaluate(callback.model, suite, wrap, 1, 3, env_kwargs)

    ends = []
    for log in (None, tmp_path):
        notes: list[Any] = []
        model = make_model(name, tiny, notes, log)
        callbacks: list[BaseCallback] = []
        if log is not None:
            callbacks = [
                RolloutCallback(),
                EvaluationCallback(suite, 24, 3, 1, deterministic=deterministic, picture=False),
                Calling(evaluate_too),
            ]
        model.learn(64, callbacks)
        ends.append(everything(model, notes))
    alone, watched = ends
    assert alone.keys() == watched.keys()
    for key, state in alone.items():
        assert state == watched[key], key

    read = events(tmp_path)
    assert list(scalars(read, "eval/success")) == [24, 48]
    for step, result in results.items():
        for tag, metric in zip(OUTCOMES, ["success", "found", "spl", "sna", "episode_return", "steps"], strict=True):
            assert scalars(read, f"eval/{tag}")[step] == pytest.approx(result.values(metric).mean(), rel=1e-5), tag
    tags = {tag for tag in [*read.Tags()["scalars"], *read.Tags()["histograms"]] if tag.startswith("eval/")}
    kind = "action" if name == "SAC" else "q_value" if "DQN" in name else "probability"
    numbers = ["forward", "turn"] if name == "SAC" else ["best", "gap", *ACTIONS]
    assert {f"eval/{kind}/{number}" for number in numbers} == {
        tag for tag in tags if tag.split("/")[1] in ("q_value", "probability", "action")
    }
    assert {tag.split("/")[2] for tag in tags if "cues" in tag} == set(() if "without" in name else CUES)


def wrap_by_hand(name: str, venv: VecEnv) -> Callable[[VecEnv], VecEnv] | None:
    if name in ON_AUDIO:
        return None
    if name == "PPO, normalized":
        assert isinstance(venv, VecNormalize)

        def wrap(raw: VecEnv) -> VecEnv:
            cues = VecSeparatedCues(raw, venv.venv.extractor, ideal=True)  # type: ignore[attr-defined]
            normalized = VecNormalize(cues, training=False, norm_reward=False)
            normalized.obs_rms = venv.obs_rms
            return normalized

        return wrap
    if name == "QRDQN, stacked":
        return lambda raw: VecFrameStack(VecSeparatedCues(raw, venv.venv.extractor), 3)  # type: ignore[attr-defined]
    return lambda raw: VecSeparatedCues(raw, venv.extractor)  # type: ignore[attr-defined]


def everything(model: BaseAlgorithm, notes: list[Any]) -> dict[str, Any]:
    """All that tells one training from another, byte by byte."""
    state: dict[str, Any] = {name: weight.numpy().tobytes() for name, weight in model.policy.state_dict().items()}
    buffer = getattr(model, "replay_buffer", None)
    if buffer is not None:
        state |= {name: getattr(buffer, name).tobytes() for name in ("actions", "rewards", "dones")}
    state["episodes"] = [(steps, sums, info["path_length"]) for steps, sums, info in notes]
    state["python"] = random.getstate()
    state["numpy"] = str(np.random.get_state())  # noqa: NPY002 (SB3 explores with it)
    state["torch"] = torch.get_rng_state().numpy().tobytes()
    state["actions"] = str(model.action_space.np_random.bit_generator.state)
    assert model.env is not None
    state["scenes"] = [str(each.bit_generator.state) for each in model.env.get_attr("np_random")]
    return state


def test_it_is_evaluated_on_a_grid_of_steps_however_often_the_training_goes_on(
    tiny: SeparatorConfig, tmp_path: Path
) -> None:
    model = make_model("DQN", tiny, log=tmp_path)
    callback = EvaluationCallback(SUITE, 25, 1, picture=False)
    for steps in (20, 20, 40):
        model.learn(steps, callback, reset_num_timesteps=model.num_timesteps == 0)
    assert list(scalars(events(tmp_path), "eval/spl")) == [26, 50, 76]


def test_given_wrap_and_env_kwargs_go_before_the_models_own(tiny: SeparatorConfig, tmp_path: Path) -> None:
    model = make_model("DQN", tiny, log=tmp_path)
    wrapped: list[VecEnv] = []

    def wrap(venv: VecEnv) -> VecEnv:
        wrapped.append(venv)
        return VecSeparatedCues(venv, model.get_env().extractor)

    rewards = dict.fromkeys(TERMS, 0.0) | {"step": -3.0}
    callback = EvaluationCallback(SUITE, 20, 3, 1, wrap=wrap, env_kwargs={"rewards": rewards}, picture=False)
    model.learn(20, callback)
    assert len(wrapped) == 2
    read = events(tmp_path)
    ((_, total),), ((_, actions),) = (scalars(read, f"eval/{tag}").items() for tag in ("return", "actions"))
    assert total == pytest.approx(-3 * actions, rel=1e-5)


def test_rewards_are_those_of_the_training(tiny: SeparatorConfig, tmp_path: Path) -> None:
    rewards = dict.fromkeys(TERMS, 0.0) | {"step": -5.0}
    venv = cue_venv(rewards=rewards)
    model = DQN("MlpPolicy", venv, tensorboard_log=str(tmp_path), **Q_LEARNING, **tiny_net())
    model.learn(20, EvaluationCallback(SUITE, 20, 3, 1, picture=False))
    read = events(tmp_path)
    ((_, total),), ((_, actions),) = (scalars(read, f"eval/{tag}").items() for tag in ("return", "actions"))
    assert total == pytest.approx(-5 * actions, rel=1e-5)


def test_without_tensorboard_numbers_go_where_the_others_go(tiny: SeparatorConfig, tmp_path: Path) -> None:
    model = make_model("DQN", tiny)
    model.set_logger(configure(str(tmp_path), ["csv", "json", "log"]))
    model.learn(20, [RolloutCallback(), EvaluationCallback(SUITE, 20, 3, 1)])
    with (tmp_path / "progress.csv").open() as file:
        (row,) = (row for row in csv.DictReader(file) if row["eval/spl"])
    assert row["time/total_timesteps"] == "20"
    assert {key for key in row if key.startswith("eval/")} == {
        *(f"eval/{tag}" for tag in OUTCOMES),
        *(f"eval/reward/{term}" for term in TERMS),
        "eval/q_value/best",
        "eval/q_value/gap",
    }


def test_beside_tensorboard_other_formats_get_the_numbers_alone(tiny: SeparatorConfig, tmp_path: Path) -> None:
    model = make_model("DQN", tiny)
    model.set_logger(configure(str(tmp_path), ["csv", "json", "log", "tensorboard"]))
    model.learn(20, EvaluationCallback(SUITE, 20, 1))
    assert "picture" not in (tmp_path / "progress.csv").read_text()
    assert "cues" not in (tmp_path / "progress.csv").read_text()
    assert "eval/picture" in events(tmp_path).Tags()["images"]


def test_sounds_of_several_channels_are_read_back(tmp_path: Path) -> None:
    sound = np.random.default_rng(0).uniform(-1, 1, (2, 500)).astype(np.float32)
    with SummaryWriter(str(tmp_path)) as writer:
        assert writer.file_writer is not None
        writer.file_writer.add_summary(sound_summary("noise", sound, 16000), 7)
    (event,) = events(tmp_path).Audio("noise")
    decoded, sample_rate = soundfile.read(io.BytesIO(event.encoded_audio_string))
    assert (event.step, event.sample_rate, event.length_frames, sample_rate) == (7, 16000, 500, 16000)
    np.testing.assert_allclose(decoded.T, sound, atol=1 / 32768)


@pytest.mark.parametrize("name", ["every_steps", "num_episodes", "num_recorded"])
def test_counts_below_one(name: str) -> None:
    arguments: dict[str, Any] = {name: 0}
    with pytest.raises(ValueError, match=f"^{name}: expected 1 or more, actual: 0$"):
        EvaluationCallback(SUITE, **arguments)


def test_a_picture_needs_pygame(tiny: SeparatorConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pygame", None)
    with pytest.raises(DependencyNotInstalled, match=r"auralnav\[render\]"):
        EvaluationCallback(SUITE)
    make_model("DQN", tiny, log=tmp_path).learn(20, EvaluationCallback(SUITE, 20, 1, picture=False))
    assert events(tmp_path).Tags()["images"] == []
    assert events(tmp_path).Tags()["audio"] == ["eval/sound"]


def test_an_unknown_wrapper_is_refused_before_the_training(tiny: SeparatorConfig) -> None:
    model = DQN("MlpPolicy", VecCheckNan(cue_venv()), **Q_LEARNING, **tiny_net())
    with pytest.raises(ValueError, match=r"venv: expected no wrappers but .*, actual: \['VecCheckNan'\]. Give wrap="):
        model.learn(20, EvaluationCallback(SUITE, 20, picture=False))
    assert model.num_timesteps == 0


# ---- Trainings -----------------------------------------------------------------------------------------------------


RECIPE = Recipe(
    SUITE,
    "DQN",
    separator="none",
    motion=False,
    num_envs=2,
    steps=96,
    hyperparameters={**{key: value for key, value in Q_LEARNING.items() if key != "seed"}, **tiny_net()},
)


def test_a_training_logs_and_is_the_same_as_without(tmp_path: Path) -> None:
    alone = train(RECIPE, 0, tmp_path / "alone", progress=False)
    logged = train(RECIPE, 0, tmp_path / "logged", None, tmp_path / "log", progress=False, evaluate_every=48)
    for name, weight in alone.policy.state_dict().items():
        assert torch.equal(weight, logged.policy.state_dict()[name]), name
    read = events(tmp_path / "log")
    assert list(scalars(read, "eval/success")) == [48, 96]
    assert {"rollout/spl", "rollout/reward/found"} <= set(read.Tags()["scalars"])


def test_a_training_that_is_not_evaluated_logs_its_episodes(tmp_path: Path) -> None:
    train(RECIPE, 0, tmp_path / "run", None, tmp_path / "log", progress=False)
    tags = events(tmp_path / "log").Tags()["scalars"]
    assert "rollout/spl" in tags
    assert not any(tag.startswith("eval/") for tag in tags)


def test_a_training_that_goes_on_goes_on_logging(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class CutOffError(Exception):
        pass

    def cut_off(self: RolloutCallback) -> bool:
        if self.num_timesteps == 60:
            raise CutOffError
        return True

    def go() -> None:
        train(RECIPE, 0, tmp_path / "run", None, tmp_path / "log", progress=False, evaluate_every=24)

    with monkeypatch.context() as patch:
        patch.setattr(RolloutCallback, "_on_step", cut_off)
        with pytest.raises(CutOffError):
            go()
    go()
    assert list(scalars(events(tmp_path / "log"), "eval/success")) == [24, 48, 72, 96]


def test_evaluations_need_a_place_to_be_shown(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="evaluate_every: expected None without tensorboard_log, where it is shown"):
        train(RECIPE, 0, tmp_path, evaluate_every=10)
    assert not list(tmp_path.iterdir())
