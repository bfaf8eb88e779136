"""Score the trained model on validation and test ground."""

from gim_cv.config import load_params, project
from gim_cv.evaluate import evaluate_run
from gim_cv.stage import run_stage


def main() -> None:
    """Write data/results/evaluate."""
    here = project()
    params = load_params(here.params)
    evaluate_run(
        here.combined,
        here.models / "Segmentalist",
        out_dir=here.results / "evaluate",
        progress=True,
        **params.evaluate.model_dump(),
    )


if __name__ == "__main__":
    run_stage(main)
