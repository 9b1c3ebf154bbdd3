"""AuralNav: a Gymnasium environment for agents that find sounding sources by ear.

Importing this package registers the environments:

>>> import gymnasium as gym
>>> import auralnav_gym
>>> env = gym.make("AuralNav-v0")
>>> observation, info = env.reset(seed=0)
>>> observation["audio"].shape, observation["agent"].shape
((2, 4000), (4,))
"""

from typing import Any

from gymnasium.envs.registration import register

from auralnav_gym.agents import Agent, GreedyAgent, OracleAgent, RandomAgent
from auralnav_gym.config import ConfigError, versions
from auralnav_gym.ears import CardioidEars, Ears, MicrophoneArray, OmniEars
from auralnav_gym.env import AuralNavEnv
from auralnav_gym.measured_ears import MeasuredEars
from auralnav_gym.motion import (
    ActivitySampler,
    MotionSampler,
    RandomRinging,
    Ringing,
    SourceActivity,
    SourceMotion,
    Wander,
    Waypoints,
)
from auralnav_gym.movement import Action, ActionScheme, Body, ContinuousActions, DiscreteActions, Pose
from auralnav_gym.panels import Panels
from auralnav_gym.recording import Perceiver, Perception, Recorder, Recording, Snapshot, play
from auralnav_gym.rooms import Polygon, RandomLShape, RandomRoom, RandomShoeBox, Room, RoomSampler, ShoeBox
from auralnav_gym.scene import Babble, DiffuseSound, Example, Scene, SceneSampler, Source
from auralnav_gym.scoring import Rewards
from auralnav_gym.sounds import Sound, SoundBank, SoundFolder, SyntheticSounds
from auralnav_gym.suites import SUITES, Suite, load_suite
from auralnav_gym.videos import frames, write_gif, write_video
from auralnav_gym.viewer import write_viewer
from auralnav_gym.world import World

__all__ = [
    "SUITES",
    "Action",
    "ActionScheme",
    "ActivitySampler",
    "Agent",
    "AuralNavEnv",
    "Babble",
    "Body",
    "CardioidEars",
    "ConfigError",
    "ContinuousActions",
    "DiffuseSound",
    "DiscreteActions",
    "Ears",
    "Example",
    "GreedyAgent",
    "MeasuredEars",
    "MicrophoneArray",
    "MotionSampler",
    "OmniEars",
    "OracleAgent",
    "Panels",
    "Perceiver",
    "Perception",
    "Polygon",
    "Pose",
    "RandomAgent",
    "RandomLShape",
    "RandomRinging",
    "RandomRoom",
    "RandomShoeBox",
    "Recorder",
    "Recording",
    "Rewards",
    "Ringing",
    "Room",
    "RoomSampler",
    "Scene",
    "SceneSampler",
    "ShoeBox",
    "Snapshot",
    "Sound",
    "SoundBank",
    "SoundFolder",
    "Source",
    "SourceActivity",
    "SourceMotion",
    "Suite",
    "SyntheticSounds",
    "Wander",
    "Waypoints",
    "World",
    "frames",
    "load_suite",
    "play",
    "versions",
    "write_gif",
    "write_video",
    "write_viewer",
]

# The registered environments and how they differ from the defaults; AuralNavEnv's docstring says what they are.
_WORLDS: dict[str, dict[str, Any]] = {
    "AuralNav-v0": {},
    "AuralNav-Easy-v0": {"room": (5.0, 5.0, 3.0), "num_sources": 1, "rt60": 0.2},
    "AuralNav-Anechoic-v0": {"max_order": 0},
    "AuralNav-RandomRooms-v0": {
        "room": RandomShoeBox(low=(5.0, 5.0, 2.5), high=(10.0, 10.0, 3.5), rt60=(0.15, 0.6), max_order=15)
    },
    "AuralNav-Materials-v0": {
        "room": ShoeBox(
            size=(8.0, 6.0, 3.0),
            materials={"walls": "brickwork", "floor": "carpet_cotton", "ceiling": "ceiling_plasterboard"},
            air_absorption=True,
            max_order=8,
        )
    },
    "AuralNav-LShape-v0": {
        "room": Polygon(((0.0, 0.0), (8.0, 0.0), (8.0, 4.0), (4.0, 4.0), (4.0, 8.0), (0.0, 8.0)), height=3.0)
    },
    "AuralNav-FourSources-v0": {"num_sources": 4},
    "AuralNav-Moving-v0": {"source_motion": Wander(speed=0.3)},
    "AuralNav-Alarms-v0": {"source_activity": RandomRinging()},
    "AuralNav-Omni-v0": {"ears": "omni"},
    "AuralNav-Human-v0": {"ears": "human"},
    "AuralNav-Babble-v0": {"background": 10.0},
    "AuralNav-Distractors-v0": {
        "num_sources": 1,
        "target_kinds": ("speech",),
        "num_distractors": 2,
        "distractor_level_db": 6.0,
        "touch": "end",
    },
    "AuralNav-Continuous-v0": {"actions": "continuous"},
}

for _id, _settings in _WORLDS.items():
    register(_id, entry_point="auralnav_gym.env:AuralNavEnv", max_episode_steps=200, kwargs=_settings)
