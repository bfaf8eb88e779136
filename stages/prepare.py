"""Turn one pair into a patch store: ``python3 -m stages.prepare PAIR``."""

import sys

from gim_cv.audit import audit_scene
from gim_cv.catalog import Pair
from gim_cv.config import Prepare, Split, project
from gim_cv.ground import GroundSplit
from gim_cv.pairs import PairStream, open_scene
from gim_cv.recipe import read_recipe
from gim_cv.stage import run_stage
from gim_cv.store import write_store


def main() -> None:
    """Write data/patches/PAIR.zarr."""
    here, name = project(), sys.argv[1]
    found = read_recipe(here.recipes, name)
    pair = Pair(**found["pair"])
    prepare = Prepare(**found["prepare"]).model_dump()
    split = Split(**found["split"]).model_dump()
    scene = open_scene(pair, here.raw, split=GroundSplit(**split), **prepare)
    for doubt in audit_scene(pair, scene).warnings:
        sys.stderr.write(f"warning: {name}: {doubt}\n")
    patches = PairStream(pair, scene, progress=name)
    recipe = {"pair": found["pair"], "prepare": prepare, "split": split}
    out = here.patches / f"{name}.zarr"
    write_store(patches, out, recipe=recipe, attrs=patches.attrs, tmp_dir=here.tmp)


if __name__ == "__main__":
    run_stage(main)
