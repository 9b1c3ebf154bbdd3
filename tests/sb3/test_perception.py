"""What a model makes of what it hears, against numpy, SB3's own runs and the frequencies of what it draws."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from sb3_contrib import QRDQN, TQC, MaskablePPO, RecurrentPPO
from stable_baselines3 import A2C, DDPG, DQN, PPO, SAC, TD3
from stable_baselines3.common.vec_env import DummyVecEnv, VecFrameStack

from auralnav_gym.movement import ContinuousActions, DiscreteActions
from auralnav_gym.recording import Perceiver, Perception
from auralnav_sb3 import (
    Normalization,
    SeparatedCuesExtractor,
    SeparatorConfig,
    VecSeparatedCues,
    load_separator,
    to_audio,
)
from auralnav_sb3.perception import ModelPerceiver, action_values, perceive

N, FFT, HOP = 800, 256, 128
RATE = 8000


def space(num_ears: int = 2, **parts: int) -> spaces.Dict:
    heard = {"audio": spaces.Box(-1.0, 1.0, (num_ears, N), np.float32)}
    return spaces.Dict({**heard, **{key: spaces.Box(-1.0, 1.0, (size,), np.float32) for key, size in parts.items()}})


def noise(*shape: int, seed: int = 0, gain: float = 0.1) -> np.ndarray:
    return (gain * np.random.default_rng(seed).standard_normal(shape)).astype(np.float32)


def spectra(signals: np.ndarray) -> np.ndarray:
    """(..., N) -> (..., F, W) complex128: periodic Hann windows centred on multiples of the hop, the ends mirrored."""
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(FFT) / FFT)
    padding = [(0, 0)] * (signals.ndim - 1) + [(FFT // 2, FFT // 2)]
    padded = np.pad(signals.astype(np.float64), padding, mode="reflect")
    starts = range(0, padded.shape[-1] - FFT + 1, HOP)
    return np.stack([np.fft.rfft(window * padded[..., start : start + FFT]) for start in starts], axis=-1)


def loudness_of(separated: np.ndarray) -> float:
    return float(np.sqrt(np.mean(separated.astype(np.float64) ** 2)))


# ---- Sources, masks and cues -----------------------------------------------------------------------------------------


def test_of_one_sound_that_both_ears_hear_in_phase() -> None:
    """Unseparated, every source is the whole mixture: masks of 1, and the cues tell by how much the left is louder."""
    extractor = SeparatedCuesExtractor(space(), "none", hop_length=100)
    left_is_louder = 10 ** (6.0 / 20)
    mono = noise(3, 1, N)
    perceptions = perceive(extractor, np.concatenate((left_is_louder * mono, mono), axis=1))
    assert len(perceptions) == 3
    for heard, told in zip(mono, perceptions, strict=True):
        np.testing.assert_allclose(told.sources, np.repeat(heard * (left_is_louder + 1) / 2, 2, axis=0), rtol=1e-5)
        assert told.masks.shape == (2, 129, 9)  # 0 to 4 kHz; 800 samples, 100 a hop, both ends
        np.testing.assert_allclose(told.masks, 1.0, atol=1e-4)
        assert told.cue_names == ("sin_ipd", "cos_ipd", "ild", "log_volume")
        np.testing.assert_allclose(told.cues[:, :3], [[0.0, 1.0, 0.6]] * 2, atol=1e-5)  # the ILD in units of 10 dB
        assert told.hop == 100
        assert {part.dtype for part in (told.sources, told.masks, told.cues)} == {np.dtype(np.float32)}
        assert told.values.shape == (0,)
        assert (told.value_names, told.value_kind) == ((), "")


@pytest.mark.parametrize(
    ("aggregation", "order", "pair"),
    [("weighted", "none", (0, 1)), ("mean", "energy", (0, 1)), ("weighted", "energy", (2, 0))],
    ids=["weighted", "mean, by energy", "another pair"],
)
def test_by_the_definitions(tiny: SeparatorConfig, aggregation: str, order: str, pair: tuple[int, int]) -> None:
    """The sources are the separator's, in order; |source| / mean |ear| are the masks; the cues are the features."""
    extractor = SeparatedCuesExtractor(
        space(3), tiny, aggregation=aggregation, order=order, pair=pair, freeze_separator=False
    ).eval()
    audio = noise(5, 3, N)
    perceptions = perceive(extractor, audio)
    with torch.no_grad():
        pair_alone = torch.as_tensor(audio[:, list(pair)])
        separated = load_separator(extractor.separator, 2, RATE).eval()(pair_alone).numpy()
        features = extractor({"audio": torch.as_tensor(audio)}).numpy().reshape(5, 2, -1)
    orders = set()
    for moment, told in enumerate(perceptions):
        energies = (separated[moment].astype(np.float64) ** 2).sum(axis=1)
        slots = [0, 1] if order == "none" or energies[0] >= energies[1] else [1, 0]
        orders.add(tuple(slots))
        # The same windows in the same batch and in single precision: rounding alone, 1e-7 of what is heard, and that
        # grows by the depth of the network.
        np.testing.assert_allclose(told.sources, separated[moment, slots], atol=1e-5 * loudness_of(separated))
        ears = np.abs(spectra(audio[moment, list(pair)])).mean(axis=0)
        theirs = np.abs(spectra(told.sources))
        np.testing.assert_allclose(told.masks * ears, theirs, atol=1e-4 * theirs.max())
        np.testing.assert_allclose(told.cues, features[moment], atol=1e-5)
        assert len(told.cue_names) == told.cues.shape[1]
    assert order == "none" or (1, 0) in orders  # they were not in order anyway
    assert perceptions[0].cue_names[0] == ("sin_ipd" if aggregation == "weighted" else "ipd")


