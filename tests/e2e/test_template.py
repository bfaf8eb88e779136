"""A project that was made by the installed package, without a fork of its code."""

import zipfile

import pytest
import yaml
from hatchling.builders.wheel import WheelBuilder
from projects import TINY, changed_stages, edit_yaml, run, write_scene

from gim_cv.template import PACKAGE

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A folder that holds what the wheel installs, and nothing else of the repository."""
    folder = tmp_path_factory.mktemp("site")
    (wheel,) = WheelBuilder(str(PACKAGE.parent)).build(directory=str(folder / "wheels"))
    with zipfile.ZipFile(wheel) as bundle:
        bundle.extractall(folder / "packages")
    return folder / "packages"


def test_a_project_of_the_wheel_runs_and_an_upgrade_reruns_what_it_changed(
    site, tmp_path, monkeypatch
):
    monkeypatch.setenv("PYTHONPATH", str(site))
    project = tmp_path / "mine"
    run(tmp_path, "gim-cv", "init", "mine")
    assert not (project / "gim_cv").exists()
    assert "prepare@atlanta_east" in run(project, "dvc", "stage", "list", "--name-only")
    for name in ("a", "b"):
        write_scene(project / "scenes", name)
    pairs = {
        n: {"source": "scenes", "image": f"{n}.tif", "labels": f"{n}.geojson"} for n in ("a", "b")
    }
    catalog = {
        "sources": {"scenes": {"url": "file:scenes", "licence": "CC0"}},
        "pairs": pairs,
        "datasets": {"all": {"pairs": ["a", "b"], "resolution_m": 0.5}},
        "scenes": {},
    }
    (project / "data/catalog.yaml").write_text(yaml.safe_dump(catalog))

    def shrink(params):
        params["datasets"] = "all"
        for key, values in TINY.items():
            params[key] |= values

    edit_yaml(project / "params.yaml", shrink)
    run(project, "dvc", "repro", "combine")
    learning = {"train", "evaluate", "report"}
    assert changed_stages(project) == learning

    code = site / "gim_cv" / "shuffle.py"
    code.write_text(code.read_text() + "\n# another version\n")
    text = run(project, "dvc", "repro", "--force", "--single-item", "combine", check=False)
    assert "Run `gim-cv upgrade`" in text
    assert "other code: combine." in run(project, "gim-cv", "upgrade")
    assert changed_stages(project) == {"combine"} | learning
