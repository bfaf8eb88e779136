"""List the pairs' stores, and drop those of pairs that the catalog no longer names."""

import sys

from gim_cv.config import project
from gim_cv.manifest import write_manifest
from gim_cv.recipe import recipe_names
from gim_cv.stage import run_stage


def main() -> None:
    """Write data/manifest.json."""
    here = project()
    for name in write_manifest(here.patches, recipe_names(here.recipes), here.manifest):
        sys.stderr.write(f"dropped {here.patches / name}: the catalog no longer names this pair\n")


if __name__ == "__main__":
    run_stage(main)