def test_what_sounds_like_the_example_comes_first() -> None:
    extractor = SeparatedCuesExtractor(space(example=N), "none", order="example")
    tones = [np.sin(2 * np.pi * frequency * np.arange(N) / RATE).astype(np.float32) for frequency in (300.0, 2500.0)]
    sources = np.stack([[tones[0], tones[1]], [tones[1], tones[0]]]) * 0.1
    audio = np.repeat(sources.sum(axis=1, keepdims=True), 2, axis=1)
    for first in (0, 1):
        for told in perceive(extractor, audio, example=0.5 * tones[first], sources=sources):
            np.testing.assert_array_equal(told.sources, [0.1 * tones[first], 0.1 * tones[1 - first]])
    with pytest.raises(ValueError, match=r'^example: expected one for an extractor with order="example", actual None$'):
        perceive(extractor, audio)


def test_given_sources_take_the_place_of_separated_ones(tiny: SeparatorConfig) -> None:
    """Two sources that are heard in different halves of the spectrum: each mask is 1 in its own and 0 in the other."""
    extractor = SeparatedCuesExtractor(space(), tiny, order="energy")
    time = np.arange(N) / RATE
    low, high = (np.sin(2 * np.pi * frequency * time) for frequency in (500.0, 3000.0))  # bins 16 and 96
    sources = np.stack((0.1 * low, 0.3 * high)).astype(np.float32)
    (told,) = perceive(extractor, np.stack([sources.sum(axis=0)] * 2)[None], sources=sources[None])
    np.testing.assert_array_equal(told.sources, sources[::-1])
    middle = told.masks[:, :, 2:-2]  # not the ends, where mirrored sines are no sines
    np.testing.assert_allclose(middle[:, 16], [[0.0] * 3, [1.0] * 3], atol=1e-3)
    np.testing.assert_allclose(middle[:, 96], [[1.0] * 3, [0.0] * 3], atol=1e-3)


@pytest.mark.parametrize("frozen", [True, False], ids=["frozen", "learning"])
def test_many_windows_are_as_one_by_one(tiny: SeparatorConfig, frozen: bool) -> None:
    extractor = SeparatedCuesExtractor(space(), tiny, freeze_separator=frozen).eval()
    audio = noise(70, 2, N)
    together = perceive(extractor, audio)
    alone = [perceive(extractor, window[None])[0] for window in audio]
    # A frozen separator may compute in bfloat16, of 8 bits; in what order a batch is summed can then change the last of
    # them. Single precision has 24, of which some are lost on the way through the network.
    tolerance = 2.0**-8 if frozen else 1e-5
    assert len(together) == 70
    for ours, theirs in zip(together, alone, strict=True):
        error = loudness_of(ours.sources - theirs.sources)
        assert error <= tolerance * loudness_of(theirs.sources)
        np.testing.assert_allclose(ours.cues, theirs.cues, atol=4 * tolerance)
    given = noise(70, 2, N, seed=1)
    for told, sources in zip(perceive(extractor, audio, sources=given), given, strict=True):
        np.testing.assert_array_equal(told.sources, sources)
    assert perceive(extractor, audio[:0]) == ()


