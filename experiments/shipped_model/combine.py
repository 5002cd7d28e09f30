r"""Join a component network and the mineral network to a shipped model.

    python experiments/shipped_model/combine.py runs/coarse_west runs/fine \
        meteoseg/weights/chondrite.safetensors --west
    python experiments/shipped_model/combine.py runs/coarse_ordinary runs/fine \
        meteoseg/weights/chondrite-zero-shot.safetensors
"""

from __future__ import annotations

import argparse
from pathlib import Path

from meteoseg.models import combine_models

SIMULATED = "simulated sections: experiments/shipped_model/render.py"
WEST = "Semarkona ps1b, west part: outlines drawn by hand at the American Museum of Natural History"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="+", type=Path, help="training folders, then the file to write")
    parser.add_argument("--west", action="store_true", help="the hand-drawn outlines were used")
    options = parser.parse_args()
    *parts, out = options.parts
    out.parent.mkdir(parents=True, exist_ok=True)
    note = f"Trained on {SIMULATED}" + (f", and on {WEST}." if options.west else " alone; no real label was used.")
    data = (SIMULATED, WEST) if options.west else (SIMULATED,)
    combine_models(out, out.stem, parts, training_data=data, licence="MIT", notes=(note,))


if __name__ == "__main__":
    main()
