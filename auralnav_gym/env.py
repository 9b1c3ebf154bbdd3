"""The environment: step and reset read like the rules of the game."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.error import ResetNeeded

from auralnav_gym.acoustics import Listener
from auralnav_gym.agents import fewest_actions
from auralnav_gym.ears import Ears, as_ears
from auralnav_gym.movement import Action, Body, Pose, move
from auralnav_gym.rendering import Renderer
from auralnav_gym.rooms import Room, RoomSampler, as_room
from auralnav_gym.scene import Babble, Scene, SceneSampler, as_background
from auralnav_gym.scoring import Rewards, as_rewards, reward_terms, shortest_tour, sna, spl
from auralnav_gym.sounds import SoundBank, load_sounds

# What the agent's centre keeps to the walls beyond its ears, metres.
EAR_CLEARANCE = 0.05

# What touching a distractor can do, and how the agent can be told the targets' kind.
_TOUCHES = ("end", "cost")
_GOALS = (None, "class", "example")


class AuralNavEnv(gym.Env[dict[str, np.ndarray], int]):
    """Find every target that sounds in a room by ear, and switch it off by walking up to it.

    ## Description
    The agent stands in a room that it can only hear. One or more sources sound. At every step the agent walks or turns,
    then listens for ``listen_seconds``; time runs on, and the sources play on where they were. A source that an action
    ends within ``capture_radius`` of is found and switched off; its reverberation dies away. The room acoustics are
    those of pyroomacoustics.

    Not every source need be one to find. *Targets* are; *distractors* (``num_distractors``, none by default) play on
    for ever. The targets of an episode are then all of one kind, and no distractor is of that kind. An action that ends
    within ``capture_radius`` of a distractor, having begun outside, touches it, which ends the episode or costs, by
    ``touch``. The kind to look for is always the same (``target_kinds``) or part of what is observed (``goal``).

    With ``background`` something sounds from everywhere as well, such as the babble of a crowd. It is no source: it
    cannot be found, and only hides what can.

    ## Action Space
    ``Discrete(4)``, see :class:`auralnav_gym.Action`:

    | Num | Action     | Effect                                            |
    |-----|------------|---------------------------------------------------|
    | 0   | FORWARD    | ``step_size`` metres along the heading            |
    | 1   | BACKWARD   | ``step_size`` metres against the heading          |
    | 2   | TURN_RIGHT | subtracts ``turn_angle`` degrees from the heading |
    | 3   | TURN_LEFT  | adds ``turn_angle`` degrees to the heading        |

    Walls block: the agent goes as far as it can while both ears stay inside the room however it turns.

    ## Observation Space
    ``Dict`` of

    | Key     | Shape  | Type    | Range   | What                                                                    |
    |---------|--------|---------|---------|-------------------------------------------------------------------------|
    | `audio` | (2, N) | float32 | [-1, 1] | What the left (0) and the right (1) ear hear, N = listen_seconds x Hz   |
    | `agent` | (4,)   | float32 | [-1, 1] | x and y from one side of the room to the other, cos and sin of heading  |

    Sounds have an active RMS of -26 dBFS at 1 m in free field; the ears clip at full scale.

    What the agent knows of itself is its pose. With ``motion=True`` it is told as well how it has just moved (its
    odometry), two numbers more: metres along its heading over ``step_size``, less than a whole step where a wall was in
    the way, and the turn over ``turn_angle``, positive to the left; 0, 0 at the start. With ``pose=False`` the pose is
    left out, and without either the key ``agent``.

    What the agent is told of the targets, the same all through the episode:

    | Key       | With             | Shape | Type    | Range   | What                                               |
    |-----------|------------------|-------|---------|---------|----------------------------------------------------|
    | `goal`    | `goal="class"`   | (K,)  | float32 | [0, 1]  | 1 at the targets' kind among ``env.kinds``, else 0 |
    | `example` | `goal="example"` | (N,)  | float32 | [-1, 1] | a clip of another sound of the targets' kind       |

    ``env.kinds`` are all the kinds of the bank, sorted. A bank without another sound of the targets' kind gives a clip
    of the same one.

    ## Rewards
    A weighted sum of the terms of :class:`auralnav_gym.Rewards`, each in ``info["rewards"]``.

    ## Starting State
    Sources and the agent are drawn uniformly in the room with the clearances of :class:`auralnav_gym.SceneSampler`.
    ``reset(options={"scene": scene})`` plays a given :class:`auralnav_gym.Scene` exactly.

    ## Episode End
    - Termination: every target is found; or, with ``touch="end"``, a distractor is touched, which is no success even
      if the same action found the last target.
    - Truncation: the time limit of the registered id, 200 steps in all of them (``gym.make(max_episode_steps=)``).

    ## Info
    | Key                   | Type              | What                                                |
    |-----------------------|-------------------|-----------------------------------------------------|
    | `is_success`          | bool              | every target is found, and no touch was the end     |
    | `num_found`           | int               | targets found so far                                |
    | `num_sources`         | int               | targets in the scene                                |
    | `num_touched`         | int               | times that a distractor was entered so far          |
    | `distances`           | (S,) float64      | metres to each source, horizontally                 |
    | `distance_to_nearest` | float             | metres to the nearest target still on; 0 if none is |
    | `path_length`         | float             | metres walked                                       |
    | `num_actions`         | int               | actions taken                                       |
    | `collision`           | bool              | a wall cut the last step short                      |
    | `spl`                 | float             | success x L* / max(L, L*) (Anderson et al. 2018)    |
    | `sna`                 | float             | success x A* / max(A, A*) (Chen et al. 2020)        |
    | `rewards`             | dict              | the terms of the reward (not at reset)              |
    | `source_audio`        | (S, 2, N) float32 | every source alone at the ears (if asked for)       |
    | `is_target`           | (S,) bool         | which sources are targets (with `source_audio`)     |

    Sources are in the order of the scene: where it was drawn, targets first, then distractors. SPL and SNA are 0 before
    success. L is the path walked and L* the shortest tour from the start through the capture discs of all targets. L*
    leaves walls and distractors out of account: a lower bound where one is in the way. A is the number of actions and
    A* the oracle's, which keeps out of the distractors' discs, but no more than A: where touching only costs, an agent
    may have taken a shorter way through them.

    ## Registered
    | Id                        | What                                                                                 |
    |---------------------------|--------------------------------------------------------------------------------------|
    | `AuralNav-v0`             | the defaults: two sources to find                                                    |
    | `AuralNav-Distractors-v0` | one voice among two distractors 6 dB louder, whose touch ends the episode            |
    | `AuralNav-Babble-v0`      | the defaults in the babble of a crowd, at a signal-to-noise ratio of 10 dB           |

    ## Arguments
    All are keywords of ``gym.make``.

    Args:
        room: A size (width, depth, height) or (width, depth) in metres, (M, 2) corners of a convex polygon, a
            :class:`Room`, or a :class:`RoomSampler` that draws one at every reset.
        num_sources: How many sources to find (targets).
        num_distractors: How many distractors. With any, the targets of an episode are of one kind.
        distractor_level_db: Level of the distractors above the targets', dB.
        target_kinds: The kinds of sound, such as ``("speech",)``, of which one is drawn for the targets of an episode;
            None: all kinds of the bank (or, without distractors and ``goal``, targets of several kinds).
        distractor_kinds: The kinds from which distractors are drawn, but for the targets'; None: all of the bank.
        touch: What touching a distractor does: ``"end"`` ends the episode and ``"cost"`` does not. Either way it earns
            ``Rewards.touched``, each time the agent comes within ``capture_radius`` of a distractor from outside.
        goal: How the agent is told the targets' kind: ``"class"``, ``"example"`` or None: not at all.
        sounds: A :class:`SoundBank`, a folder of recordings, or None: the synthetic bank.
        ears: ``"ortf"`` (two cardioids, 17 cm apart, turned 55 degrees outwards), ``"omni"`` or an :class:`Ears`.
        absorption: Share of energy that the walls take, in (0, 1]; overrides the room's.
        rt60: Reverberation time in seconds, instead of ``absorption``. Rooms given by size or corners have 0.35 s.
        max_order: Highest order of reflections; overrides the room's (3 unless said otherwise).
        sample_rate: Hz.
        listen_seconds: Seconds heard at every step.
        step_size: Metres of a step.
        turn_angle: Degrees of a turn.
        capture_radius: Metres within which a source is found; at least half a step.
        rewards: ``"default"``, ``"original"``, a :class:`Rewards` or a mapping of weights.
        pose: Whether the agent knows its own pose.
        motion: Whether the agent knows how its last action moved it.
        noise_dbfs: RMS level of white microphone noise, dB re full scale; None: none.
        background: Diffuse background noise: a :class:`Babble`, or its signal-to-noise ratio in dB, by which a source
            1 m away in free field is above it at an omnidirectional ear; None: none.
        source_audio: Whether ``info`` carries every source alone at the ears.
        ear_height: Height of the ears in metres; ignored in two-dimensional rooms.
        source_height: Height of the sources in metres; None: that of the ears.
        wall_clearance: Least distance of a source to a wall, metres.
        source_spacing: Least distance between two sources, metres; None: two capture radii.
        start_distance: Least distance of the agent to a source at the start, metres; None: two capture radii.
        render_mode: None, ``"rgb_array"`` or ``"human"``.

    Raises:
        ValueError: If an argument is out of range; says which, and what would be right.
    """

    metadata: dict[str, Any] = {  # noqa: RUF012 (Gymnasium declares it so)
        "render_modes": ["human", "rgb_array"],
        "render_fps": 8,
    }

    def __init__(
        self,
        room: Room | RoomSampler | Sequence[float] | Sequence[Sequence[float]] | np.ndarray = (8.0, 8.0, 3.0),
        num_sources: int = 2,
        num_distractors: int = 0,
        distractor_level_db: float = 0.0,
        target_kinds: Sequence[str] | None = None,
        distractor_kinds: Sequence[str] | None = None,
        touch: str = "end",
        goal: str | None = None,
        sounds: SoundBank | str | os.PathLike[str] | None = None,
        ears: Ears | str = "ortf",
        absorption: float | None = None,
        rt60: float | None = None,
        max_order: int | None = None,
        sample_rate: int = 8000,
        listen_seconds: float = 0.5,
        step_size: float = 0.5,
        turn_angle: float = 30.0,
        capture_radius: float = 1.0,
        rewards: Rewards | str | Mapping[str, float] | None = None,
        pose: bool = True,
        motion: bool = False,
        noise_dbfs: float | None = None,
        background: Babble | float | None = None,
        source_audio: bool = False,
        ear_height: float = 1.5,
        source_height: float | None = None,
        wall_clearance: float = 0.5,
        source_spacing: float | None = None,
        start_distance: float | None = None,
        render_mode: str | None = None,
    ) -> None:
        self.sample_rate, self.listen_seconds = sample_rate, listen_seconds
        self.num_samples = _window(sample_rate, listen_seconds)
        self.ears = as_ears(ears)
        self.body = Body(step_size, math.radians(turn_angle), capture_radius, self.ears.radius + EAR_CLEARANCE)
        self.rewards = as_rewards(rewards)
        self.noise_dbfs = noise_dbfs
        self.num_sources, self.num_distractors = num_sources, num_distractors
        self.touch, self.goal = _one_of("touch", touch, _TOUCHES), _one_of("goal", goal, _GOALS)
        bank = load_sounds(sounds, sample_rate)
        self.kinds = bank.kinds
        self._sampler = SceneSampler(
            room=_with_walls(as_room(room), absorption, rt60, max_order),
            sounds=bank,
            num_sources=num_sources,
            body=self.body,
            ear_height=ear_height,
            source_height=source_height,
            wall_clearance=wall_clearance,
            source_spacing=2 * capture_radius if source_spacing is None else source_spacing,
            start_distance=2 * capture_radius if start_distance is None else start_distance,
            background=as_background(background),
            num_distractors=num_distractors,
            distractor_level_db=distractor_level_db,
            # There is no one kind to tell of unless targets are of one kind.
            target_kinds=bank.kinds if target_kinds is None and goal is not None else target_kinds,
            distractor_kinds=distractor_kinds,
            example_samples=self.num_samples if goal == "example" else None,
        )
        self._knows_pose, self._knows_motion = pose, motion
        self._gives_source_audio = source_audio
        if render_mode is not None and render_mode not in self.metadata["render_modes"]:
            raise ValueError(
                f"render_mode: expected None or one of {self.metadata['render_modes']}, actual: {render_mode!r}"
            )
        self.render_mode = render_mode
        self._renderer: Renderer | None = None

        heard = spaces.Box(-1.0, 1.0, (len(self.ears.positions), self.num_samples), np.float32)
        num_known = 4 * pose + 2 * motion
        known = {"agent": spaces.Box(-1.0, 1.0, (num_known,), np.float32)} if num_known else {}
        if goal == "class":
            known["goal"] = spaces.Box(0.0, 1.0, (len(self.kinds),), np.float32)
        elif goal == "example":
            known["example"] = spaces.Box(-1.0, 1.0, (self.num_samples,), np.float32)
        self.observation_space = spaces.Dict({"audio": heard, **known})  # type: ignore[assignment]
        self.action_space = spaces.Discrete(len(Action))  # type: ignore[assignment]
        self._scene: Scene | None = None

    @property
    def scene(self) -> Scene:
        """The scene that is being played.

        Raises:
            ResetNeeded: Before the first reset.
        """
        if self._scene is None:
            raise ResetNeeded("There is no scene yet: call reset() first.")
        return self._scene

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Begin an episode.

        Args:
            seed: Seeds the generator from which this and all later scenes are drawn.
            options: ``{"scene": scene}`` plays a :class:`Scene` instead of drawing one.

        Raises:
            ValueError: If the scene leaves the agent no room, or a source is in its reach from the start; or if the
                agent is to be told the targets' kind and they are not of one of ``kinds``, or there is no example.
        """
        super().reset(seed=seed)
        scene = _scene_in(options)
        if scene is None:
            scene = self._sampler.sample(self.np_random)
        self._begin(scene)
        if self.render_mode == "human":
            self.render()
        return self._observe(), self._get_info()

    def step(self, action: int) -> tuple[dict[str, np.ndarray], float, bool, bool, dict[str, Any]]:
        """Act, then listen.

        Args:
            action: An :class:`Action`.

        Raises:
            ResetNeeded: Before the first reset.
            ValueError: If ``action`` is not in the action space.
        """
        room = self.scene.room
        if not self.action_space.contains(action):
            raise ValueError(
                f"action: expected a whole number from 0 to {len(Action) - 1} (see auralnav_gym.Action), "
                f"actual: {action!r}"
            )
        targets, length_before, touched_before = self._is_target, self._path_length, self._num_touched
        on_before, distances_before = self.on[targets], self.distances
        self._act(Action(int(action)), room)
        self._switch_off_what_is_found()
        self._count_what_is_entered(distances_before)
        terms = reward_terms(
            self.rewards,
            action=action,
            walked=self._path_length - length_before,
            distances_before=distances_before[targets],
            distances_after=self.distances[targets],
            on_before=on_before,
            on_after=self.on[targets],
            num_touched=self._num_touched - touched_before,
        )
        observation, info = self._observe(), self._get_info()
        info["rewards"] = terms
        if self.render_mode == "human":
            self.render()
        return observation, sum(terms.values()), self._is_success or self._is_failure, False, info

    def render(self) -> np.ndarray | None:
        """The room from above, (H, W, 3) uint8; None where a window shows it or no render mode is set."""
        if self.render_mode is None:
            gym.logger.warn('render() does nothing without a render mode: gym.make(..., render_mode="rgb_array").')
            return None
        if self._renderer is None:
            self._renderer = Renderer(self.render_mode, self.metadata["render_fps"])
        ears = self._listener.ear_positions(self.pose)
        return self._renderer.render(self.scene, self.pose, self.path, self.on, self.body, ears)

    def close(self) -> None:
        """Close the window, if there is one."""
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = None

    def _begin(self, scene: Scene) -> None:
        source_x, source_y = scene.source_positions[:, :2].T
        distances = np.hypot(source_x - scene.pose.x, source_y - scene.pose.y)
        if not scene.room.contains(scene.pose.position, self.body.radius - 1e-9):
            raise ValueError(
                f"scene: expected the agent at least {self.body.radius:.3f} m from every wall, so that its ears stay "
                f"inside however it turns, actual: ({scene.pose.x}, {scene.pose.y})"
            )
        if (distances <= self.body.capture_radius).any():
            raise ValueError(
                f"scene: expected every source farther than capture_radius ({self.body.capture_radius} m) from the "
                f"agent at the start, actual: {distances.min():.3f} m"
            )
        told = self._tell(scene)
        self._listener = Listener(scene, self.ears, self.sample_rate, self.num_samples, self.noise_dbfs)
        self._told = told
        self._source_x, self._source_y = source_x, source_y
        self._is_target = scene.is_target
        self._num_touched = 0
        self._scene = scene
        self.pose: Pose = scene.pose
        self.path: list[Pose] = [scene.pose]
        self.distances: np.ndarray = distances
        self.on: np.ndarray = np.ones(len(scene.sources), dtype=bool)
        self._off_since = [math.inf] * len(scene.sources)
        self._path_length = 0.0
        self._collided = False

    def _act(self, action: Action, room: Room) -> None:
        before = self.pose
        self.pose = move(before, action, room, self.body)
        self.path.append(self.pose)
        walked = math.hypot(self.pose.x - before.x, self.pose.y - before.y)
        self._path_length += walked
        self._collided = action in (Action.FORWARD, Action.BACKWARD) and walked < self.body.step_size * (1 - 1e-9)
        self.distances = np.hypot(self._source_x - self.pose.x, self._source_y - self.pose.y)

    def _switch_off_what_is_found(self) -> None:
        for index in np.flatnonzero(self.on & self._is_target & (self.distances <= self.body.capture_radius)):
            self.on[index] = False
            self._off_since[index] = self._time

    def _count_what_is_entered(self, distances_before: np.ndarray) -> None:
        reach = self.body.capture_radius
        entered = ~self._is_target & (self.distances <= reach) & (distances_before > reach)
        self._num_touched += int(entered.sum())

    @property
    def _is_failure(self) -> bool:
        return self.touch == "end" and self._num_touched > 0

    @property
    def _is_success(self) -> bool:
        return not (self.on & self._is_target).any() and not self._is_failure

    @property
    def _num_actions(self) -> int:
        return len(self.path) - 1

    @property
    def _time(self) -> int:
        """Samples since the start of the episode at which the present window begins."""
        return self._num_actions * self.num_samples

    def _observe(self) -> dict[str, np.ndarray]:
        observation = {"audio": self._listener.hear(self.pose, self._time, self._off_since)}
        known = (self._known_pose() if self._knows_pose else []) + (self._known_motion() if self._knows_motion else [])
        if known:
            observation["agent"] = np.array(known, dtype=np.float32)
        return observation | {key: value.copy() for key, value in self._told.items()}

    def _tell(self, scene: Scene) -> dict[str, np.ndarray]:
        """What the agent is told of the targets of a scene."""
        if self.goal == "class":
            kinds = {source.sound.kind for source in scene.sources if source.is_target}
            if len(kinds) > 1 or not kinds <= set(self.kinds):
                raise ValueError(
                    f'scene: expected targets of one kind among {list(self.kinds)} with goal="class", '
                    f"actual: {sorted(kinds)}"
                )
            return {"goal": np.array([kind in kinds for kind in self.kinds], dtype=np.float32)}
        if self.goal == "example":
            if scene.example is None:
                raise ValueError('scene: expected an example (Scene.example) with goal="example", actual: None')
            return {"example": scene.example.clip(self.num_samples)}
        return {}

    def _known_pose(self) -> list[float]:
        (x_low, y_low), (x_high, y_high) = self.scene.room.bounds
        pose = self.pose
        return [
            2 * (pose.x - x_low) / (x_high - x_low) - 1,
            2 * (pose.y - y_low) / (y_high - y_low) - 1,
            math.cos(pose.heading),
            math.sin(pose.heading),
        ]

    def _known_motion(self) -> list[float]:
        before, now = self.path[-2:] if len(self.path) > 1 else (self.pose, self.pose)
        along = (now.x - before.x) * math.cos(now.heading) + (now.y - before.y) * math.sin(now.heading)
        turn = math.remainder(now.heading - before.heading, 2 * math.pi)
        # Rounding must not carry a whole step or turn beyond the space.
        return [min(max(part, -1.0), 1.0) for part in (along / self.body.step_size, turn / self.body.turn_angle)]

    def _get_info(self) -> dict[str, Any]:
        success, left = self._is_success, self.distances[self.on & self._is_target]
        num_targets = int(self._is_target.sum())
        info = {
            "is_success": success,
            "num_found": num_targets - len(left),
            "num_sources": num_targets,
            "num_touched": self._num_touched,
            "distances": self.distances,
            "distance_to_nearest": float(left.min()) if len(left) else 0.0,
            "path_length": self._path_length,
            "num_actions": self._num_actions,
            "collision": self._collided,
            "spl": self._spl() if success else 0.0,
            "sna": self._sna() if success else 0.0,
        }
        if self._gives_source_audio:
            info["source_audio"] = self._listener.hear_sources(self.pose, self._time, self._off_since)
            info["is_target"] = self._is_target.copy()
        return info

    def _spl(self) -> float:
        targets = self.scene.source_positions[self._is_target, :2]
        shortest = shortest_tour(self.scene.pose.position, targets, self.body.capture_radius)
        return spl(True, shortest, self._path_length)

    def _sna(self) -> float:
        return sna(True, fewest_actions(self.scene, self.body, at_most=self._num_actions), self._num_actions)


