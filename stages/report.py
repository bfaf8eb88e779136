"""Draw pictures of what the model found, and one page about the run."""

from gim_cv.config import load_params, project
from gim_cv.report import write_report
from gim_cv.stage import run_stage


def main() -> None:
    """Write data/results/report."""
    here = project()
    params = load_params(here.params)
    write_report(
        here.combined,
        here.models / "Segmentalist",
        here.results / "evaluate",
        out_dir=here.results / "report",
        lock=here.root / "dvc.lock",
        **params.report.model_dump(),
    )


if __name__ == "__main__":
    run_stage(main)
