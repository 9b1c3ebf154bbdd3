"""From a model that acts on cues to the ordinary model that acts on what the ears hear, and back."""

from __future__ import annotations

import copy
from typing import Any, TypeVar, cast

import numpy as np
import torch
from stable_baselines3 import SAC
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.policies import ContinuousCritic
from stable_baselines3.common.running_mean_std import RunningMeanStd
from stable_baselines3.common.save_util import recursive_getattr
from stable_baselines3.common.torch_layers import FlattenExtractor
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper, VecFrameStack, VecMonitor, VecNormalize

from auralnav_sb3.extractor import Normalization, SeparatedCuesExtractor
from auralnav_sb3.optimizers import SeparatorAdam
from auralnav_sb3.replay import AudioReplayBuffer
from auralnav_sb3.vec_separated_cues import VecSeparatedCues

Model = TypeVar("Model", bound=BaseAlgorithm)

# The names of SB3's policies on cues, and of their like on audio.
POLICIES = {"MlpPolicy": "MultiInputPolicy", "MlpLstmPolicy": "MultiInputLstmPolicy"}
# What may lie around VecSeparatedCues.
_WRAPPERS = (VecFrameStack, VecMonitor, VecNormalize)


def to_audio(
    model: Model,
    env: VecEnv | None = None,
    freeze_separator: bool = True,
    separator_lr_scale: float | None = None,
) -> Model:
    """Make of a model that was trained on cues the ordinary model that acts on what the ears hear.

    The new model is of the same class, gets the observations that `VecSeparatedCues` got, and takes the same actions::

        venv = VecFrameStack(VecSeparatedCues(make_vec_env("AuralNav-v0", 8), separator="separator.pth"), 4)
        model = DQN("MlpPolicy", venv).learn(30_000)
        to_audio(model).save("agent.zip")
        DQN.load("agent.zip")  # acts on VecFrameStack(make_vec_env("AuralNav-v0"), 4)

    Its policy has a `SeparatedCuesExtractor` that holds a copy of the separator, so that loading needs no other file,
    and does what `VecFrameStack` and `VecNormalize` (with its statistics as they stand) did to the cues. Weights,
    hyperparameters, time steps, exploration rate and the state of the optimizer are those of ``model``, which stays as
    it is. It can go on training, with ``learn(..., reset_num_timesteps=False)``; its replay buffer, an
    `AudioReplayBuffer`, begins empty. That buffer makes the n-step returns: ``n_steps`` is among its
    ``replay_buffer_kwargs``, and the model's own is 1.

    Actor and critic of SAC and TD3 have a separator each, and their targets too, unless the model was made with
    ``share_features_extractor=True`` in its ``policy_kwargs``: each observation is then separated three or four times.

    Args:
        model: Any algorithm of SB3 or sb3-contrib with a policy on vectors, without a features extractor of its own.
        env: The environment it was trained in, for a model that was loaded without one: VecSeparatedCues, and around it
            in any order `VecMonitor`, `VecNormalize` and at most one `VecFrameStack`.
        freeze_separator: False lets the separator learn when training goes on, end to end. It then computes in float32
            throughout, where a frozen one may take bfloat16 for part of it (see `Separator`).
        separator_lr_scale: Learning rate of such a separator over that of the policy (`SeparatorAdam`, for models that
            learn with Adam); None: the same.

    Returns:
        The new model. Its environment is what VecSeparatedCues lay around, the very same and not a copy, with the frame
        stack, the monitor and the normalization of rewards around it as they were: go on with one of the two models,
        not with both in turn.

    Raises:
        ValueError: The environment is missing, has no VecSeparatedCues or other wrappers around it, is not the model's,
            or has ideal masks; the model has a features extractor of its own; or separator_lr_scale does not apply.
    """
    venv = _environment(model, env, "env")
    cues, wrappers = _unwrap_cues(venv)
    if venv.observation_space != model.observation_space:
        raise ValueError(
            f"env: expected the model's observations, {model.observation_space}, actual {venv.observation_space}"
        )
    if model.policy.features_extractor_class is not FlattenExtractor:
        raise ValueError(
            "model: expected no features extractor of its own between the cues and the policy, "
            f"actual {model.policy.features_extractor_class.__name__}"
        )
    arguments = {
        **_with_wrappers(cues.extractor, wrappers),
        "separator": copy.deepcopy(cues.extractor.separator).cpu(),
        "freeze_separator": freeze_separator,
    }
    policy_kwargs = {
        **copy.deepcopy(model.policy_kwargs),
        "features_extractor_class": SeparatedCuesExtractor,
        "features_extractor_kwargs": arguments,
    }
    if separator_lr_scale is not None:
        policy_kwargs |= _separator_optimizer(model, freeze_separator, separator_lr_scale)
    changes: dict[str, Any] = {}
    if isinstance(model, OffPolicyAlgorithm):
        n_steps = model.replay_buffer_kwargs.get("n_steps", model.n_steps)
        changes = {
            "replay_buffer_class": AudioReplayBuffer,
            "replay_buffer_kwargs": {**_replay_kwargs(model), "n_steps": n_steps, "gamma": model.gamma},
            "n_steps": 1,
            "optimize_memory_usage": False,
        }
    raw = cues.venv
    for wrapper in wrappers:
        raw = _rewrap(wrapper, raw)
    return _rebuild(model, raw, POLICIES, policy_kwargs, changes)


