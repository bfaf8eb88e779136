"""Train by the flags of old: each sets a parameter, and all together are one ``dvc exp run``.

::

    python3 -m stages.train_segmentalist -d city_a,city_b -tsr 0.5 -sag -ds -pp -l tversky -ep 80

What no flag names keeps its value in params.yaml.
"""

import argparse
import shlex
import subprocess
import sys
from dataclasses import dataclass

from gim_cv.config import Params, override
from gim_cv.stage import run_stage


@dataclass(frozen=True)
class Flag:
    """A flag, the parameter that it sets, and the value where the flag itself says it."""

    short: str
    long: str
    key: str
    value: str | None = None


FLAGS = (
    Flag("-d", "--datasets", "datasets"),
    Flag("-tsr", "--target-spatial-resolution", "prepare.resolution_m"),
    Flag("-ot", "--overlapping-tiles", "prepare.overlap", "0.5"),
    Flag("-l", "--loss", "loss"),
    Flag("-s", "--seed", "seed"),
    Flag("-ep", "--epochs", "train.epochs"),
    Flag("-bs", "--batch-size", "train.batch"),
    Flag("-lr", "--learning-rate", "train.learning_rate"),
    Flag("-opt", "--optimizer", "train.optimizer"),
    Flag("-p", "--patience", "train.patience"),
    Flag("-swa", "--stochastic-weight-averaging", "train.swa_share", "0.25"),
    Flag("-sag", "--spatial-attention-gates", "model.decoder_attention_gates", "SAG"),
    Flag("-csag", "--channel-spatial-attention-gates", "model.decoder_attention_gates", "CSAG"),
    Flag("-ecbam", "--encoder-cbam", "model.encoder_cbam", "true"),
    Flag("-dcbam", "--decoder-cbam", "model.decoder_cbam", "true"),
    Flag("-ds", "--deep-supervision", "model.deep_supervision", "true"),
    Flag("-pp", "--pyramid-pooling", "model.pyramid_pooling", "true"),
    Flag("-lc", "--lambda-conv", "model.lambda_conv", "true"),
    Flag("-mls", "--multi-level-skip", "model.multi_level_skip", "true"),
    Flag("-lb", "--layer-blocks", "model.layer_blocks"),
    Flag("-if", "--initial-filters", "model.initial_filters"),
)


def described(key: str) -> str:
    """Return what docs/parameters.md says of a parameter."""
    section, _, name = key.rpartition(".")
    fields = Params.model_fields
    if section:
        annotation = fields[section].annotation
        fields = getattr(annotation, "model_fields")  # noqa: B009
    return str(fields[name].description)


def make_parser() -> argparse.ArgumentParser:
    """Return the parser; each value is kept under its parameter's key."""
    parser = argparse.ArgumentParser(
        prog="train_segmentalist",
        usage="%(prog)s [flag [value]]...",
        description="Train by the flags of old: one `dvc exp run` with these parameters.",
        epilog="What no flag names keeps its value in params.yaml.",
        allow_abbrev=False,
    )
    keys = {flag.key for flag in FLAGS}
    groups = {key: parser.add_mutually_exclusive_group() for key in keys}
    for flag in FLAGS:
        sets = f"{flag.key}={flag.value}" if flag.value else flag.key
        groups[flag.key].add_argument(
            flag.short,
            flag.long,
            dest=flag.key,
            action="store_const" if flag.value else "store",
            help=f"{described(flag.key)} [{sets}]".replace("%", "%%"),
            **({"const": flag.value} if flag.value else {"metavar": "X"}),  # type: ignore[arg-type]
        )
    parser.add_argument("-n", "--name", help="name of the experiment")
    parser.add_argument("--queue", action="store_true", help="queue it, do not run it now")
    parser.add_argument("--dry-run", action="store_true", help="print the command only")
    return parser


def command(arguments: list[str]) -> tuple[list[str], bool]:
    """Return the command of DVC that the flags stand for, and whether to run it."""
    found = vars(make_parser().parse_args(arguments))
    name, queue, dry = found.pop("name"), found.pop("queue"), found.pop("dry_run")
    parts = ["dvc", "exp", "run"]
    parts += ["--name", name] if name else []
    parts += ["--queue"] if queue else []
    for key, value in found.items():
        parts += [] if value is None else ["--set-param", override(key, value)]
    return parts, not dry


def main() -> None:
    """Print the command and run it."""
    parts, wanted = command(sys.argv[1:])
    sys.stdout.write(f"{shlex.join(parts)}\n")
    sys.stdout.flush()
    if wanted:
        raise SystemExit(subprocess.run([sys.executable, "-m", *parts], check=False).returncode)


if __name__ == "__main__":
    run_stage(main)
