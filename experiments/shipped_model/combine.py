"""Join the coarse networks and the fine one to the shipped model.

python experiments/shipped_model/combine.py runs/coarse runs/coarse_b runs/fine meteoseg/weights/chondrite.safetensors
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from meteoseg.models import combine_models


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="+", type=Path, help="training folders, then the file to write")
    parser.add_argument("--scores", type=Path, help="JSON file of scores for the card")
    options = parser.parse_args()
    *parts, out = options.parts
    out.parent.mkdir(parents=True, exist_ok=True)
    changes = {"scores": json.loads(options.scores.read_text())} if options.scores else {}
    data = ("simulated sections: experiments/shipped_model/render.py (no real label)",)
    combine_models(out, "chondrite", parts, training_data=data, licence="MIT", **changes)


if __name__ == "__main__":
    main()