def to_cues(model: Model, venv: VecEnv | None = None) -> Model:
    """Make of a model that acts on what the ears hear one that goes on training on cues; undoes `to_audio`.

    The new model is of the same class and takes the same actions. Its separator is frozen and sits in a
    `VecSeparatedCues` in its environment, ``model.get_env()``; each observation is separated once from here on. What
    `to_audio` says of weights, hyperparameters and replay buffer holds here too.

    The separator is that with which the model acts. Target networks, whose own may lag behind while a separator learns,
    take their cues from it as well. A `Normalization` in the extractor becomes a `VecNormalize` that keeps its
    statistics as they are (``training=False``).

    Args:
        model: Its features extractor is a `SeparatedCuesExtractor`.
        venv: The environment to go on in, if not the model's own: observations as the model takes them, those of
            ``num_frames`` above 1 by `VecFrameStack`.

    Returns:
        The new model.

    Raises:
        ValueError: The environment is missing or does not fit, the model has another features extractor, or actor and
            critic have separators that differ.
    """
    raw = given = _environment(model, venv, "venv")
    if raw.observation_space != model.observation_space:
        raise ValueError(
            f"venv: expected the model's observations, {model.observation_space}, actual {raw.observation_space}"
        )
    extractor = acting_extractor(model)
    wrappers: list[VecEnvWrapper] = []
    num_frames = 1
    while type(raw) in _WRAPPERS and not _normalizes_observations(raw):
        if isinstance(raw, VecFrameStack):
            if extractor.num_frames == 1 or num_frames > 1:
                break  # its frames are one to the extractor
            num_frames = raw.stacked_obs.n_stack
        wrappers.insert(0, cast(VecEnvWrapper, raw))
        raw = cast(VecEnvWrapper, raw).venv
    if num_frames != extractor.num_frames:
        raise ValueError(
            f"venv: expected VecFrameStack(..., n_stack={extractor.num_frames}), and around it nothing but VecMonitor "
            f"and VecNormalize of rewards, actual {_describe(given)}"
        )
    arguments = {
        **extractor.arguments,
        "separator": extractor.separator,
        "freeze_separator": True,
        "num_frames": 1,
        "frame_normalization": None,
        "normalization": None,
    }
    cues: VecEnv = VecSeparatedCues(raw, device=model.device, **arguments)
    cues = _with_normalization(cues, extractor.frame_normalization)
    if num_frames == 1:
        cues = _with_normalization(cues, extractor.normalization)
    for wrapper in wrappers:
        cues = _rewrap(wrapper, cues)
        if isinstance(wrapper, VecFrameStack):
            cues = _with_normalization(cues, extractor.normalization)
    own = {"features_extractor_class", "features_extractor_kwargs"}
    policy_kwargs = {name: copy.deepcopy(value) for name, value in model.policy_kwargs.items() if name not in own}
    if model.policy.optimizer_class is SeparatorAdam:
        del policy_kwargs["optimizer_class"]
        policy_kwargs.get("optimizer_kwargs", {}).pop("separator_lr_scale", None)
    changes: dict[str, Any] = {}
    if isinstance(model, OffPolicyAlgorithm):
        changes = {
            "replay_buffer_class": None,
            "replay_buffer_kwargs": _replay_kwargs(model),
            "n_steps": model.replay_buffer_kwargs.get("n_steps", model.n_steps),
        }
    return _rebuild(model, cues, {audio: mlp for mlp, audio in POLICIES.items()}, policy_kwargs, changes)


# ==== Environments ====


def _environment(model: BaseAlgorithm, given: VecEnv | None, argument: str) -> VecEnv:
    venv = model.get_env() if given is None else given
    if venv is None:
        raise ValueError(f"{argument}: expected an environment, as the model has none; actual None")
    return venv


