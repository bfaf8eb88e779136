import shlex

import pytest
import yaml
from dvc.utils.hydra import apply_overrides
from imports import ROOT

from gim_cv.config import load_params
from stages.train_segmentalist import FLAGS, command

SETS = {
    "-d a,b": ("datasets", ("a", "b")),
    "-tsr 0.5": ("prepare.resolution_m", 0.5),
    "-ot": ("prepare.overlap", 0.5),
    "-l tversky_loss": ("loss", "tversky_loss"),
    "--loss tversky:alpha=.3,beta=.7": ("loss", "tversky:alpha=.3,beta=.7"),
    "-s 7": ("seed", 7),
    "-ep 80": ("train.epochs", 80),
    "-bs 4": ("train.batch", 4),
    "-lr 1e-3": ("train.learning_rate", 0.001),
    "-opt ranger": ("train.optimizer", "ranger"),
    "-p 5": ("train.patience", 5),
    "-sag": ("model.decoder_attention_gates", "SAG"),
    "-csag": ("model.decoder_attention_gates", "CSAG"),
    "-ecbam": ("model.encoder_cbam", True),
    "-dcbam": ("model.decoder_cbam", True),
    "-ds": ("model.deep_supervision", True),
    "-pp": ("model.pyramid_pooling", True),
    "-lc": ("model.lambda_conv", True),
    "-mls": ("model.multi_level_skip", True),
    "-lb 3": ("model.layer_blocks", 3),
    "-if 64": ("model.initial_filters", 64),
    "-swa": ("train.swa_share", 0.25),
}


def applied(flags, tmp_path):
    """The parameters after DVC has applied the command's overrides, as the stages read them."""
    parts, _ = command(shlex.split(flags))
    assert parts[:3] == ["dvc", "exp", "run"]
    given = parts[4::2]
    assert parts[3::2] == ["--set-param"] * len(given)
    path = tmp_path / "params.yaml"
    original = yaml.safe_load((ROOT / "params.yaml").read_text())
    original["prepare"]["overlap"] = original["train"]["swa_share"] = 0.0
    path.write_text(yaml.safe_dump(original, sort_keys=False))
    before = load_params(path).model_dump()
    apply_overrides(path, given)
    return before, load_params(path).model_dump()


def at(params, key):
    for part in key.split("."):
        params = params[part]
    return params


@pytest.mark.parametrize("flags", SETS)
def test_a_flag_sets_its_parameter_and_no_other(flags, tmp_path):
    before, after = applied(flags, tmp_path)
    key, value = SETS[flags]
    assert at(after, key) == value
    assert at(before, key) != value
    section, _, name = key.rpartition(".")
    (after[section] if section else after)[name] = at(before, key)
    assert after == before


def test_every_flag_is_tested_and_its_parameter_exists():
    assert {flag.short for flag in FLAGS} <= {flags.split()[0] for flags in SETS}
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    for flag in FLAGS:
        at(params, flag.key)


def test_the_example_of_old_is_one_run(tmp_path):
    flags = "-d phil_man_14_50cm,viet_hcm_20_50cm -tsr 0.5 -sag -ds -pp -ot -l tversky_loss -ep 80"
    _, after = applied(flags, tmp_path)
    assert after["datasets"] == ("phil_man_14_50cm", "viet_hcm_20_50cm")
    assert (after["loss"], after["train"]["epochs"]) == ("tversky_loss", 80)


def test_name_queue_and_dry_run():
    parts, wanted = command(["-n", "try", "--queue", "--dry-run"])
    assert parts == ["dvc", "exp", "run", "--name", "try", "--queue"]
    assert not wanted
    assert command([])[1]


def test_help_names_every_parameter(capsys):
    with pytest.raises(SystemExit):
        command(["--help"])
    text = " ".join(capsys.readouterr().out.split())
    for flag in FLAGS:
        sets = f"{flag.key}={flag.value}" if flag.value else flag.key
        assert f"[{sets}]" in text


def test_two_kinds_of_gates_are_refused(capsys):
    with pytest.raises(SystemExit):
        command(["-sag", "-csag"])
    assert "not allowed with" in capsys.readouterr().err
