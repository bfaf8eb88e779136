"""The code of the seed's page on training runs, on tiny data, block after block.

Its slips are mended as `MENDS` says; the rest is the page's own code, which is compared with the
page where that lies beside the project.
"""

import ast
import logging
import re
import textwrap
from functools import partial
from pathlib import Path

import keras
import numpy as np
import pytest
import rasterio
import yaml
from projects import ROOT, write_scene
from rasterio.features import rasterize

from gim_cv.fit import fit_model
from gim_cv.losses import get_loss
from gim_cv.preprocessing import get_binary_mask_training_pipeline, get_image_training_pipeline

MENDS = [
    (r"^ (?=# build preprocessing|tds\.prepare\(\) #)", "", "indented by one"),
    (r"training_data\.batch_gen_val", "tds.batch_gen_val", "no such name"),
    (r"\.\.\.\)", "**quick)", "left to the reader"),
    (r"tds = tds1 \+ tds2\n# skip", "tds = tds1 + tds2\n{cache}\n# skip", "where to load from"),
    (r"ds_inr", "ds_in", "two spellings"),
    (r"processes=False", 'processes=False, dashboard_address=":0"', "its page at a free port"),
    (r"sys\.path\.append.*", "", "utils is importable"),
    (r"row\.X0_val", "best_row.X0_val", "no such name"),
    (r"\{cache\}", 'tds.cache_directory = cfg.proc_data_path / Path("my_combined_dataset")', ""),
]
BLOCKS = [
    """
from functools import partial
from gim_cv.preprocessing import (
    get_image_training_pipeline, get_binary_mask_training_pipeline,
    get_aug_datagen
)
from gim_cv.training import TrainingDataset, pair_batch_generator

batch_generator = partial(pair_batch_generator,
                          batch_size=batch_size,
                          img_aug=get_aug_datagen(),
                          mask_aug=get_aug_datagen(),
                          seed=seed,
                          shuffle=False)

tds = TrainingDataset(
    './training_data/image_1.tif',
    './training_data/mask_1.tif',
    image_pipeline_factory=get_image_training_pipeline,
    mask_pipeline_factory=get_binary_mask_training_pipeline,
    batch_generator_fn=batch_generator,
)
tds.prepare()

model.fit(tds.batch_gen_train(),
          validation_data=tds.batch_gen_val(),
          **quick)
""",
    """
tds1 = TrainingDataset(
    './training_data/image_1.tif',
    './training_data/mask_1.tif',
    image_pipeline_factory=get_image_training_pipeline,
    mask_pipeline_factory=get_binary_mask_training_pipeline,
    batch_generator_fn=batch_generator,
)

tds2 = TrainingDataset(
    './training_data/image_2.tif',
    './training_data/mask_2.tif',
    image_pipeline_factory=get_image_training_pipeline,
    mask_pipeline_factory=get_binary_mask_training_pipeline,
    batch_generator_fn=batch_generator,
)

tds = tds1 + tds2
tds.prepare()
""",
    """
tds.cache_directory = cfg.proc_data_path / Path("my_combined_dataset")
tds.save_prepared_arrays()
""",
    """
tds = tds1 + tds2
tds.cache_directory = cfg.proc_data_path / Path("my_combined_dataset")
tds.load_prepared_arrays()
""",
    """
tds.cache_directory = cfg.proc_data_path / Path("my_combined_dataset")
try:
    tds.load_prepared_arrays()
    log.info(f"Using training data arrays cached at: {tds.cache_directory}")
except (ValueError, FileNotFoundError, KeyError) as v:
    log.warning("No cached training arrays found. Generating them...")
    tds.prepare()
    tds.save_prepared_arrays()
""",
    """
from functools import partial
from dask.distributed import Client
from gim_cv.training import fancy_batch_generator
from gim_cv.preprocessing import FancyPCA, strong_aug

client = Client(processes=False, dashboard_address=":0")
fpca = FancyPCA(tds.X_train, alpha_std=.3, p=1.0)
augger = strong_aug(p=.8, fancy_pca=fpca)
tds.batch_generator_fn = partial(
    fancy_batch_generator,
    batch_size=batch_size,
    augger=augger,
    client=client,
    seed=seed,
    shuffle_blocks_every_epoch=True,
    shuffle_within_blocks=True,
    float32=True
)
""",
    """
model.fit(tds.batch_gen_train(),
          validation_data=tds.batch_gen_val(),
          **quick)
""",
    """
from gim_cv.datasets import get_dataset

ds_in = get_dataset('phil_man_14_50cm')
ds_pot = get_dataset('viet_hcm_20_50cm')

tds_in = ds_in.load_training_data(
    batch_size=4,
    train_val_test_split=(0.9, 0.1),
)
tds_pot = ds_pot.load_training_data(
    batch_size=4,
    train_val_test_split=(0.9, 0.1),
)
tds_all = tds_in + tds_pot
tds_all.prepare()
""",
    """
import sys

import gim_cv.config as cfg
from gim_cv.models.segmentalist import Segmentalist

df_segm_trained = utils.collate_run_data(
    models_dir=cfg.models_volume_path,
    model_name='Segmentalist'
)
df_sorted = df_segm_trained.sort_values(by='lowest_val_loss').query(
    'datasets == "phil_man_14_50cm_04,phil_man_14_50cm_05" and loss_fn == "wbce_adaptive"'
)
best_row = df_sorted.iloc[0]
model = Segmentalist.load_from_metadata(row=best_row)
X_val = np.load(best_row.X0_val)
y_val_pred = model(X_val[:2]/255.)
""",
]


