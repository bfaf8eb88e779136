"""A search for parameters: Optuna proposes, DVC experiments try, and their scores are read back.

The experiments are the study's only memory: a search that goes on finds those named like it.
"""

from __future__ import annotations

import contextlib
import math
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from gim_cv.config import Project, override
from gim_cv.errors import ConfigError, RunError
from gim_cv.results import HEADLINE
from gim_cv.revisions import experiments
from gim_cv.versions import METRICS, Version

Value = str | int | float | bool | None
Space = Mapping[str, BaseDistribution]
Proposal = dict[str, Value]

DIGITS = 4
"""Significant digits of a proposed number: more would only be longer to read."""
RANDOM_FIRST = 5
"""Trials at random before proposals follow from scores."""
DRAWS = 100
"""Draws for one proposal that was not tried before; a small space may have no more."""


@dataclass(frozen=True)
class Trial:
    """A proposal that was tried: the experiment's name, its values by key, its score."""

    name: str
    values: Proposal
    score: float


class Laboratory(Protocol):
    """Where proposals are tried."""

    def finished(self) -> list[Trial]:
        """Return the trials that have a score, in the order of their numbers."""

    def run(self, proposals: Mapping[str, Proposal]) -> None:
        """Try each proposal under its name; return when all are done."""


def search(
    space: Space, laboratory: Laboratory, *, study: str, trials: int, batch: int, seed: int
) -> list[Trial]:
    """Return the trials of a study, best first, once it has `trials` of them or nothing is new.

    Parameters
    ----------
    space
        Parameter → the values it may take (see `parse_space`).
    laboratory
        Tries proposals, and knows those tried before.
    study
        Its trials are named ``STUDY-1``, ``STUDY-2``, …
    trials
        How many there shall be, those of earlier calls included.
    batch
        How many to propose at a time.
    seed
        Seed of the proposals.

    Raises
    ------
    RunError
        Every experiment of a batch failed.
    """
    known = laboratory.finished()
    last = max((int(trial.name.rpartition("-")[2]) for trial in known), default=0)
    while len(known) < trials:
        proposed = propose(space, known, min(batch, trials - len(known)), seed=seed + last)
        if not proposed:
            break
        names = [f"{study}-{last + number}" for number in range(1, len(proposed) + 1)]
        laboratory.run(dict(zip(names, proposed, strict=True)))
        known, last = laboratory.finished(), last + len(proposed)
        if not {trial.name for trial in known} & set(names):
            raise RunError(
                f"none of {', '.join(names)} has a score",
                remedy=f"See dvc queue status and dvc queue logs {names[0]}",
            )
    return sorted(known, key=lambda trial: -trial.score)


