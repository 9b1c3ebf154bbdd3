"""A person's turn: to steer with the arrow keys, by ear alone or with the map, and to be compared with agents."""

from auralnav_gym.playing.game import ACTIONS, Game, Rival, reference_agents
from auralnav_gym.playing.log import AGENT, BY_EAR, COLUMNS, WITH_MAP, PlayedEpisode, PlayLog, mean_in_words

__all__ = [
    "ACTIONS",
    "AGENT",
    "BY_EAR",
    "COLUMNS",
    "WITH_MAP",
    "Game",
    "PlayLog",
    "PlayedEpisode",
    "Rival",
    "mean_in_words",
    "reference_agents",
]
