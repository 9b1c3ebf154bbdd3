"""A training learns in the world it is given, and one that was cut off goes on where it was."""

from __future__ import annotations

import copy
import dataclasses
import json
import math
import warnings
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3 import DQN
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import VecEnv, unwrap_vec_wrapper

from auralnav_gym import SUITES, Rewards, Suite
from auralnav_sb3 import (
    RECIPES,
    Recipe,
    SeparatedCuesExtractor,
    VecSeparatedCues,
    evaluate,
    extract_features,
    extractor_kwargs,
    make_cue_env,
    make_model,
    read_log,
    to_audio,
    train,
    training,
    wrap_like,
)

SUITE = Suite("tiny", seeds=range(1000, 1004), env_kwargs={"listen_seconds": 0.05, "max_episode_steps": 12})
CONTINUOUS = Suite("tiny-drives", seeds=SUITE.seeds, env_kwargs={**SUITE.env_kwargs, "actions": "continuous"})
DISTRACTORS = dataclasses.replace(SUITE, env_id="AuralNav-Distractors-v0")
KINDS = SUITE.train_sounds.kinds
TINY_NET = {"policy_kwargs": {"net_arch": [8]}}
QUICK_Q = {"learning_starts": 10, "gradient_steps": 1, "batch_size": 16, "buffer_size": 500, **TINY_NET}
QUICK: dict[str, dict[str, Any]] = {
    "DQN": QUICK_Q,
    "QRDQN": {**QUICK_Q, "policy_kwargs": {"net_arch": [8], "n_quantiles": 5}},
    "PPO": {"n_steps": 8, "batch_size": 16, "n_epochs": 1, **TINY_NET},
    "A2C": {"n_steps": 8, **TINY_NET},
    "RecurrentPPO": {
        "n_steps": 8,
        "batch_size": 16,
        "n_epochs": 1,
        "policy_kwargs": {"net_arch": [8], "lstm_hidden_size": 4},
    },
    "SAC": QUICK_Q,
    "TD3": QUICK_Q,
}


def suite_for(algorithm: str) -> Suite:
    return CONTINUOUS if algorithm in ("SAC", "TD3") else SUITE


def quick(algorithm: str = "DQN", **changes: Any) -> Recipe:
    chosen = {
        "suite": suite_for(algorithm),
        "separator": "none",
        "motion": False,
        "num_envs": 2,
        "steps": 96,
        "hyperparameters": QUICK[algorithm],
    }
    return Recipe(algorithm=algorithm, **{**chosen, **changes})


def weights(model: BaseAlgorithm) -> torch.Tensor:
    return torch.cat([weight.detach().flatten() for weight in model.policy.parameters()])


def scenes(venv: VecEnv, resets: int = 2) -> Iterator[tuple[float, ...]]:
    for _ in range(resets):
        venv.reset()
        for scene in venv.get_attr("scene"):
            yield (scene.pose.x, scene.pose.y, scene.pose.heading)


class CutOffError(Exception):
    """Stands for a kill."""