def _window(sample_rate: int, listen_seconds: float) -> int:
    """N, the samples heard at every step."""
    if isinstance(sample_rate, bool) or int(sample_rate) != sample_rate or sample_rate < 1:
        raise ValueError(f"sample_rate: expected a whole number of Hz, actual: {sample_rate}")
    if not (math.isfinite(listen_seconds) and round(listen_seconds * sample_rate) >= 1):
        raise ValueError(
            f"listen_seconds: expected at least one sample ({1 / sample_rate} s at {sample_rate} Hz), "
            f"actual: {listen_seconds}"
        )
    return round(listen_seconds * sample_rate)


def _one_of(name: str, value: Any, choices: tuple[Any, ...]) -> Any:
    if value not in choices:
        raise ValueError(f"{name}: expected one of {list(choices)}, actual: {value!r}")
    return value


def _with_walls(
    room: Room | RoomSampler, absorption: float | None, rt60: float | None, max_order: int | None
) -> Room | RoomSampler:
    if isinstance(room, Room):
        return room.with_walls(absorption, rt60, max_order)
    if absorption is not None or rt60 is not None or max_order is not None:
        raise ValueError(
            "absorption, rt60, max_order: expected None beside a room sampler, which draws the walls itself; set them "
            f"in the sampler, actual: absorption={absorption}, rt60={rt60}, max_order={max_order}"
        )
    return room


def _scene_in(options: dict[str, Any] | None) -> Scene | None:
    options = options or {}
    unknown = sorted(set(options) - {"scene"})
    if unknown:
        raise ValueError(f"options: expected no key but 'scene', actual: {unknown}")
    scene = options.get("scene")
    if scene is not None and not isinstance(scene, Scene):
        raise TypeError(f"options['scene']: expected an auralnav_gym.Scene, actual: {type(scene).__name__}")
    return scene