def _unwrap_cues(venv: VecEnv) -> tuple[VecSeparatedCues, list[VecEnvWrapper]]:
    """Find VecSeparatedCues, and what lies around it from the inside out."""
    outer: VecEnv = venv
    wrappers: list[VecEnvWrapper] = []
    while type(outer) in _WRAPPERS:
        wrappers.insert(0, cast(VecEnvWrapper, outer))
        outer = cast(VecEnvWrapper, outer).venv
    if not isinstance(outer, VecSeparatedCues):
        names = ", ".join(wrapper.__name__ for wrapper in _WRAPPERS)
        raise ValueError(
            f"env: expected VecSeparatedCues, and around it nothing but {names}, actual {_describe(venv)}; give the "
            "environment that the model was trained in"
        )
    if outer.ideal:
        raise ValueError(
            "env: expected a VecSeparatedCues that separates, actual one with ideal=True; no model can hear ideal masks"
        )
    if type(outer.extractor) is not SeparatedCuesExtractor:
        raise ValueError(f"env: expected a SeparatedCuesExtractor, actual {type(outer.extractor).__name__}")
    return outer, wrappers


def _describe(venv: VecEnv | None) -> str:
    names = [type(venv).__name__]
    while isinstance(venv, VecEnvWrapper):
        venv = venv.venv
        names.append(type(venv).__name__)
    return " around ".join(names)


def _normalizes_observations(venv: VecEnv) -> bool:
    return isinstance(venv, VecNormalize) and venv.norm_obs


def _with_wrappers(extractor: SeparatedCuesExtractor, wrappers: list[VecEnvWrapper]) -> dict[str, Any]:
    """Arguments of an extractor that gives what `extractor` with these wrappers around it gives, inside out."""
    steps: list[VecEnvWrapper] = [
        each for each in wrappers if isinstance(each, VecFrameStack) or _normalizes_observations(each)
    ]
    if not steps:
        return extractor.arguments
    normalizations: list[Normalization | None] = [None]  # below the stack, or below and above it
    num_frames = 1
    for step in steps:
        if isinstance(step, VecFrameStack) and len(normalizations) == 1:
            num_frames = step.stacked_obs.n_stack
            normalizations.append(None)
        elif isinstance(step, VecNormalize) and normalizations[-1] is None:
            normalizations[-1] = Normalization.from_vec_normalize(step)
        else:
            raise ValueError(
                f"env: expected at most one VecFrameStack around VecSeparatedCues, and at most one VecNormalize of "
                f"observations on each side of it, actual {[type(each).__name__ for each in steps]} from the inside out"
            )
    if extractor.num_frames > 1 or extractor.frame_normalization or extractor.normalization:
        raise ValueError(
            "env: expected frames to be stacked and features normalized either by the extractor or around "
            "VecSeparatedCues, actual both"
        )
    below, above = normalizations if len(normalizations) == 2 else (None, normalizations[0])
    return {**extractor.arguments, "num_frames": num_frames, "frame_normalization": below, "normalization": above}


def _with_normalization(venv: VecEnv, normalization: Normalization | None) -> VecEnv:
    """Normalize observations with statistics that stay."""
    if normalization is None:
        return venv
    normalized = VecNormalize(
        venv, training=False, norm_reward=False, clip_obs=normalization.clip, epsilon=normalization.epsilon
    )
    statistics = cast(RunningMeanStd, normalized.obs_rms)
    statistics.mean, statistics.var = np.copy(normalization.mean), np.copy(normalization.var)
    return normalized


def _rewrap(wrapper: VecEnvWrapper, venv: VecEnv) -> VecEnv:
    """Put around another environment what a wrapper does, apart from normalizing observations."""
    if isinstance(wrapper, VecFrameStack):
        return VecFrameStack(venv, wrapper.stacked_obs.n_stack)
    if isinstance(wrapper, VecMonitor):
        monitored = VecMonitor(venv, info_keywords=wrapper.info_keywords)
        monitored.results_writer, monitored.t_start = wrapper.results_writer, wrapper.t_start
        return monitored
    assert isinstance(wrapper, VecNormalize)
    if not wrapper.norm_reward:
        return venv
    normalized = VecNormalize(
        venv,
        training=wrapper.training,
        norm_obs=False,
        clip_reward=wrapper.clip_reward,
        gamma=wrapper.gamma,
        epsilon=wrapper.epsilon,
    )
    normalized.ret_rms = copy.deepcopy(wrapper.ret_rms)
    return normalized


# ==== Models ====


def find_extractor(model: BaseAlgorithm) -> SeparatedCuesExtractor | None:
    """The extractor of the network that picks the actions, if it has one."""
    # The online network comes before its target, the actor before the critic.
    return next((module for module in model.policy.modules() if type(module) is SeparatedCuesExtractor), None)


def acting_extractor(model: BaseAlgorithm) -> SeparatedCuesExtractor:
    """The extractor of the network that picks the actions, and of the critic beside it."""
    acting = find_extractor(model)
    if acting is None:
        raise ValueError(
            "model: expected a SeparatedCuesExtractor as its features extractor, "
            f"actual {model.policy.features_extractor_class.__name__}"
        )
    of_critic: Any = getattr(model.policy, "vf_features_extractor", acting)
    critic = getattr(model.policy, "critic", None)
    if isinstance(critic, ContinuousCritic):  # of SAC and TD3
        of_critic = critic.features_extractor
    theirs = of_critic.separator.state_dict()
    if not all(torch.equal(weight, theirs[name]) for name, weight in acting.separator.state_dict().items()):
        raise ValueError(
            "model: expected one separator, actual two that differ, one of the actor and one of the critic "
            "(share_features_extractor=False)"
        )
    return acting