def test_stacked_frames_and_normalizations_make_no_difference(tiny: SeparatorConfig) -> None:
    """It is told what is heard in single windows, in the units of the cues."""
    three = spaces.Dict(audio=spaces.Box(-1.0, 1.0, (2, 3 * N), np.float32))
    shift = Normalization(np.full(8, 0.5), np.full(8, 4.0))
    stacked = SeparatedCuesExtractor(three, tiny, num_frames=3, frame_normalization=shift)
    single = SeparatedCuesExtractor(space(), tiny)
    audio = noise(4, 2, N)
    for ours, theirs in zip(perceive(stacked, audio), perceive(single, audio), strict=True):
        np.testing.assert_array_equal(ours.cues, theirs.cues)
        np.testing.assert_array_equal(ours.masks, theirs.masks)


def test_audio_of_another_shape_is_refused(tiny: SeparatorConfig) -> None:
    extractor = SeparatedCuesExtractor(space(), tiny)
    for audio in (noise(2, N), noise(1, 3, N)):
        with pytest.raises(ValueError, match=r"^audio: expected shape \(M, 2, N\), actual "):
            perceive(extractor, audio)
    with pytest.raises(ValueError, match="audio: expected finite samples"):
        perceive(extractor, np.full((1, 2, N), np.nan, np.float32))


# ---- Values ----------------------------------------------------------------------------------------------------------


class Numbers(gym.Env):
    """Observations of five random numbers, or of as many in each of two parts."""

    def __init__(self, actions: spaces.Space, parts: bool = False) -> None:
        box = spaces.Box(-1.0, 1.0, (5,), np.float32)
        self.observation_space = spaces.Dict({"one": box, "two": box}) if parts else box
        self.action_space = actions

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        return self.observation_space.sample(), {}

    def step(self, action: Any) -> Any:
        return self.observation_space.sample(), 0.0, False, False, {}


FOUR, TWO = spaces.Discrete(4), spaces.Box(-1.0, 1.0, (2,), np.float32)
UNEVEN = spaces.Box(np.array([-0.5, 0.0], np.float32), np.array([0.5, 2.0], np.float32))
SMALL: dict[Any, dict[str, Any]] = {
    **{each: {"buffer_size": 10} for each in (DQN, QRDQN, SAC, TD3, DDPG, TQC)},
    **{each: {"n_steps": 8, "batch_size": 8} for each in (PPO, RecurrentPPO, MaskablePPO)},
    A2C: {"n_steps": 8},
}


def made(algorithm: Any, actions: spaces.Space, parts: bool = False, seed: int = 0) -> Any:
    """A small model whose actions depend on what it observes: its weights are larger than those of a new one."""
    name = {False: "Mlp", True: "MultiInput"}[parts] + ("Lstm" if algorithm is RecurrentPPO else "") + "Policy"
    kwargs: dict[str, Any] = {"net_arch": [16]}
    if algorithm is RecurrentPPO:
        kwargs["lstm_hidden_size"] = 8
    model = algorithm(name, Numbers(actions, parts), seed=seed, policy_kwargs=kwargs, device="cpu", **SMALL[algorithm])
    with torch.no_grad():
        for weights in model.policy.parameters():
            weights.copy_(torch.randn(weights.shape, generator=torch.Generator().manual_seed(seed + weights.numel())))
    return model


def observations(model: Any, count: int, seed: int = 0) -> Any:
    rng = np.random.default_rng(seed)
    if isinstance(model.observation_space, spaces.Dict):
        return {key: rng.uniform(-1, 1, (count, 5)).astype(np.float32) for key in model.observation_space}
    return rng.uniform(-1, 1, (count, 5)).astype(np.float32)


def best(values: np.ndarray, kind: str) -> np.ndarray:
    return values if kind == "action" else values.argmax(axis=1)


