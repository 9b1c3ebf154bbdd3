"""What an agent learns when it goes on, with gradients that reach its separator and with such that do not."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from sb3_contrib import QRDQN
from stable_baselines3 import DQN, PPO
from stable_baselines3.common.vec_env import DummyVecEnv, VecFrameStack

from auralnav_gym import SyntheticSounds
from auralnav_sb3 import (
    Evaluation,
    Separator,
    SeparatorConfig,
    VecSeparatedCues,
    extractor_kwargs,
    load_separator,
    separation,
)
from auralnav_sb3.evaluation import Episode
from auralnav_sb3.finetuning import (
    END_TO_END,
    FROZEN,
    NOT_AT_ALL,
    WAYS,
    Finetuning,
    FinetuningRun,
    SceneScores,
    finetune,
    measure_separators,
    separator_of,
    to_csv,
    to_markdown,
)
from auralnav_sb3.pretraining import Mixtures, evaluate_separator

MakeEnv = Callable[..., gym.Env]
NUM_ENVS = 2
SETTINGS = Finetuning(20, 10, batch_size=4, gradient_steps=3, learning_rate=3e-3, exploration_rate=0.2)
# A bound on the norm of gradients that those of a separator would make felt.
ALGORITHMS: dict[type[DQN | QRDQN], dict[str, Any]] = {
    DQN: {"max_grad_norm": 1e-3},
    QRDQN: {"policy_kwargs": {"n_quantiles": 5}},
}


def make_model(
    make_env: MakeEnv, tiny: SeparatorConfig, algorithm: type[DQN | QRDQN] = QRDQN, **arguments: Any
) -> DQN | QRDQN:
    raw = DummyVecEnv([make_env] * NUM_ENVS)
    venv = VecFrameStack(VecSeparatedCues(raw, separator=tiny, order="energy", **extractor_kwargs(raw)), 2)
    learning: dict[str, Any] = {"learning_starts": 8, "batch_size": 8, "buffer_size": 60, "n_steps": 3}
    learning |= {"target_update_interval": 8, "learning_rate": lambda left: 1e-2 * left}
    return algorithm("MlpPolicy", venv, seed=0, device="cpu", **learning, **arguments).learn(24)


def weights_of(model: DQN | QRDQN) -> torch.Tensor:
    """Those of the policy, its target included."""
    return torch.cat([weight.flatten() for weight in model.policy.state_dict().values()])


def separator_weights(model: DQN | QRDQN) -> torch.Tensor:
    return torch.cat([weight.detach().flatten().clone() for weight in separator_of(model).parameters()])


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_the_ways_differ_in_nothing_but_the_gradients_of_the_separator(
    algorithm: type[DQN | QRDQN], make_env: MakeEnv, tiny: SeparatorConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """End to end with a separator whose steps are too small to matter is what is learned on its cues."""
    monkeypatch.setattr(separation, "has_bfloat16_units", lambda: False)
    model = make_model(make_env, tiny, algorithm, **ALGORITHMS[algorithm])
    begun = weights_of(model)
    frozen = weights_of(finetune(model, FROZEN, SETTINGS, seed=1))
    moved = (frozen - begun).norm()

    def distance(way: str, scale: float, seed: int) -> float:
        settings = Finetuning(**{**vars(SETTINGS), "separator_lr_scale": scale})
        return float((weights_of(finetune(model, way, settings, seed)) - frozen).norm() / moved)

    # Not 0: the replay buffer rounds to 16 bits, and of a gradient that is next to nothing Adam makes a step.
    assert distance(END_TO_END, 1e-9, seed=1) < 0.05
    assert distance(END_TO_END, 0.1, seed=1) > 0.1
    assert distance(FROZEN, 0.1, seed=2) > 0.3


def test_gradients_reach_the_separator_end_to_end_alone(make_env: MakeEnv, tiny: SeparatorConfig) -> None:
    model = make_model(make_env, tiny)
    before, policy = separator_weights(model), weights_of(model)
    end_to_end, frozen = (finetune(model, way, SETTINGS) for way in (END_TO_END, FROZEN))
    assert torch.equal(separator_weights(model), before)
    assert torch.equal(weights_of(model), policy)
    assert torch.equal(separator_weights(frozen), before)
    moved = (separator_weights(end_to_end) - before).abs()
    # Adam's steps are about as long as its learning rate at most; 30 of them, ten of all environments with three each.
    longest = 30 * SETTINGS.learning_rate * SETTINGS.separator_lr_scale
    assert longest / 100 < moved.mean()
    assert moved.max() < 2 * longest
    assert not any(weight.requires_grad for weight in separator_of(end_to_end).parameters())
    assert finetune(model, NOT_AT_ALL, SETTINGS) is model


@pytest.mark.parametrize("exploration_rate", [0.0, 1.0])
def test_it_plays_before_it_learns(exploration_rate: float, make_env: MakeEnv, tiny: SeparatorConfig) -> None:
    model = make_model(make_env, tiny)
    model.learning_starts = 1_000  # it is far from random play all the same
    settings = Finetuning(**{**vars(SETTINGS), "warmup": 40, "exploration_rate": exploration_rate})
    tuned = finetune(model, FROZEN, settings)
    assert tuned.num_timesteps == 24 + 40 + 20
    assert tuned._n_updates - model._n_updates == 20 // NUM_ENVS * 3
    assert [group["lr"] for group in tuned.policy.optimizer.param_groups] == [3e-3]
    buffer: Any = tuned.replay_buffer
    assert buffer.size() == (40 + 20) // NUM_ENVS
    assert buffer.n_steps == 3
    heard = buffer.observations[: 40 // NUM_ENVS].reshape(40, -1)
    own, _ = model.predict(heard, deterministic=True)
    share = (own == buffer.actions[: 40 // NUM_ENVS].ravel()).mean()
    # By chance a quarter, of 40 draws in pairs: 0.25 +- 0.07.
    assert share == 1.0 if exploration_rate == 0 else share < 0.6


def test_what_cannot_go_on(make_env: MakeEnv, tiny: SeparatorConfig) -> None:
    raw = DummyVecEnv([make_env])
    ppo = PPO("MlpPolicy", VecSeparatedCues(raw, separator=tiny, **extractor_kwargs(raw)), device="cpu")
    with pytest.raises(TypeError, match="model: expected DQN or QRDQN, whose loss is TD, actual PPO"):
        finetune(ppo, FROZEN, SETTINGS)
    with pytest.raises(ValueError, match=r"way: expected one of \['not at all', .*\], actual 'partly'"):
        finetune(ppo, "partly", SETTINGS)
    with pytest.raises(ValueError, match="model: expected one with VecSeparatedCues in its environment"):
        separator_of(DQN("MultiInputPolicy", raw, buffer_size=1, device="cpu"))
    for name, value in (("steps", 0), ("warmup", 0), ("gradient_steps", 0), ("exploration_rate", 1.5)):
        with pytest.raises(ValueError, match=f"{name}: expected .*, actual {value}"):
            Finetuning(**{name: value})
    for value in (0.0, float("inf"), float("nan")):
        with pytest.raises(ValueError, match=f"learning_rate: expected a number above 0, actual {value}"):
            Finetuning(learning_rate=value)


def test_separators_are_measured_in_the_same_scenes() -> None:
    """The mixture in every slot improves nothing, and is as loud as itself in an empty one."""
    mixtures = Mixtures(SyntheticSounds(per_kind=2, seconds=1.0), ("speech",), seed=3, num_samples=800)
    config = SeparatorConfig(n_filters=8, kernel_size=16, stride=8, bn_chan=8, hid_size=4, chunk_size=10, n_repeats=1)
    untrained = Separator.from_config(config).eval()
    mixture, other = measure_separators([load_separator("none"), untrained], mixtures, 12)
    np.testing.assert_allclose(mixture.si_sdr_improvement, 0, atol=1e-4)
    np.testing.assert_allclose(mixture.empty_db, 0, atol=1e-4)
    assert len(mixture.si_sdr) == len(other.si_sdr) <= 12
    assert 0 < len(mixture.empty_db) == len(other.empty_db) <= 12
    together = evaluate_separator(untrained, mixtures, 12)[-1]
    for scores, interval in (
        (other.si_sdr, together.si_sdr),
        (other.si_sdr_improvement, together.si_sdr_improvement),
        (other.empty_db, together.empty_db),
    ):
        assert np.mean(scores) == pytest.approx(interval.mean, abs=1e-4)


def made_up(way: str, seed: int) -> FinetuningRun:
    """Every other episode of 40 is a success; end to end, the last of each ten besides, and 1 dB is gained."""
    rng = np.random.default_rng(seed)
    episodes = [float(number % 2 == 0 or (way == END_TO_END and number % 10 == 9)) for number in range(40)]
    scenes = rng.normal(5, 3, 20)
    before, after = (
        SceneScores(tuple((scenes + gain).tolist()), tuple((scenes + 6 + gain).tolist()), (-20.0 - gain,))
        for gain in (0.0, 1.0 * (way == END_TO_END))
    )
    played = tuple(Episode(each, each, each / 2, each / 4, 1.0, 30.0) for each in episodes)
    return FinetuningRun(way, seed, Evaluation("tiny", played), before, after, 90.0)


def test_tables(tmp_path: Path) -> None:
    runs = [made_up(way, seed) for way in WAYS for seed in (0, 1, 2)]
    text = to_markdown(runs)
    rows = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in text.splitlines() if line[:1] == "|"]
    names = ["success", "SPL", "SI-SDR before, dB", "SI-SDR after, dB", "change, dB"]
    assert rows[0] == ["fine-tuning", "suite", "runs", *names, "minutes"]
    assert [row[:3] for row in rows[2:5]] == [[way, "tiny", "3"] for way in WAYS]
    assert [row[3][:4] for row in rows[2:5]] == ["0.50", "0.50", "0.60"]
    assert [row[4][:4] for row in rows[2:5]] == ["0.25", "0.25", "0.30"]
    before = np.mean([made_up(FROZEN, seed).before.si_sdr for seed in (0, 1, 2)])
    assert [row[5].split()[0] for row in rows[2:5]] == [f"{before:.2f}"] * 3
    assert [row[6].split()[0] for row in rows[2:5]] == [f"{before + gain:.2f}" for gain in (0, 0, 1)]
    assert [row[7] for row in rows[2:5]] == ["0.00 [0.00, 0.00]", "0.00 [0.00, 0.00]", "1.00 [1.00, 1.00]"]
    assert [row[8] for row in rows[2:5]] == ["1.5"] * 3
    assert rows[5] == ["difference", "success", "SPL", "SI-SDR after, dB"]
    differences = {row[0]: row[1:] for row in rows[7:]}
    assert differences[f"{FROZEN} - {NOT_AT_ALL}"] == ["0.00 [0.00, 0.00]"] * 3
    assert differences[f"{END_TO_END} - {FROZEN}"] == differences[f"{END_TO_END} - {NOT_AT_ALL}"]
    gained, _, louder = differences[f"{END_TO_END} - {FROZEN}"]
    assert louder == "1.00 [1.00, 1.00]"  # in pairs: the same gain in every scene, however much these differ
    # In pairs, four of 40 episodes are gained by all runs: binomial, 2.5 % of the draws have 1 or fewer, 9 or more.
    mean, low, high = (float(number.strip("[,]")) for number in gained.split())
    assert (mean, low, high) == (0.1, pytest.approx(1 / 40, abs=0.026), pytest.approx(8 / 40, abs=0.026))
    assert "evaluated on 40 episodes and 20 scenes" in text

    to_csv(runs, tmp_path / "results.csv")
    with (tmp_path / "results.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert [(line["way"], int(line["seed"])) for line in lines] == [(way, seed) for way in WAYS for seed in (0, 1, 2)]
    assert float(lines[-1]["success"]) == pytest.approx(0.6)
    assert float(lines[-1]["si_sdr_after"]) - float(lines[-1]["si_sdr_before"]) == pytest.approx(1.0)
    gain = float(lines[-1]["si_sdr_improvement_after"]) - float(lines[-1]["si_sdr_before"])
    assert gain == pytest.approx(7.0)
    assert (float(lines[-1]["empty_db_before"]), float(lines[-1]["empty_db_after"])) == (-20.0, -21.0)
