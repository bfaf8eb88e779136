"""Small real projects: a copy of this pipeline over generated scenes, under git."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import geopandas
import numpy as np
import rasterio
import yaml
from rasterio.transform import from_origin
from scipy import ndimage
from shapely import box

ROOT = Path(__file__).resolve().parent.parent
PARTS = (
    "gim_cv",
    "stages",
    "dvc.yaml",
    "params.yaml",
    ".dvcignore",
    ".gitignore",
    "pyproject.toml",
)
TINY = {
    "prepare": {"patch_px": 32, "overlap": 0.0},
    "split": {"block_m": 16.0, "fractions": [0.5, 0.25, 0.25]},
    "model": {"initial_filters": 4, "residual_filters": [4, 8]},
    "train": {"epochs": 2, "batch": 8},
}
ORIGIN = {
    "a": (500_000.0, 4_000_000.0),
    "b": (500_200.0, 4_000_100.0),
    "c": (500_400.0, 4_000_300.0),
}


def write_scene(folder: Path, name: str, *, side: int = 192) -> None:
    """Write NAME.tif (uint8, 3 bands, 0.5 m, UTM) and NAME.geojson: bright roofs on dark ground."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(sum(map(ord, name)))
    left, top = ORIGIN[name]
    transform = from_origin(left, top, 0.5, 0.5)
    image = ndimage.gaussian_filter(rng.normal(80, 60, (3, side, side)), (0, 2, 2))
    roofs = []
    for row in range(8, side - 24, 32):
        for col in range(8, side - 24, 32):
            h, w = rng.integers(10, 20, 2)
            image[:, row : row + h, col : col + w] += 100
            x, y = left + col * 0.5, top - row * 0.5
            roofs.append(box(x, y - h * 0.5, x + w * 0.5, y))
    profile = {"driver": "GTiff", "width": side, "height": side, "count": 3, "dtype": "uint8"}
    with rasterio.open(
        folder / f"{name}.tif", "w", crs="EPSG:32633", transform=transform, **profile
    ) as sink:
        sink.write(np.clip(image, 1, 255).astype(np.uint8))
    geopandas.GeoDataFrame(geometry=roofs, crs="EPSG:32633").to_crs("EPSG:4326").to_file(
        folder / f"{name}.geojson"
    )


def environment(folder: Path) -> dict[str, str]:
    """The environment of a command in the project: this interpreter, an own DVC state."""
    env = {k: v for k, v in os.environ.items() if not k.startswith(("DVC_", "GIT_", "PYTEST_"))}
    names = {
        f"GIT_{who}_{what}": f"test@{who}.invalid".lower()
        for who in ("AUTHOR", "COMMITTER")
        for what in ("NAME", "EMAIL")
    }
    return (
        env
        | names
        | {
            "PATH": f"{sys.prefix}/bin:{env['PATH']}",
            "DVC_SITE_CACHE_DIR": str(folder.parent / "dvc-site"),
            "DVC_NO_ANALYTICS": "1",
            "TF_CPP_MIN_LOG_LEVEL": "3",
            "NO_ALBUMENTATIONS_UPDATE": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
        }
    )


def run(folder: Path, *command: str, check: bool = True) -> str:
    """Run a command in the project and return what it printed."""
    done = subprocess.run(
        command, cwd=folder, env=environment(folder), capture_output=True, text=True, check=False
    )
    text = done.stdout + done.stderr
    if check and done.returncode:
        raise AssertionError(f"{' '.join(command)} exited {done.returncode}:\n{text}")
    return text


def edit_yaml(path: Path, change) -> None:
    """Read a YAML file, let `change` work on the data, and write it back."""
    data = yaml.safe_load(path.read_text())
    change(data)
    path.write_text(yaml.safe_dump(data, sort_keys=False))


def start_project(folder: Path, catalog: dict, params: dict) -> Path:
    """Make a project of this pipeline with its own catalog and changed params, under git."""
    folder.mkdir(parents=True, exist_ok=True)
    for part in PARTS:
        source = ROOT / part
        if source.is_dir():
            shutil.copytree(source, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copyfile(source, folder / part)
    (folder / "data").mkdir()
    (folder / "data" / "catalog.yaml").write_text(yaml.safe_dump(catalog, sort_keys=False))

    def change(values):
        for key, value in params.items():
            values[key] = values[key] | value if isinstance(value, dict) else value

    edit_yaml(folder / "params.yaml", change)
    with (folder / ".gitignore").open("a") as sink:
        sink.writelines(f"/data/raw/{name}\n" for name in catalog["sources"])
    run(folder, "git", "init", "-q", "-b", "main")
    run(folder, "dvc", "init", "-q")
    shutil.copyfile(ROOT / ".dvc" / "config", folder / ".dvc" / "config")
    shutil.copyfile(ROOT / ".dvcignore", folder / ".dvcignore")
    run(folder, "git", "add", "-A")
    run(folder, "git", "commit", "-q", "-m", "A small project")
    return folder


def make_project(folder: Path, names=("a", "b")) -> Path:
    """Make a tiny project with one source of generated scenes and the pairs `names`."""
    for name in names:
        write_scene(folder / "scenes", name)
    catalog = {
        "sources": {"scenes": {"url": "file:scenes", "licence": "CC0"}},
        "pairs": {
            n: {"source": "scenes", "image": f"{n}.tif", "labels": f"{n}.geojson"} for n in names
        },
        "datasets": {"all": {"pairs": list(names), "resolution_m": 0.5}},
        "scenes": {"tile": {"source": "scenes", "image": "a.tif"}},
    }
    return start_project(folder, catalog, {"datasets": "all", **TINY})


REAL_PAIRS = {
    f"{place}_{n}": {
        "source": place,
        "image": f"images/{place}_{n}.tif",
        "labels": "buildings.geojson",
    }
    for place in ("kampala", "zanzibar")
    for n in (1, 2)
}


def make_real_project(folder: Path, shared_data: Path, params: dict) -> Path:
    """Make a project over the real drone imagery of Kampala and Zanzibar, at 0.3 m."""
    catalog = {
        "sources": {
            place: {"url": f"file:{shared_data}/hot_{place}", "licence": "CC BY 4.0, ODbL"}
            for place in ("kampala", "zanzibar")
        },
        "pairs": REAL_PAIRS,
        "datasets": {"hot": {"pairs": list(REAL_PAIRS), "resolution_m": 0.3}},
        "scenes": {},
    }
    return start_project(folder, catalog, {"datasets": "hot", **params})


def changed_stages(folder: Path) -> set[str]:
    """The stages that DVC would run again."""
    return set(json.loads(run(folder, "dvc", "status", "--json")))


def stages_run(text: str) -> list[str]:
    """The stages that a ``dvc repro`` says it ran."""
    return [line.split("'")[1] for line in text.splitlines() if line.startswith("Running stage")]


def locked_hashes(folder: Path) -> dict[str, str]:
    """Output path → hash, from dvc.lock."""
    lock = yaml.safe_load((folder / "dvc.lock").read_text())
    return {
        out["path"]: out["md5"] for body in lock["stages"].values() for out in body.get("outs", [])
    }