def _replay_kwargs(model: OffPolicyAlgorithm) -> dict[str, Any]:
    """Those arguments of a replay buffer that any other understands."""
    name = "handle_timeout_termination"
    return {name: model.replay_buffer_kwargs[name]} if name in model.replay_buffer_kwargs else {}


def _separator_optimizer(model: BaseAlgorithm, freeze_separator: bool, scale: float) -> dict[str, Any]:
    """What policy_kwargs must say for a separator with a learning rate of its own."""
    if freeze_separator:
        raise ValueError(
            f"separator_lr_scale: expected None for a frozen separator, actual {scale!r}; give freeze_separator=False"
        )
    if model.policy.optimizer_class is not torch.optim.Adam:
        raise ValueError(
            f"separator_lr_scale: expected None for a model that does not learn with Adam, actual {scale!r}, "
            f"with {model.policy.optimizer_class.__name__}"
        )
    if isinstance(model, SAC) and model.policy.share_features_extractor:
        raise ValueError(
            f"separator_lr_scale: expected None for SAC with share_features_extractor=True, actual {scale!r}; its "
            "critic learns without the separator"
        )
    # The policy's own and not policy_kwargs': SB3's actor-critic policies add to them, for no other class than Adam.
    optimizer_kwargs = {**model.policy.optimizer_kwargs, "separator_lr_scale": scale}
    return {"optimizer_class": SeparatorAdam, "optimizer_kwargs": optimizer_kwargs}


def _rebuild(
    model: Model, env: VecEnv, policies: dict[str, str], policy_kwargs: dict[str, Any], changes: dict[str, Any]
) -> Model:
    """Make a model for another environment with another extractor, in all else the same; as SB3's load does.

    Args:
        model: Left as it is.
        env: The new environment.
        policies: New name by old name of SB3's policies; a class of someone's own stays.
        policy_kwargs: New.
        changes: Other attributes.
    """
    parameters, variables = model._get_torch_save_params()
    excluded = {name.split(".")[0] for name in (*model._excluded_save_params(), *parameters, *variables)}
    excluded |= {"policy_kwargs", "_last_obs", "_last_original_obs"}
    attributes = {name: value for name, value in vars(model).items() if name not in excluded}
    policy_class = model.policy_class
    for old_name, new_name in policies.items():
        if model.policy_aliases.get(old_name) is policy_class:
            policy_class = model.policy_aliases[new_name]
            break
    rebuilt = type(model)(policy=policy_class, env=env, device=model.device, _init_setup_model=False)  # type: ignore[call-arg]
    vars(rebuilt).update(
        copy.deepcopy(attributes),
        policy_class=policy_class,
        policy_kwargs=policy_kwargs,
        observation_space=env.observation_space,
        n_envs=env.num_envs,
        _last_obs=None,  # so that training begins with a reset
        _last_original_obs=None,
        seed=None,  # a conversion neither seeds nor draws
        **changes,
    )
    if hasattr(rebuilt, "rollout_buffer_class"):
        rebuilt.rollout_buffer_class = None  # SB3's for these observations
    with torch.random.fork_rng(devices=[]):
        rebuilt._setup_model()
    rebuilt.seed = model.seed
    _copy_weights(model, rebuilt)
    return rebuilt


def _copy_weights(source: BaseAlgorithm, target: BaseAlgorithm) -> None:
    """Copy all weights but those of features extractors, and what the optimizers remember of each."""
    old, new = source.policy.state_dict(), target.policy.state_dict()
    assert all("features_extractor." in name for name in old.keys() ^ new.keys())
    target.policy.load_state_dict({**new, **{name: weight for name, weight in old.items() if name in new}})
    own = dict(target.policy.named_parameters())
    likes: dict[torch.Tensor, torch.Tensor] = {
        parameter: own[name] for name, parameter in source.policy.named_parameters() if name in own
    }
    saved, variables = source._get_torch_save_params()
    for name in variables:  # SAC's entropy coefficient, which is no part of the policy
        variable, like = recursive_getattr(source, name), recursive_getattr(target, name)
        like.data.copy_(variable.data)
        likes[variable] = like
    for name in saved:
        optimizer = recursive_getattr(source, name)
        if isinstance(optimizer, torch.optim.Optimizer):
            memory = recursive_getattr(target, name).state
            memory.update({likes[each]: copy.deepcopy(kept) for each, kept in optimizer.state.items() if each in likes})
