"""Train the agents that the package ships, several seeds each, and write the best of them with their cards.

    python examples/train_agents.py                             # all, two trainings at a time
    python examples/train_agents.py --suites omni-v1 --seeds 1  # one of them, once

Which seed is shipped is decided on 200 episodes with training sounds, so that the figures on the card, of 500 episodes
with test sounds, are no better for the choice. What was cut off goes on where it was.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict, replace
from pathlib import Path

import torch
from stable_baselines3.common.base_class import BaseAlgorithm

from auralnav_gym.config import to_text
from auralnav_sb3 import HYPERPARAMETERS, RECIPES, Recipe, evaluate, save_agent, table, to_audio, train, wrap_like
from auralnav_sb3.cards import made_with
from auralnav_sb3.experiments import Run, run_all, steps_to_target
from auralnav_sb3.pretrained import AGENTS
from auralnav_sb3.separation import CONFIGS

FIRST_VALIDATION_SEED, VALIDATION_EPISODES = 1_000_000, 200


def main() -> None:
    args = parse_args()
    recipes = {suite: RECIPES[suite] for suite in args.suites}
    torch.set_num_threads(1)
    try:
        runs = run_all(recipes, range(args.seeds), args.output, args.processes)
    except KeyboardInterrupt:
        sys.exit("Interrupted. The same command goes on from here.")
    for suite, recipe in recipes.items():
        group = [run for run in runs if run.name == suite]
        models = [train(recipe, run.seed, args.output / suite / f"seed-{run.seed}", progress=False) for run in group]
        scores = [validate(model, recipe) for model in models]
        best = max(range(len(group)), key=scores.__getitem__)
        name = suite.removesuffix("-v1")
        hyperparameters = {**HYPERPARAMETERS[recipe.algorithm], **recipe.hyperparameters}
        if callable(hyperparameters["learning_rate"]):  # who trains it on begins where the schedule ended
            hyperparameters["learning_rate"] = hyperparameters["learning_rate"](0.0)
        card = describe(name, recipe, group, scores, best)
        save_agent(to_audio(models[best]), args.agents / name, hyperparameters, card, group[best].made_by)
        print(card)


def validate(model: BaseAlgorithm, recipe: Recipe) -> float:
    """The SPL in scenes of the same world with sounds it was trained on."""
    world = recipe.load_suite()
    seeds = range(FIRST_VALIDATION_SEED, FIRST_VALIDATION_SEED + VALIDATION_EPISODES)
    suite = replace(world, name="validation", seeds=seeds, sounds=world.train_sounds)
    wrap = wrap_like(model.get_env())
    return float(evaluate(model, suite, wrap, env_kwargs=recipe.env_kwargs).values("spl").mean())


def describe(name: str, recipe: Recipe, group: list[Run], scores: list[float], best: int) -> str:
    """The card."""
    world = recipe.load_suite()
    results = table({f"seed {run.seed}": run.evaluation for run in group})
    validation = ", ".join(f"{score:.3f} (seed {run.seed})" for run, score in zip(group, scores, strict=True))
    times = ", ".join(f"{run.log.seconds / 60:.1f}" for run in group)
    senses = f"pose={recipe.pose}, motion={recipe.motion}"
    separator = "an untrained DPRNNTasNet" if recipe.separator in CONFIGS else f"the separator `{recipe.separator}`"
    return f"""# {name}

An agent for the suite `{world.name}`: {recipe.algorithm} on the cues of {recipe.frames} frames, with
{separator}. Seed {group[best].seed} of {len(group)} trainings is shipped, the one with the highest SPL on
{VALIDATION_EPISODES} episodes with training sounds: {validation}.

It acts on raw observations of `{world.env_id}` with {senses}, {recipe.frames} frames stacked:

```python
from auralnav_sb3 import evaluate, load_agent

print(evaluate(load_agent("{name}"), "{world.name}").interval("success"))
```

## Training

`python examples/train_agents.py --suites {world.name} --seeds {len(group)}`: {recipe.steps:,} environment steps on
{len(world.train_sounds)} synthetic sounds, {recipe.num_envs} environments, one thread; {times} minutes with two
trainings at a time on two cores.
Training steps until 95 of the last 100 training episodes were successes, median [least, most]:
{steps_to_target(group)}. {made_with("torch", "stable-baselines3", "sb3-contrib", "gymnasium")}.

## Results

On the episodes of `{world.name}`, with {len(world.test_sounds)} sounds that were not in the training; means and 95 %
bootstrap intervals over the episodes:

{results}

## Configuration and versions

```json
{to_text(asdict(group[best].made_by))}
```
"""


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    add = parser.add_argument
    shipped = [f"{name}-v1" for name in AGENTS.names()]
    add("--suites", nargs="+", choices=list(RECIPES), default=shipped, help="which agents")
    add("--seeds", type=int, default=3, help="trainings of each")
    add("--processes", type=int, default=2, help="trainings at the same time")
    add("--output", type=Path, default=Path("runs/agents"), help="folder for the trainings; gone on with if there")
    add("--agents", type=Path, default=AGENTS.folder, help="folder of the agents")
    return parser.parse_args()


if __name__ == "__main__":
    main()