@pytest.mark.parametrize("parts", [False, True], ids=["a vector", "a dict"])
@pytest.mark.parametrize(
    ("algorithm", "actions", "kind"),
    [
        *((each, FOUR, "Q-value") for each in (DQN, QRDQN)),
        *((each, FOUR, "probability") for each in (PPO, A2C)),
        *((each, box, "action") for each in (PPO, A2C, SAC, TD3, DDPG, TQC) for box in (TWO, UNEVEN)),
    ],
    ids=lambda each: getattr(each, "__name__", {4: "4", 2: "2"}.get(getattr(each, "n", None) or 2)),
)
def test_the_model_takes_what_is_worth_most(algorithm: Any, actions: spaces.Space, kind: str, parts: bool) -> None:
    for seed in range(3):
        model = made(algorithm, actions, parts, seed)
        seen = observations(model, 200, seed)
        values, told = action_values(model, seen)
        assert told == kind
        assert values.shape == (200, 4 if actions is FOUR else 2)
        assert values.dtype == np.float32
        taken, _ = model.predict(seen, deterministic=True)
        np.testing.assert_array_equal(best(values, kind), taken)
        assert len(np.unique(taken, axis=0)) > 1  # it does not take one and the same always
        one = {key: part[7] for key, part in seen.items()} if parts else seen[7]
        alone, _ = action_values(model, one)  # without the axis of the batch
        assert alone.shape == (1, values.shape[1])
        np.testing.assert_allclose(alone[0], values[7], rtol=1e-4, atol=1e-4)


def test_of_a_recurrent_model() -> None:
    """Its memory counts, and an episode that begins takes it away; as in predict, at every step."""
    for actions, parts in ((FOUR, False), (FOUR, True), (TWO, False)):
        model = made(RecurrentPPO, actions, parts)
        rng = np.random.default_rng(1)
        state, starts = None, np.ones(20, dtype=bool)
        remembered = forgotten = 0
        for step in range(10):
            seen = observations(model, 20, seed=step)
            values, kind = action_values(model, seen, state, starts)
            fresh, _ = action_values(model, seen)
            taken, state = model.predict(seen, state, starts, deterministic=True)
            np.testing.assert_array_equal(best(values, kind), taken)
            if kind == "probability":
                np.testing.assert_allclose(values.sum(axis=1), 1.0, rtol=1e-6)
            same = np.abs(values - fresh).max(axis=1) == 0
            assert same[starts].all()
            remembered += (~same[~starts]).sum()
            forgotten += starts[1:].sum() if step else 0
            starts = rng.random(20) < 0.3
        assert remembered > 20
        assert forgotten > 10