def propose(space: Space, known: Sequence[Trial], count: int, *, seed: int) -> list[Proposal]:
    """Return up to `count` proposals, none of which was tried, by what is known so far.

    Source: Watanabe, Tree-Structured Parzen Estimator, 2023 (arXiv:2304.11127).
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler = optuna.samplers.TPESampler(
        seed=seed, n_startup_trials=RANDOM_FIRST, multivariate=True, constant_liar=True
    )
    study = optuna.create_study(direction="maximize", sampler=sampler)
    for trial in known:
        with contextlib.suppress(ValueError):  # tried when the space was another
            study.add_trial(_frozen(trial, space))
    tried = [trial.values for trial in known]
    found: list[Proposal] = []
    for _ in range(DRAWS * count):
        if len(found) == count:
            break
        drawn = study.ask(dict(space)).params
        proposal = {key: _rounded(value, space[key]) for key, value in drawn.items()}
        if proposal not in [*tried, *found]:
            found.append(proposal)
    return found


def parse_space(texts: Iterable[str]) -> dict[str, BaseDistribution]:
    """Return the space that ``KEY=a,b,c``, ``KEY=low..high`` or ``KEY=log:low..high`` describe.

    Raises
    ------
    ConfigError
        A text has another form.

    Examples
    --------
    >>> parse_space(["train.batch=4..16"])["train.batch"].high
    16
    """
    space: dict[str, BaseDistribution] = {}
    for text in texts:
        key, equals, values = text.partition("=")
        if not (key and equals and values):
            raise _no_space(text)
        space[key] = _range(text, values) if ".." in values else _choices(values)
    if not space:
        raise ConfigError("nothing to search over", remedy="Name a parameter: --over loss=dice,bce")
    return space


@dataclass
class Experiments:
    """The DVC experiments of a study, run from the current commit.

    Attributes
    ----------
    root
        Root of the project.
    study
        Beginning of their names.
    keys
        The parameters that the study varies.
    metric
        The validation score that is read: a key of ``val`` in metrics.json.
    jobs
        Workers.
    """

    root: Path
    study: str
    keys: Sequence[str]
    metric: str
    jobs: int
    _read: dict[str, Trial | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse a metric that evaluation does not write."""
        if self.metric not in HEADLINE:
            raise ConfigError(
                "unknown metric", expected=f"one of {', '.join(HEADLINE)}", found=self.metric
            )

    def finished(self) -> list[Trial]:
        """Return the study's experiments that have a score, in the order of their numbers."""
        pattern = re.compile(rf"{re.escape(self.study)}-(\d+)")
        names = [name for name in experiments(self.root) if pattern.fullmatch(name)]
        for name in names:
            if name not in self._read:
                self._read[name] = self._trial(name)
        names.sort(key=lambda name: int(name.rpartition("-")[2]))
        return [trial for name in names if (trial := self._read[name])]

    def run(self, proposals: Mapping[str, Proposal]) -> None:
        """Queue the proposals as experiments, and run the queue to its end."""
        for name, values in proposals.items():
            settings = [part for item in values.items() for part in ("-S", override(*item))]
            self._dvc("exp", "run", "--queue", "--name", name, *settings)
        self._dvc("exp", "run", "--run-all", "--jobs", str(self.jobs))

    def _trial(self, name: str) -> Trial | None:
        version = Version(name, Project(self.root))
        score = version.data(METRICS).get("val", {}).get(self.metric)
        if score is None:
            return None
        params = version.data("params.yaml")
        return Trial(name, {key: _at(params, key) for key in self.keys}, float(score))

    def _dvc(self, *arguments: str) -> None:
        command = [sys.executable, "-m", "dvc", *arguments]
        if subprocess.run(command, cwd=self.root, stdout=sys.stderr, check=False).returncode:
            raise RunError(f"dvc {' '.join(arguments[:3])} failed", remedy="See its message above")


def _at(params: object, key: str) -> Value:
    for part in key.split("."):
        if not isinstance(params, dict) or part not in params:
            raise ConfigError(f"unknown parameter {key!r}", path="params.yaml")
        params = params[part]
    return params  # type: ignore[return-value]


def _frozen(trial: Trial, space: Space) -> optuna.trial.FrozenTrial:
    """Return a trial for Optuna; ValueError where its values are not of the space."""
    return optuna.trial.create_trial(
        params=trial.values, distributions=dict(space), value=trial.score
    )


def _rounded(value: Value, allowed: BaseDistribution) -> Value:
    if not isinstance(allowed, FloatDistribution) or not isinstance(value, float):
        return value
    return float(np.clip(float(f"{value:.{DIGITS}g}"), allowed.low, allowed.high))


def _range(text: str, values: str) -> BaseDistribution:
    log = values.startswith("log:")
    found = [_scalar(end) for end in values.removeprefix("log:").split("..")]
    ends = [end for end in found if isinstance(end, int | float) and math.isfinite(end)]
    if len(ends) != 2 or ends[0] >= ends[1] or (log and ends[0] <= 0):
        raise _no_space(text)
    low, high = ends
    if isinstance(low, int) and isinstance(high, int):
        return IntDistribution(low, high, log=log)
    return FloatDistribution(low, high, log=log)


def _choices(values: str) -> CategoricalDistribution:
    return CategoricalDistribution([_scalar(part.strip()) for part in values.split(",")])


def _scalar(text: str) -> Value:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return {"true": True, "false": False, "null": None}.get(text, text)


def _no_space(text: str) -> ConfigError:
    return ConfigError(
        f"{text!r} is nothing to search over",
        expected="key=a,b,c or key=low..high or key=log:low..high",
    )
