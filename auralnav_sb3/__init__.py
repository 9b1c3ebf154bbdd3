"""The learner of AuralNav: separated spatial cues for Stable-Baselines3."""

from auralnav_sb3.callbacks import ProgressCallback
from auralnav_sb3.evaluation import Evaluation, evaluate, table
from auralnav_sb3.extractor import SeparatedCuesExtractor, extract_features, extractor_kwargs
from auralnav_sb3.files import written_whole
from auralnav_sb3.separation import Separator, SeparatorConfig, load_separator
from auralnav_sb3.vec_separated_cues import VecSeparatedCues

__all__ = [
    "Evaluation",
    "ProgressCallback",
    "SeparatedCuesExtractor",
    "Separator",
    "SeparatorConfig",
    "VecSeparatedCues",
    "evaluate",
    "extract_features",
    "extractor_kwargs",
    "load_separator",
    "table",
    "written_whole",
]