def test_the_blocks_are_those_of_the_page():
    page = ROOT.parent / "shared" / "spec" / "seed_training.rst"
    if not page.is_file():
        pytest.skip("the seed's page (../shared/spec) is not on this machine")
    found = re.findall(r"::\n\n((?:    .*\n|\s*\n)+)", page.read_text(encoding="utf-8"))
    code = [textwrap.dedent(block) for block in found if not block.lstrip().startswith("$ ")]
    assert len(code) == len(BLOCKS)
    for block, ours in zip(code, BLOCKS, strict=True):
        assert ast.unparse(ast.parse(mended(block))) == ast.unparse(ast.parse(ours))


def mended(block):
    for pattern, text, _ in MENDS:
        block = re.sub(pattern, text, block, flags=re.MULTILINE)
    return block


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """A project with scenes and a catalog, and what the page takes for granted."""
    with pytest.MonkeyPatch.context() as patch:
        root = tmp_path_factory.mktemp("page")
        patch.chdir(root)
        write_files(root)
        names = names_of(root)
        yield names
        if "client" in names:
            names["client"].close()


def write_files(root):
    raw = root / "data" / "raw" / "scenes"
    for name in ("a", "b"):
        write_scene(raw, name, side=512)
    folder = root / "training_data"
    folder.mkdir()
    for number, name in enumerate("ab", start=1):
        (folder / f"image_{number}.tif").symlink_to(raw / f"{name}.tif")
        draw_mask(raw, name, folder / f"mask_{number}.tif")
    rows = {
        f"{tag}_{k}": {"source": "scenes", "image": f"{n}.tif", "labels": f"{n}.geojson"}
        for tag, k, n in (("phil_man_14_50cm", "04", "a"), ("viet_hcm_20_50cm", "01", "b"))
    }
    datasets = {name[:-3]: {"pairs": [name], "resolution_m": 0.5} for name in rows}
    catalog = {"sources": {}, "pairs": rows, "datasets": datasets}
    (root / "data" / "catalog.yaml").write_text(yaml.safe_dump(catalog))


def draw_mask(raw, name, path):
    """Write the labels as a raster of class ids, as the page has them."""
    import geopandas

    with rasterio.open(raw / f"{name}.tif") as source:
        profile = source.profile | {"count": 1}
    roofs = geopandas.read_file(raw / f"{name}.geojson").to_crs(profile["crs"]).geometry
    shape = profile["height"], profile["width"]
    burnt = rasterize(roofs, out_shape=shape, transform=profile["transform"], dtype="uint8")
    with rasterio.open(path, "w", **profile) as sink:
        sink.write(burnt, 1)


def names_of(root):
    """The names that the page's reader has already."""
    import gim_cv.config as cfg
    from gim_cv import runs

    model = keras.Sequential(
        [
            keras.Input((None, None, 3)),
            keras.layers.AveragePooling2D(8),
            keras.layers.Conv2D(1, 1, activation="sigmoid"),
            keras.layers.UpSampling2D(8),
        ]
    )
    model.compile("adam", get_loss("tversky_loss", None))
    quick = {"epochs": 1, "verbose": 0}
    known = {"model": model, "quick": quick, "batch_size": 2, "seed": 1, "np": np, "utils": runs}
    return known | {"cfg": cfg, "Path": Path, "log": logging.getLogger("page")}


def run(block, names):
    exec(compile(block, "block", "exec"), names)  # noqa: S102 - the page's own code


@pytest.mark.parametrize("number", range(len(BLOCKS) - 1))
def test_block_runs(page, number):
    run(BLOCKS[number], page)


def test_what_the_blocks_have_left(page):
    assert len(page["tds"].constituents) == 2
    assert page["tds"].X_train.dtype == np.uint8
    assert (Path("data") / "prepared" / "my_combined_dataset" / "zarr.json").is_file()
    assert page["tds_all"].tags_str == "phil_man_14_50cm,viet_hcm_20_50cm"
    assert len(page["tds_all"].X_test) == 0


def test_the_last_block_runs_on_a_trained_model(page):
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    small = page["get_dataset"]("phil_man_14_50cm").load_training_data(
        cache_directory=Path("small.zarr"),
        image_pipeline_factory=partial(get_image_training_pipeline, (32, 32)),
        mask_pipeline_factory=partial(get_binary_mask_training_pipeline, (32, 32)),
        prune_fn=lambda image, mask: image[0, 0, 0] % 4 > 0,
    )
    small.save_prepared_arrays()
    fit_model(
        small.cache_directory,
        Path("data/models/Segmentalist"),
        plots_dir=Path("plots"),
        loss="wbce_adaptive",
        loss_args={},
        seed=1,
        model=params["model"] | {"initial_filters": 4, "residual_filters": [4, 8]},
        train=params["train"] | {"epochs": 1, "batch": 4},
        augment=params["augment"],
        metadata={"datasets": "phil_man_14_50cm_04,phil_man_14_50cm_05"},
        progress=False,
    )
    run(BLOCKS[-1], page)
    found = keras.ops.convert_to_numpy(page["y_val_pred"])
    assert found.shape == (2, 32, 32, 1)
    assert 0 <= found.min() <= found.max() <= 1