def train_until_checkpoint(number: int, recipe: Recipe, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Train until right after so many checkpoints have been written."""
    write, written = training._write_checkpoint, []

    def write_and_die(*args: Any) -> None:
        write(*args)
        written.append(args)
        if len(written) == number:
            raise CutOffError

    with monkeypatch.context() as patch:
        patch.setattr(training, "_write_checkpoint", write_and_die)
        with pytest.raises(CutOffError):
            train(recipe, 0, folder, progress=False)


class TestRecipe:
    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"algorithm": "DDPG"}, r"algorithm: expected one of \['DQN', .*\], actual 'DDPG'"),
            ({"frames": 0}, "frames: expected at least 1, actual 0"),
            ({"num_envs": 0}, "num_envs: expected at least 1, actual 0"),
            ({"steps": -5}, "steps: expected at least 1, actual -5"),
            ({"mirror": True, "algorithm": "PPO"}, "mirror: expected False for PPO"),
            ({"slots": "all"}, r"slots: expected one of \['sources', 'target'\], actual 'all'"),
            ({"slots": "target"}, 'order: expected "none" with slots="target", .* actual \'energy\'; set order="none"'),
        ],
        ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
    )
    def test_bad_values(self, changes: dict[str, Any], message: str) -> None:
        with pytest.raises(ValueError, match=message):
            Recipe(**changes)

    def test_settings_are_json_with_defaults_filled_in(self) -> None:
        recipe = quick(rewards={"step": -0.5}, separator=Path("a/b.pth"))
        settings = recipe.settings(seed=3)
        assert json.loads(json.dumps(settings)) == settings
        assert settings["seed"] == 3
        assert settings["suite"] == "tiny"
        assert settings["separator"] == str(Path("a/b.pth"))
        assert settings["rewards"]["step"] == -0.5
        assert settings["rewards"]["found"] == Rewards.default().found
        assert settings["hyperparameters"]["buffer_size"] == 500
        assert settings["hyperparameters"]["gamma"] == training.HYPERPARAMETERS["DQN"]["gamma"]

    def test_sounds_beside_a_suite_with_its_own(self) -> None:
        with pytest.raises(ValueError, match=r"sounds: expected None beside a suite that has its own \('tiny'\)"):
            make_cue_env(quick(), seed=0, sounds="folder")


class TestEnvironment:
    @pytest.mark.parametrize(
        ("changes", "width"),
        [
            ({}, 8),
            ({"aggregation": "mean"}, 6),
            ({"pose": True}, 12),
            ({"motion": True}, 10),
            ({"frames": 3, "pose": True, "motion": True}, 42),
            ({"separator": "ideal"}, 8),
            ({"separator": "compact"}, 8),
        ],
        ids=["weighted", "mean", "pose", "motion", "stacked", "ideal", "compact"],
    )
    def test_observations(self, changes: dict[str, Any], width: int) -> None:
        venv: Any = make_cue_env(quick(**changes), seed=0)
        assert venv.observation_space.shape == (width,)
        assert venv.reset().shape == (2, width)
        observation = venv.step(np.zeros(2, dtype=int))[0]
        assert np.isfinite(observation).all()
        assert (observation != 0).any()

    @pytest.mark.parametrize(
        ("changes", "width"),
        [
            ({"slots": "target", "order": "none"}, 8),
            ({"slots": "target", "order": "none", "separator": "ideal", "motion": True, "frames": 2}, 20),
            ({}, 12),
            ({"separator": "ideal"}, 12),
        ],
        ids=["target", "target, ideal", "sources", "sources, ideal"],
    )
    def test_observations_among_distractors(self, changes: dict[str, Any], width: int) -> None:
        venv: Any = make_cue_env(quick(suite=DISTRACTORS, **changes), seed=0)
        assert venv.observation_space.shape == (width,)
        assert venv.reset().shape == (2, width)
        assert (venv.step(np.zeros(2, dtype=int))[0] != 0).any()

    @pytest.mark.parametrize(
        ("goal", "order", "width"),
        [("class", "energy", 8 + len(KINDS)), ("example", "energy", 8), ("example", "example", 8)],
    )
    def test_observations_with_a_goal(self, goal: str, order: str, width: int) -> None:
        suite = dataclasses.replace(SUITE, env_kwargs={**SUITE.env_kwargs, "goal": goal})
        venv: Any = make_cue_env(quick(suite=suite, order=order), seed=0)
        features = venv.reset()
        assert features.shape == (2, width)
        if goal == "class":
            kinds = [[scene.sources[0].sound.kind == kind for kind in KINDS] for scene in venv.get_attr("scene")]
            np.testing.assert_array_equal(features[:, 8:], kinds)
        assert np.isfinite(venv.step(np.zeros(2, dtype=int))[0]).all()

    def test_separator_order_and_seed_reach_the_cues(self) -> None:
        """Against an extractor made by hand, on the same scene."""
        venv: Any = make_cue_env(quick(separator="compact", num_envs=1), seed=5)
        features = venv.reset()
        env = SUITE.make_training_env(pose=False)
        observation, _ = env.reset(options={"scene": venv.get_attr("scene")[0]})
        extractor = SeparatedCuesExtractor(
            env.observation_space, separator="compact", order="energy", seed=5, **extractor_kwargs(env)
        )
        expected = extract_features(extractor, {"audio": observation["audio"][None]})
        np.testing.assert_allclose(features, expected, atol=1e-5)

    def test_trains_on_training_sounds_with_the_rewards(self) -> None:
        venv = make_cue_env(quick(rewards={"step": -7.0, "progress": 0.0}), seed=0)
        heard = set()
        for _ in range(10):
            venv.reset()
            heard |= {source.sound.name for scene in venv.get_attr("scene") for source in scene.sources}
        assert heard <= {sound.name for sound in SUITE.train_sounds}
        assert (venv.step(np.full(2, 2))[1] == -7.0).all()

    def test_same_seed_same_scenes_and_no_two_seeds_share_one(self) -> None:
        drawn = [list(scenes(make_cue_env(quick(num_envs=4), seed))) for seed in (0, 0, 1, 2)]
        assert drawn[0] == drawn[1]
        assert len({scene for each in drawn for scene in each}) == 3 * len(drawn[0])


class TestModel:
    @pytest.mark.parametrize("algorithm", training.ALGORITHMS)
    def test_algorithm_and_hyperparameters(self, algorithm: str) -> None:
        suite, hyperparameters = suite_for(algorithm), {"learning_rate": 0.25}
        recipe = Recipe(suite=suite, algorithm=algorithm, separator="none", hyperparameters=hyperparameters)
        before = repr(training.HYPERPARAMETERS)
        models: list[Any] = [make_model(recipe, make_cue_env(recipe, seed=1), seed) for seed in (1, 1, 2)]
        assert type(models[0]).__name__ == algorithm
        assert models[0].learning_rate == 0.25
        assert models[0].gamma == training.HYPERPARAMETERS[algorithm]["gamma"]
        assert torch.equal(weights(models[0]), weights(models[1]))
        assert not torch.equal(weights(models[0]), weights(models[2]))
        assert repr(training.HYPERPARAMETERS) == before  # some algorithms write into what they are given

    def test_n_step_returns(self) -> None:
        recipe = Recipe(suite=SUITE, separator="none")
        model: Any = make_model(recipe, make_cue_env(recipe, seed=0), seed=0)
        assert model.replay_buffer.n_steps == training.HYPERPARAMETERS["DQN"]["n_steps"] > 1

    @pytest.mark.parametrize("frames", [1, 3])
    def test_mirrored_transitions_keep_their_returns(self, frames: int) -> None:
        recipe = quick("DQN", motion=True, mirror=True, frames=frames, hyperparameters={**QUICK_Q, "gamma": 0.9})
        venv = make_cue_env(recipe, seed=0)
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # SB3 warns of n-step returns that it would not make
            model: Any = make_model(recipe, venv, seed=0)
        buffer = model.replay_buffer
        assert (buffer.n_steps, buffer.gamma) == (training.HYPERPARAMETERS["DQN"]["n_steps"], 0.9)
        # Two sources of sine and cosine of the IPD, ILD and volume; then metres along the heading and the turn.
        assert buffer.signs.tolist() == [-1, 1, -1, 1, -1, 1, -1, 1, 1, -1] * frames
        assert to_audio(model).replay_buffer.n_steps == buffer.n_steps


class TestTrain:
    def test_a_mirrored_training_goes_on_where_it_was_cut_off(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        recipe = quick("DQN", mirror=True)
        train_until_checkpoint(2, recipe, tmp_path, monkeypatch)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            model: Any = train(recipe, 0, tmp_path, progress=False)
        assert model.num_timesteps == 96
        assert model.replay_buffer.n_steps == training.HYPERPARAMETERS["DQN"]["n_steps"]
        assert model.replay_buffer.signs.tolist() == [-1, 1, -1, 1] * 2

    @pytest.mark.parametrize("separator", ["none", "ideal"])
    def test_the_slots_of_the_training_are_those_of_the_evaluation(self, separator: str, tmp_path: Path) -> None:
        recipe = quick("QRDQN", suite=DISTRACTORS, slots="target", order="none", separator=separator, frames=2)
        model = train(recipe, 0, tmp_path, progress=False)
        venv = model.get_env()
        assert venv is not None
        wrap = wrap_like(venv)
        assert len(evaluate(model, DISTRACTORS, wrap, env_kwargs=recipe.env_kwargs).episodes) == 4
        cues = unwrap_vec_wrapper(
            wrap(make_vec_env(DISTRACTORS.make_env, 1, env_kwargs=recipe.env_kwargs)), VecSeparatedCues
        )
        assert isinstance(cues, VecSeparatedCues)
        assert (cues.slots, cues.ideal) == ("target", separator == "ideal")
        assert read_log(tmp_path).settings["slots"] == "target"

    @pytest.mark.parametrize("algorithm", training.ALGORITHMS)
    def test_trains_and_leaves_model_and_log(self, algorithm: str, tmp_path: Path) -> None:
        recipe = quick(algorithm)
        model = train(recipe, 0, tmp_path, progress=False)
        untrained = make_model(recipe, make_cue_env(recipe, 0), 0)
        assert not torch.equal(weights(model), weights(untrained))
        assert model.num_timesteps == 96
        assert sorted(path.name for path in tmp_path.iterdir()) == ["log.json", "model.zip"]
        log = read_log(tmp_path)
        assert log.settings == recipe.settings(0)
        assert [steps for steps, _ in log.curve] == list(range(2, 97, 2))
        assert log.seconds > 0

        finished_at = (tmp_path / "model.zip").stat().st_mtime_ns
        again = train(recipe, 0, tmp_path, progress=False)
        assert torch.equal(weights(again), weights(model))
        assert (tmp_path / "model.zip").stat().st_mtime_ns == finished_at
        venv = again.get_env()
        assert venv is not None
        wrap = wrap_like(venv)
        assert len(evaluate(again, suite_for(algorithm), wrap, env_kwargs=recipe.env_kwargs).episodes) == 4

    @pytest.mark.parametrize("algorithm", training.ALGORITHMS)
    def test_goes_on_where_it_was_cut_off(
        self, algorithm: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        recipe = quick(algorithm)
        train_until_checkpoint(2, recipe, tmp_path, monkeypatch)
        (checkpoint,) = tmp_path.glob("checkpoint-*")
        half = training._load(checkpoint, recipe, make_cue_env(recipe, 0), 0, None)
        before = read_log(checkpoint)
        assert 0 < half.num_timesteps < 96
        with pytest.raises(FileNotFoundError):
            read_log(tmp_path)

        started_with: list[Any] = []
        learn = training.ALGORITHMS[algorithm].learn

        def note_and_learn(self: BaseAlgorithm, *args: Any, **kwargs: Any) -> BaseAlgorithm:
            started_with.extend([weights(self).clone(), copy.deepcopy(getattr(self, "replay_buffer", None))])
            return learn(self, *args, **kwargs)

        monkeypatch.setattr(training.ALGORITHMS[algorithm], "learn", note_and_learn)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            model: Any = train(recipe, 0, tmp_path, progress=False)
        assert torch.equal(started_with[0], weights(half))
        assert not torch.equal(started_with[0], weights(model))
        assert model.num_timesteps == 96
        log = read_log(tmp_path)
        assert log.curve[: len(before.curve)] == before.curve
        assert [steps for steps, _ in log.curve] == list(range(2, 97, 2))
        assert log.seconds > before.seconds
        if started_with[1] is not None:
            kept = started_with[1]
            assert kept.pos == half.num_timesteps // 2
            np.testing.assert_array_equal(model.replay_buffer.observations[: kept.pos], kept.observations[: kept.pos])
            # New episodes follow in the buffer: returns end there, unless an episode ended of itself.
            assert np.logical_or(kept.timeouts, kept.dones)[kept.pos - 1].all()

    def test_exploration_goes_on_along_its_schedule(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        recipe = quick(hyperparameters={**QUICK["DQN"], "exploration_fraction": 1.0, "exploration_final_eps": 0.0})
        train_until_checkpoint(5, recipe, tmp_path, monkeypatch)
        rates: dict[int, float] = {}
        monkeypatch.setattr(
            training._Recorder,
            "_on_step",
            lambda self: rates.update({self.num_timesteps: self.model.exploration_rate}) or True,
        )
        train(recipe, 0, tmp_path, progress=False)
        steps = sorted(rates)[1:]  # SB3 sets the rate of a step after its callback
        assert steps[0] < 70
        for each in steps:
            assert rates[each] == pytest.approx(1 - (each - 2) / 96, abs=1e-9)

    def test_what_follows_a_break_is_no_repetition(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        recipe = quick()
        train_until_checkpoint(2, recipe, tmp_path, monkeypatch)
        (checkpoint,) = tmp_path.glob("checkpoint-*")
        venv = training._load(checkpoint, recipe, make_cue_env(recipe, 0), 0, None).get_env()
        assert venv is not None
        assert not {*scenes(venv)} & {*scenes(make_cue_env(recipe, 0), resets=10)}

    def test_a_kill_while_a_checkpoint_is_written_leaves_the_one_before(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        recipe = quick()
        saves = []

        def save_half(self: DQN, path: Path) -> None:
            saves.append(path)
            path.write_bytes(b"half")
            if len(saves) == 2:
                raise CutOffError
            save(self, path)

        save = DQN.save_replay_buffer
        with monkeypatch.context() as patch:
            patch.setattr(DQN, "save_replay_buffer", save_half)
            with pytest.raises(CutOffError):
                train(recipe, 0, tmp_path, progress=False)
        (checkpoint,) = tmp_path.glob("checkpoint-*")
        assert checkpoint.name == "checkpoint-10"
        assert train(recipe, 0, tmp_path, progress=False).num_timesteps == 96
        assert sorted(path.name for path in tmp_path.iterdir()) == ["log.json", "model.zip"]

    @pytest.mark.parametrize("finished", [True, False], ids=["finished", "cut off"])
    def test_refuses_the_folder_of_another_training(
        self, finished: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        if finished:
            train(quick(), 0, tmp_path, progress=False)
        else:
            train_until_checkpoint(1, quick(), tmp_path, monkeypatch)
        message = (
            r"holds a training with other settings: expected {'aggregation': 'mean', 'seed': 1}, "
            r"actual {'aggregation': 'weighted', 'seed': 0}; take another folder or remove it"
        )
        with pytest.raises(ValueError, match=message):
            train(quick(aggregation="mean"), 1, tmp_path, progress=False)

    def test_progress_is_printed_if_asked_for(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        train(quick(), 0, tmp_path / "quiet", progress=False)
        assert capsys.readouterr().out == ""
        train(quick(), 0, tmp_path / "told")
        assert "96 / 96 steps" in capsys.readouterr().out


def test_curve_and_steps_to_target_are_those_of_the_definition(tmp_path: Path) -> None:
    """Against a list of all episodes: 100 of them are successes more and more often."""
    rng = np.random.default_rng(0)
    recorder = training._Recorder(training.TrainingLog({}), tmp_path, steps=2000)
    successes: deque[bool] = deque(maxlen=100)
    model = SimpleNamespace(num_timesteps=0, ep_success_buffer=successes)
    recorder.model = model  # type: ignore[assignment]
    recorder._on_training_start()
    episodes: list[bool] = []
    expected_curve, expected_target = [], None
    for steps in range(4, 2001, 4):
        model.num_timesteps = steps
        recorder._on_step()
        share = sum(episodes[-100:]) / 100
        if steps % 20 == 0:
            expected_curve.append((steps, share))
        if expected_target is None and share >= 0.95:
            expected_target = steps
        episode = bool(rng.random() < steps / 1000)
        episodes.append(episode)
        successes.append(episode)
    log = recorder.log()
    assert log.curve == tuple(expected_curve)
    assert log.steps_to_target == expected_target
    assert expected_target is not None
    assert math.isclose(max(share for _, share in log.curve), 1.0)


def test_there_is_a_recipe_for_every_published_suite() -> None:
    assert set(RECIPES) == set(SUITES)
    for suite, recipe in RECIPES.items():
        assert recipe.suite == suite
        space = gym.spec(SUITES[suite].env_id).make().action_space
        # DQN and QR-DQN take one of a few actions, SAC and TD3 some numbers.
        assert isinstance(space, spaces.Discrete) == (recipe.algorithm in ("DQN", "QRDQN"))


def test_evaluation_separates_with_the_separator_of_the_training() -> None:
    recipe = quick(separator="compact", frames=2)
    venv = make_cue_env(recipe, seed=0)
    audio = make_vec_env(SUITE.make_env, 1, env_kwargs={"pose": False})
    wrapped = wrap_like(venv)(audio)
    assert wrapped.observation_space == venv.observation_space
    cues, of_training = (unwrap_vec_wrapper(each, VecSeparatedCues) for each in (wrapped, venv))
    assert isinstance(cues, VecSeparatedCues)
    assert isinstance(of_training, VecSeparatedCues)
    assert cues.extractor is of_training.extractor
