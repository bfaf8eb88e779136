"""Shuffle the chosen datasets' patches into one store."""

from gim_cv.catalog import load_catalog
from gim_cv.combine import combine_stores
from gim_cv.config import load_params, project
from gim_cv.stage import run_stage


def main() -> None:
    """Write data/combined.zarr."""
    here = project()
    params = load_params(here.params)
    names = load_catalog(here.catalog).pairs_of(params.datasets)
    combine_stores(
        [here.patches / f"{name}.zarr" for name in names],
        here.combined,
        seed=params.combine.shuffle_seed,
        memory_mib=params.combine.memory_mib,
        tmp_dir=here.tmp,
        progress=True,
    )


if __name__ == "__main__":
    run_stage(main)
