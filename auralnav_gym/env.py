"""The environment: step and reset read like the rules of the game."""

from __future__ import annotations

import math
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.error import ResetNeeded

from auralnav_gym.acoustics import Listener
from auralnav_gym.movement import Pose, chord, walk
from auralnav_gym.planning import shortest_and_fewest
from auralnav_gym.recording import Snapshot, stereo
from auralnav_gym.rendering import PlanPainter
from auralnav_gym.rooms import Room
from auralnav_gym.scene import Scene
from auralnav_gym.scoring import reward_terms, sna, spl
from auralnav_gym.window import Window
from auralnav_gym.world import World


class AuralNavEnv(gym.Env[dict[str, np.ndarray], Any]):
    """Find every target that sounds in a room by ear, and switch it off by walking up to it.

    ## Description
    The agent stands in a room that it can only hear. One or more sources sound. At every step the agent walks or turns,
    then listens for ``listen_seconds``; time runs on, and the sources play on where they were. A target that an action
    ends within ``capture_radius`` of is found and switched off; its reverberation dies away. The room acoustics are
    those of pyroomacoustics.

    Not every source need be one to find. *Targets* are; *distractors* (``num_distractors``, none by default) play on
    for ever. The targets of an episode are then all of one kind, and no distractor is of that kind. An action that ends
    within ``capture_radius`` of a distractor, having begun outside, touches it, which ends the episode or costs, by
    ``touch``. The kind to look for is always the same (``target_kinds``) or part of what is observed (``goal``).

    Sources stand still and always sound, unless ``source_motion`` has them walk about and ``source_activity`` start and
    stop. What a moving source has sent out comes from where it was then, so that it sounds without a break and with the
    Doppler effect; the agent itself stands where its action has led it while it listens. All distances are to where the
    sources are then.

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

    With ``actions="continuous"`` it is ``Box(-1, 1, (2,), float32)``, see :class:`auralnav_gym.ContinuousActions`:

    | Num | Action       | Effect                                                                           |
    |-----|--------------|----------------------------------------------------------------------------------|
    | 0   | forward speed| metres walked in the step over ``step_size``, negative: backwards                |
    | 1   | turn rate    | the turn in the step over ``turn_angle``, positive: to the left; with the former an arc |

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
    success. L is the path walked and L* the shortest tour on the floor from the start through the capture discs of all
    targets, around the corners of the room but not around distractors: a lower bound where one is in the way. Where
    targets move, L* is what the oracle walks. A is the number of actions and
    A* the oracle's, which keeps out of the distractors' discs, but no more than A: where touching only costs, an agent
    may have taken a shorter way through them.

    ## Registered
    | Id                        | What                                                                                 |
    |---------------------------|--------------------------------------------------------------------------------------|
    | `AuralNav-v0`             | the defaults: two sources to find in an 8 m x 8 m room                               |
    | `AuralNav-Easy-v0`        | a single source in a small room with little reverberation                            |
    | `AuralNav-Anechoic-v0`    | the defaults without reflections                                                     |
    | `AuralNav-RandomRooms-v0` | another room in every episode, 5 m x 5 m to 10 m x 10 m, RT60 0.15 s to 0.6 s        |
    | `AuralNav-Materials-v0`   | brick walls, a carpet, a plasterboard ceiling and air, which absorb by frequency     |
    | `AuralNav-LShape-v0`      | an L-shaped room: what sounds around the corner is heard by its reflections alone    |
    | `AuralNav-FourSources-v0` | four sources                                                                         |
    | `AuralNav-Moving-v0`      | the sources walk about at 0.3 m/s                                                    |
    | `AuralNav-Alarms-v0`      | the sources sound now and then                                                       |
    | `AuralNav-Omni-v0`        | two omnidirectional ears, which cannot tell front from back in one look              |
    | `AuralNav-Human-v0`       | human ears, measured at a dummy head (MIT KEMAR)                                     |
    | `AuralNav-Babble-v0`      | the defaults in the babble of a crowd, at a signal-to-noise ratio of 10 dB           |
    | `AuralNav-Distractors-v0` | one voice among two distractors 6 dB louder, whose touch ends the episode            |
    | `AuralNav-Continuous-v0`  | a forward speed and a turn rate for actions                                          |

    ## Arguments
    Keywords of ``gym.make``: all that :class:`auralnav_gym.World` has, where they are described, and ``render_mode``.
    Those of a registered id go over its own.

    Args:
        world: The :class:`World` to start from; None: the defaults. ``env.unwrapped.config`` is what came of it.
        render_mode: How the room is shown, from above, with the sources, the agent and its path. None: not at all.
            ``"rgb_array"``: ``render()`` returns a picture, (672, 608, 3) uint8. ``"human"``: in a window, at real
            speed, with sound: ``reset`` and every ``step`` show the agent on its way to where it is now, play what its
            left and right ear hear there, and return while that sounds, so that there is no gap where the next step
            comes within ``seconds_per_action``. Closing the window lets the episode go on unseen. Through ``gym.make``
            also ``"rgb_array_list"``: ``render()`` returns the pictures of all steps since the last call.
            ``env.metadata["render_fps"]`` is that of real time, so that Gymnasium's ``RecordVideo`` keeps to it.
        **settings: Arguments of :class:`World`, which go over ``world``.

    Raises:
        TypeError: If an argument is unknown or of another type.
        ValueError: If an argument is out of range; says which, and what would be right.
    """

    metadata: dict[str, Any] = {  # noqa: RUF012 (Gymnasium declares it so)
        "render_modes": ["human", "rgb_array"],
        "render_fps": 2.0,  # of the defaults; every environment has its own
    }

    def __init__(self, *, world: World | None = None, render_mode: str | None = None, **settings: Any) -> None:
        self.config = (world or World()).replace(**settings)
        self.sample_rate, self.listen_seconds = self.config.sample_rate, self.config.listen_seconds
        self.num_samples = self.config.num_samples
        self.ears, self.body, self.actions = self.config.ears, self.config.body, self.config.actions
        self.rewards, self.noise_dbfs = self.config.rewards, self.config.noise_dbfs
        self.num_sources, self.num_distractors = self.config.num_sources, self.config.num_distractors
        self.touch, self.goal = self.config.touch, self.config.goal
        self._sampler = self.config.scene_sampler()
        self.kinds = self._sampler.sounds.kinds
        if render_mode is not None and render_mode not in self.metadata["render_modes"]:
            raise ValueError(
                f"render_mode: expected None or one of {self.metadata['render_modes']}, actual: {render_mode!r}. "
                'Lists of pictures are made by gym.make(..., render_mode="rgb_array_list").'
            )
        self.render_mode = render_mode
        self.metadata = {
            "render_modes": list(self.metadata["render_modes"]),
            "render_fps": 1 / self.seconds_per_action,
        }
        self._painter: PlanPainter | None = None
        self._window: Window | None = None
        self._shown: Snapshot | None = None
        self._is_watched = render_mode == "human"

        heard = spaces.Box(-1.0, 1.0, (len(self.ears.positions), self.num_samples), np.float32)
        num_known = 4 * self.config.pose + 2 * self.config.motion
        known = {"agent": spaces.Box(-1.0, 1.0, (num_known,), np.float32)} if num_known else {}
        if self.goal == "class":
            known["goal"] = spaces.Box(0.0, 1.0, (len(self.kinds),), np.float32)
        elif self.goal == "example":
            known["example"] = spaces.Box(-1.0, 1.0, (self.num_samples,), np.float32)
        self.observation_space = spaces.Dict({"audio": heard, **known})  # type: ignore[assignment]
        self.action_space = self.actions.space
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

    @property
    def snapshot(self) -> Snapshot:
        """The episode as it stands, for pictures and recordings; later steps do not change it.

        Raises:
            ResetNeeded: Before the first reset.
        """
        return Snapshot(
            self.scene,
            self.body,
            tuple(self.path),
            self.on.copy(),
            self._listener.ear_positions(self.pose),
            self.source_positions.copy(),
            self._num_touched,
        )

    @property
    def seconds_per_action(self) -> float:
        """How long an action lasts: what is heard at a step, in whole samples."""
        return self.num_samples / self.sample_rate

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
        self._shown = None
        observation, info = self._observe(), self._get_info()
        if self._is_watched:
            self._show(observation["audio"])
        return observation, info

    def step(self, action: Any) -> tuple[dict[str, np.ndarray], float, bool, bool, dict[str, Any]]:
        """Act, then listen.

        Args:
            action: In the action space: an :class:`Action` unless ``actions`` says otherwise.

        Raises:
            ResetNeeded: Before the first reset.
            ValueError: If ``action`` is not in the action space.
        """
        room = self.scene.room
        forward, turn = self.actions.parse(action)
        targets, length_before, touched_before = self._is_target, self._path_length, self._num_touched
        on_before, distances_before, walking_before = self.on[targets], self.distances, self._walking_distances
        self._act(forward, turn, room)
        self._switch_off_what_is_found()
        self._count_what_is_entered(distances_before)
        terms = reward_terms(
            self.rewards,
            turned=abs(turn),
            walked=self._path_length - length_before,
            distances_before=walking_before[targets],
            distances_after=self._walking_distances[targets],
            on_before=on_before,
            on_after=self.on[targets],
            num_touched=self._num_touched - touched_before,
        )
        observation, info = self._observe(), self._get_info()
        info["rewards"] = terms
        if self._is_watched:
            self._show(observation["audio"])
        return observation, sum(terms.values()), self._is_success or self._is_failure, False, info

    def render(self) -> np.ndarray | None:
        """The room from above, (H, W, 3) uint8; None where a window shows it already or no render mode is set."""
        if self.render_mode is None:
            gym.logger.warn('render() does nothing without a render mode: gym.make(..., render_mode="rgb_array").')
            return None
        snapshot = self.snapshot
        return self._plan_painter().paint(snapshot) if self.render_mode == "rgb_array" else None

    def close(self) -> None:
        """Close the window, if there is one, when the last sound has been heard to its end."""
        if self._window is not None:
            self._window.wait()
            self._window.close()
            self._window = None

    def _plan_painter(self) -> PlanPainter:
        if self._painter is None:
            self._painter = PlanPainter()
        return self._painter

    def _show(self, audio: np.ndarray) -> None:
        if self._window is None:
            self._window = Window(sample_rate=self.sample_rate)
        before, self._shown = self._shown, self.snapshot
        self._window.show_moment(self._plan_painter().paint, before, self._shown, stereo(audio))
        pressed = self._window.keys()
        if "close" in pressed:
            gym.logger.warn("The window was closed: the episode goes on unseen.")
            self._window.close()
            self._window, self._is_watched = None, False

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
        self._is_target = scene.is_target
        self._num_touched = 0
        self._scene = scene
        self.pose: Pose = scene.pose
        self.path: list[Pose] = [scene.pose]
        self._measure_distances(scene)
        self.on: np.ndarray = np.ones(len(scene.sources), dtype=bool)
        self._off_since = [math.inf] * len(scene.sources)
        self._path_length = 0.0
        self._collided = False

    def _act(self, forward: float, turn: float, room: Room) -> None:
        before = self.pose
        self.pose = walk(before, forward, turn, room, self.body)
        self.path.append(self.pose)
        walked = math.hypot(self.pose.x - before.x, self.pose.y - before.y)
        self._path_length += walked
        self._collided = walked < abs(chord(forward, turn, self.body)) * (1 - 1e-9)
        self._measure_distances(self.scene)

    def _measure_distances(self, scene: Scene) -> None:
        """From where the agent is to where the sources are now."""
        positions = scene.source_positions_at(self._num_actions * self.seconds_per_action)
        self.source_positions: np.ndarray = positions
        self.distances: np.ndarray
        self.distances, self._walking_distances = scene.room.distances((self.pose.x, self.pose.y), positions[:, :2])

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
        known = (self._known_pose() if self.config.pose else []) + (self._known_motion() if self.config.motion else [])
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
        left = self.distances[self.on & self._is_target]
        num_targets = int(self._is_target.sum())
        success = self._is_success
        path_efficiency, action_efficiency = self._efficiency() if success else (0.0, 0.0)
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
            "spl": path_efficiency,
            "sna": action_efficiency,
        }
        if self.config.source_audio:
            info["source_audio"] = self._listener.hear_sources(self.pose, self._time, self._off_since)
            info["is_target"] = self._is_target.copy()
        return info

    def _efficiency(self) -> tuple[float, float]:
        """SPL and SNA, after success."""
        walked, actions = self._path_length, self._num_actions
        shortest, fewest = shortest_and_fewest(self.scene, self.body, self.seconds_per_action, walked, actions)
        return spl(True, shortest, walked), sna(True, fewest, actions)


def _scene_in(options: dict[str, Any] | None) -> Scene | None:
    options = options or {}
    unknown = sorted(set(options) - {"scene"})
    if unknown:
        raise ValueError(f"options: expected no key but 'scene', actual: {unknown}")
    scene = options.get("scene")
    if scene is not None and not isinstance(scene, Scene):
        raise TypeError(f"options['scene']: expected an auralnav_gym.Scene, actual: {type(scene).__name__}")
    return scene
