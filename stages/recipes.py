"""Write what each pair is made from, one file a pair: DVC then reads the catalog once."""

from gim_cv.catalog import load_catalog
from gim_cv.config import load_params, project
from gim_cv.recipe import write_recipes
from gim_cv.stage import run_stage
from gim_cv.template import code_of_project


def main() -> None:
    """Write data/recipes/PAIR.json: the pair's entry, the parameters and a digest of the code."""
    here = project()
    params = load_params(here.params)
    shared = {
        "code": code_of_project(here.root, "recipes"),
        "prepare": params.prepare.model_dump(),
        "split": params.split.model_dump(),
    }
    pairs = load_catalog(here.catalog).pairs
    recipes = {
        name: {**shared, "pair": pair.model_dump(mode="json")} for name, pair in pairs.items()
    }
    write_recipes(recipes, here.recipes, tmp_dir=here.tmp)


if __name__ == "__main__":
    run_stage(main)
