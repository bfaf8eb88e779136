"""List the code of `prepare` in one file: however many pairs there are, DVC looks at it once."""

import hashlib
import json

from gim_cv.catalog import read_yaml
from gim_cv.config import project
from gim_cv.stage import run_stage


def main() -> None:
    """Write data/code.json: path → SHA-256 of each file that this stage depends on."""
    root = project().root
    files = read_yaml(root / "dvc.yaml")["stages"]["code"]["deps"]
    found = {path: hashlib.sha256((root / path).read_bytes()).hexdigest() for path in files}
    out = root / "data" / "code.json"
    out.write_text(json.dumps(found, indent=2, sort_keys=True) + "\n", encoding="utf-8")


if __name__ == "__main__":
    run_stage(main)
