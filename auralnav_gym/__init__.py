"""AuralNav: a Gymnasium environment for agents that find sounding sources by ear.

Importing this package registers the environments:

>>> import gymnasium as gym
>>> import auralnav_gym
>>> env = gym.make("AuralNav-v0")
>>> observation, info = env.reset(seed=0)
>>> observation["audio"].shape, observation["agent"].shape
((2, 4000), (4,))
"""

from gymnasium.envs.registration import register

from auralnav_gym.agents import Agent, GreedyAgent, OracleAgent, RandomAgent
from auralnav_gym.ears import CardioidEars, Ears, OmniEars
from auralnav_gym.env import AuralNavEnv
from auralnav_gym.movement import Action, Body, Pose
from auralnav_gym.rooms import Polygon, RandomShoeBox, Room, RoomSampler, ShoeBox
from auralnav_gym.scene import Babble, DiffuseSound, Example, Scene, SceneSampler, Source
from auralnav_gym.scoring import Rewards
from auralnav_gym.sounds import Sound, SoundBank, SoundFolder, SyntheticSounds
from auralnav_gym.suites import SUITES, Suite, load_suite

__all__ = [
    "SUITES",
    "Action",
    "Agent",
    "AuralNavEnv",
    "Babble",
    "Body",
    "CardioidEars",
    "DiffuseSound",
    "Ears",
    "Example",
    "GreedyAgent",
    "OmniEars",
    "OracleAgent",
    "Polygon",
    "Pose",
    "RandomAgent",
    "RandomShoeBox",
    "Rewards",
    "Room",
    "RoomSampler",
    "Scene",
    "SceneSampler",
    "ShoeBox",
    "Sound",
    "SoundBank",
    "SoundFolder",
    "Source",
    "Suite",
    "SyntheticSounds",
    "load_suite",
]

register(id="AuralNav-v0", entry_point="auralnav_gym.env:AuralNavEnv", max_episode_steps=200)
register(
    id="AuralNav-Distractors-v0",
    entry_point="auralnav_gym.env:AuralNavEnv",
    max_episode_steps=200,
    kwargs={
        "num_sources": 1,
        "target_kinds": ("speech",),
        "num_distractors": 2,
        "distractor_level_db": 6.0,
        "touch": "end",
    },
)
register(
    id="AuralNav-Babble-v0",
    entry_point="auralnav_gym.env:AuralNavEnv",
    max_episode_steps=200,
    kwargs={"background": 10.0},
)