@pytest.mark.parametrize("algorithm", [DQN, QRDQN, PPO, A2C], ids=lambda each: each.__name__)
def test_the_numbers_are_those_of_the_network(algorithm: Any) -> None:
    """Layer by layer in numpy: 5 to 16 to what comes out of it."""
    model = made(algorithm, FOUR)
    seen = observations(model, 50)
    weights = {name: weight.detach().numpy().astype(np.float64) for name, weight in model.policy.named_parameters()}

    def layer(name: str, x: np.ndarray) -> np.ndarray:
        return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]

    if algorithm in (DQN, QRDQN):
        net = "q_net.q_net" if algorithm is DQN else "quantile_net.quantile_net"
        out = layer(f"{net}.2", np.maximum(layer(f"{net}.0", seen), 0))
        expected = out if algorithm is DQN else out.reshape(50, 200, 4).mean(axis=1)
    else:
        logits = layer("action_net", np.tanh(layer("mlp_extractor.policy_net.0", seen)))
        expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(action_values(model, seen)[0], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("algorithm", [PPO, A2C, RecurrentPPO], ids=lambda each: each.__name__)
def test_probabilities_are_the_frequencies_of_what_is_drawn(algorithm: Any) -> None:
    model = made(algorithm, FOUR)
    with torch.no_grad():
        model.policy.action_net.weight *= 0.2  # none so sure of itself that nothing is drawn
    one = observations(model, 1, seed=2)
    values, kind = action_values(model, one)
    assert kind == "probability"
    count = 20_000
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        drawn, _ = model.predict(np.repeat(one, count, axis=0), deterministic=False)
    shares = np.bincount(drawn, minlength=4) / count
    assert (values[0] > 0.02).sum() >= 2
    deviation = np.sqrt(values[0] * (1 - values[0]) / count)  # of a share, by the binomial distribution
    assert (np.abs(shares - values[0]) <= 4 * deviation + 1e-6).all()


def test_of_an_algorithm_that_is_not_known_nothing_is_told() -> None:
    values, kind = action_values(made(MaskablePPO, FOUR), np.zeros((3, 5), np.float32))
    assert (values.shape, values.dtype, kind) == ((3, 0), np.float32, "")
    several = made(PPO, spaces.MultiDiscrete([2, 3]))
    assert action_values(several, np.zeros((3, 5), np.float32))[0].shape == (3, 0)


@pytest.mark.parametrize(
    ("algorithm", "actions"),
    [(DQN, FOUR), (QRDQN, FOUR), (PPO, FOUR), (PPO, TWO), (RecurrentPPO, FOUR), (SAC, TWO), (TD3, TWO)],
    ids=lambda each: getattr(each, "__name__", "4" if each is FOUR else "2"),
)
def test_nothing_is_drawn(algorithm: Any, actions: spaces.Space) -> None:
    """So that an episode that is watched goes on as it would have."""
    model = made(algorithm, actions)
    before = torch.random.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002 (SB3 draws from it)
    action_values(model, observations(model, 5))
    assert torch.equal(torch.random.get_rng_state(), before[0])
    np.testing.assert_array_equal(np.random.get_state()[1], before[1])  # noqa: NPY002


# ---- While an episode is played --------------------------------------------------------------------------------------


def hearing(algorithm: Any, env: gym.Env, tiny: SeparatorConfig, num_frames: int = 1, extractor: bool = True) -> Any:
    """A model that acts on what the ears hear, its weights as `made` has them, but for the separator's."""
    venv = DummyVecEnv([lambda: env])
    kwargs: dict[str, Any] = {"net_arch": [16]}
    if extractor:
        kwargs |= {
            "features_extractor_class": SeparatedCuesExtractor,
            "features_extractor_kwargs": {"separator": tiny, "num_frames": num_frames},
        }
    if algorithm is RecurrentPPO:
        kwargs["lstm_hidden_size"] = 8
    policy = "MultiInputLstmPolicy" if algorithm is RecurrentPPO else "MultiInputPolicy"
    stacked = VecFrameStack(venv, num_frames) if num_frames > 1 else venv
    model = algorithm(policy, stacked, seed=0, policy_kwargs=kwargs, device="cpu", **SMALL[algorithm])
    with torch.no_grad():
        for name, weights in model.policy.named_parameters():
            if "separator" not in name:
                generator = torch.Generator().manual_seed(weights.numel())
                weights.copy_(torch.randn(weights.shape, generator=generator))
    return model


def extractor_of(model: Any) -> SeparatedCuesExtractor:
    return next(module for module in model.policy.modules() if isinstance(module, SeparatedCuesExtractor))


@pytest.mark.parametrize(
    ("algorithm", "num_frames", "extractor"),
    [
        (DQN, 3, True),
        (QRDQN, 1, True),
        (PPO, 2, False),
        (RecurrentPPO, 2, True),
        (RecurrentPPO, 1, False),
        (SAC, 2, True),
    ],
    ids=["DQN", "QRDQN", "PPO without extractor", "RecurrentPPO", "RecurrentPPO without extractor", "SAC"],
)
def test_as_in_a_run_of_sb3(
    make_env: Callable[..., gym.Env], tiny: SeparatorConfig, algorithm: Any, num_frames: int, extractor: bool
) -> None:
    """Every value of several episodes, those of the first frames too, and of the recurrent ones with their memory."""
    continuous = algorithm is SAC
    model = hearing(algorithm, make_env(continuous=continuous), tiny, num_frames, extractor)
    perceiver = ModelPerceiver(model)
    assert isinstance(perceiver, Perceiver)
    single = DummyVecEnv([lambda: make_env(continuous=continuous)])
    seen: list[dict[str, np.ndarray]] = []

    class Spy(VecFrameStack):
        """Notes the frames one by one."""

        def reset(self) -> Any:
            result = super().reset()
            seen.append({key: part[0, ..., -shapes[key][-1] :].copy() for key, part in result.items()})
            return result

        def step_wait(self) -> Any:
            result = super().step_wait()
            seen.append({key: part[0, ..., -shapes[key][-1] :].copy() for key, part in result[0].items()})
            return result

    shapes = {key: box.shape for key, box in single.observation_space.items()}
    venv = Spy(single, num_frames)
    venv.seed(3)
    stacked: Any = venv.reset()
    state, starts = None, np.ones(1, dtype=bool)
    num_episodes = 0
    for _ in range(16):
        if starts[0]:
            perceiver.reset()
            num_episodes += 1
        told = perceiver.perceive(seen[-1])
        values, kind = action_values(model, stacked, state, starts)
        np.testing.assert_array_equal(told.values, values[0])
        assert told.value_kind == kind
        scheme = ContinuousActions() if continuous else DiscreteActions()
        assert told.value_names == scheme.names
        taken, state = model.predict(stacked, state, starts, deterministic=True)
        np.testing.assert_array_equal(best(told.values[None], kind), taken)
        if extractor:
            (alone,) = perceive(extractor_of(model), seen[-1]["audio"][None])
            np.testing.assert_array_equal(told.sources, alone.sources)
            np.testing.assert_array_equal(told.cues, alone.cues)
        else:
            assert told.sources.shape == (0, 0)
        stacked, _, starts, _ = venv.step(taken)
    assert num_episodes >= 3


def test_an_example_is_told_with_the_frame(make_env: Callable[..., gym.Env], tiny: SeparatorConfig) -> None:
    env = make_env(goal="example")
    kwargs = {
        "features_extractor_class": SeparatedCuesExtractor,
        "features_extractor_kwargs": {"separator": tiny, "order": "example"},
    }
    model = DQN("MultiInputPolicy", env, policy_kwargs=kwargs, buffer_size=10, seed=0)
    observation, _ = env.reset(seed=0)
    told = ModelPerceiver(model).perceive(observation)
    with torch.no_grad():
        features = extractor_of(model)({key: torch.as_tensor(part)[None] for key, part in observation.items()})
    np.testing.assert_allclose(told.cues.ravel(), features[0, : told.cues.size], atol=1e-6)


def test_the_model_is_read_anew(make_env: Callable[..., gym.Env], tiny: SeparatorConfig) -> None:
    model = hearing(DQN, make_env(), tiny)
    perceiver = ModelPerceiver(model, action_names=("a", "b", "c", "d"))
    observation, _ = make_env().reset(seed=0)
    before = perceiver.perceive(observation)
    assert before.value_names == ("a", "b", "c", "d")
    with torch.no_grad():
        model.policy.q_net.q_net[-1].bias += 1
    perceiver.reset()
    np.testing.assert_allclose(perceiver.perceive(observation).values, before.values + 1, rtol=1e-5)


def test_actions_without_names_go_by_numbers(make_env: Callable[..., gym.Env], tiny: SeparatorConfig) -> None:
    class Six(gym.Wrapper):
        def __init__(self, env: gym.Env) -> None:
            super().__init__(env)
            self.action_space = spaces.Discrete(6)

    model = hearing(DQN, Six(make_env()), tiny)
    observation, _ = make_env().reset(seed=0)
    assert ModelPerceiver(model).perceive(observation).value_names == ("0", "1", "2", "3", "4", "5")


def test_a_model_on_cues_is_refused_with_the_cure(make_env: Callable[..., gym.Env], tiny: SeparatorConfig) -> None:
    model = DQN("MlpPolicy", VecSeparatedCues(DummyVecEnv([make_env]), separator=tiny), buffer_size=10, seed=0)
    with pytest.raises(
        ValueError, match=r"^model: expected .* what the ears hear, .* auralnav_sb3.to_audio\(model\)\.$"
    ):
        ModelPerceiver(model)
    observation, _ = make_env().reset(seed=0)
    told = ModelPerceiver(to_audio(model)).perceive(observation)
    assert isinstance(told, Perception)
    assert told.sources.shape == (2, N)


@pytest.mark.parametrize("change", ["no audio", "no agent", "shorter", "longer", "one part longer"])
def test_frames_that_are_none_of_the_models_are_refused(
    make_env: Callable[..., gym.Env], tiny: SeparatorConfig, change: str
) -> None:
    model = hearing(DQN, make_env(), tiny, num_frames=2)
    observation, _ = make_env().reset(seed=0)
    audio, agent = observation["audio"], observation["agent"]
    changed = {
        "no audio": {"agent": agent},
        "no agent": {"audio": audio},
        "shorter": {"audio": audio[:, :-1], "agent": agent},
        "longer": {"audio": np.tile(audio, 4), "agent": np.tile(agent, 4)},
        "one part longer": {"audio": np.tile(audio, 2), "agent": agent},
    }[change]
    perceiver = ModelPerceiver(model)
    with pytest.raises(ValueError, match=r"^observation: expected a frame of what the model acts on, Dict"):
        perceiver.perceive(changed)
    assert perceiver.perceive(observation).values.shape == (4,)
