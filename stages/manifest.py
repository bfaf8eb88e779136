"""List the pairs' stores, and drop those of pairs that the catalog no longer names."""

from gim_cv.catalog import load_catalog
from gim_cv.config import project
from gim_cv.manifest import write_manifest
from gim_cv.stage import run_stage


def main() -> None:
    """Write data/manifest.json."""
    here = project()
    write_manifest(here.patches, load_catalog(here.catalog).pairs, here.manifest)


if __name__ == "__main__":
    run_stage(main)
