"""The learner of AuralNav: separated spatial cues for Stable-Baselines3."""

from auralnav_sb3.callbacks import EvaluationCallback, ProgressCallback, RolloutCallback
from auralnav_sb3.conversion import to_audio, to_cues
from auralnav_sb3.evaluation import Evaluation, evaluate, senses_of, table, wrap_like
from auralnav_sb3.experiments import Run, plot_curves, run_all, to_csv, to_markdown
from auralnav_sb3.extractor import Normalization, SeparatedCuesExtractor, extract_features, extractor_kwargs
from auralnav_sb3.optimizers import SeparatorAdam
from auralnav_sb3.perception import ModelPerceiver, action_values, perceive
from auralnav_sb3.pretrained import agent_card, agent_names, load_agent, save_agent
from auralnav_sb3.pretraining import (
    PRETRAININGS,
    Mixtures,
    Pretraining,
    SeparationQuality,
    Windows,
    evaluate_separator,
    pairwise_loss,
    pretrain,
    pretraining_sounds,
    separation_loss,
)
from auralnav_sb3.provenance import Provenance
from auralnav_sb3.recordings import record
from auralnav_sb3.replay import AudioReplayBuffer
from auralnav_sb3.separation import (
    Separator,
    SeparatorConfig,
    load_separator,
    save_separator,
    separator_card,
    separator_names,
)
from auralnav_sb3.statistics import (
    Curve,
    Interval,
    bootstrap_curve,
    bootstrap_gap_closed,
    bootstrap_mean,
    interquartile_mean,
)
from auralnav_sb3.symmetry import MirroredReplayBuffer
from auralnav_sb3.training import (
    ALGORITHMS,
    HYPERPARAMETERS,
    RECIPES,
    Recipe,
    TrainingLog,
    make_cue_env,
    make_model,
    read_log,
    train,
)
from auralnav_sb3.vec_separated_cues import VecSeparatedCues

__all__ = [
    "ALGORITHMS",
    "HYPERPARAMETERS",
    "PRETRAININGS",
    "RECIPES",
    "AudioReplayBuffer",
    "Curve",
    "Evaluation",
    "EvaluationCallback",
    "Interval",
    "MirroredReplayBuffer",
    "Mixtures",
    "ModelPerceiver",
    "Normalization",
    "Pretraining",
    "ProgressCallback",
    "Provenance",
    "Recipe",
    "RolloutCallback",
    "Run",
    "SeparatedCuesExtractor",
    "SeparationQuality",
    "Separator",
    "SeparatorAdam",
    "SeparatorConfig",
    "TrainingLog",
    "VecSeparatedCues",
    "Windows",
    "action_values",
    "agent_card",
    "agent_names",
    "bootstrap_curve",
    "bootstrap_gap_closed",
    "bootstrap_mean",
    "evaluate",
    "evaluate_separator",
    "extract_features",
    "extractor_kwargs",
    "interquartile_mean",
    "load_agent",
    "load_separator",
    "make_cue_env",
    "make_model",
    "pairwise_loss",
    "perceive",
    "plot_curves",
    "pretrain",
    "pretraining_sounds",
    "read_log",
    "record",
    "run_all",
    "save_agent",
    "save_separator",
    "senses_of",
    "separation_loss",
    "separator_card",
    "separator_names",
    "table",
    "to_audio",
    "to_csv",
    "to_cues",
    "to_markdown",
    "train",
    "wrap_like",
]
