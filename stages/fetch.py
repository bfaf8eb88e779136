"""Fetch one source of the catalog: ``python3 -m stages.fetch SOURCE``."""

import sys

from gim_cv.catalog import load_catalog
from gim_cv.config import project
from gim_cv.sources import fetch_source
from gim_cv.stage import run_stage


def main() -> None:
    """Bring the source to data/raw/SOURCE."""
    here, name = project(), sys.argv[1]
    source = load_catalog(here.catalog).source(name)
    fetch_source(source, here.raw / name, name=name, tmp_dir=here.tmp)


if __name__ == "__main__":
    run_stage(main)
