r"""Join a component network and the mineral network to a shipped model.

    python experiments/shipped_model/combine.py runs/coarse_west_bare runs/fine_narrow_on \
        meteoseg/weights/chondrite.safetensors --west runs/west/west-whole
    python experiments/shipped_model/combine.py runs/coarse_bare runs/fine_narrow_on \
        meteoseg/weights/chondrite-zero-shot.safetensors
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from meteoseg.io import open_section
from meteoseg.models import combine_models, load_model, save_model
from meteoseg.train.leakage import record

SIMULATED = "simulated sections: experiments/shipped_model/render.py"
WEST = "Semarkona ps1b, west part: outlines drawn by hand at the American Museum of Natural History"

#: Tiles for predictions, by speed and by the share of labels that tiles change (docs/performance.md).
TILES = {"fine": {"tile_px": 768, "margin_px": 32}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="+", type=Path, help="training folders, then the file to write")
    parser.add_argument("--west", type=Path, metavar="FOLDER", help="the hand-drawn training example that was used")
    options = parser.parse_args()
    *parts, out = options.parts
    out.parent.mkdir(parents=True, exist_ok=True)
    note = f"Trained on {SIMULATED}" + (f", and on {WEST}." if options.west else " alone; no real label was used.")
    # With samples of its pixels, so that fine-tuning does not hold out what is known already.
    drawn = (record(open_section(options.west), name=WEST),) if options.west else ()
    combine_models(out, out.stem, parts, training_data=(SIMULATED, *drawn), licence="MIT", notes=(note,))
    model = load_model(out, device="cpu")
    networks = tuple(replace(card, **TILES.get(card.name, {})) for card in model.card.networks)
    states = {name: network.state_dict() for name, network in model.networks.items()}
    save_model(out, replace(model.card, networks=networks), states)


if __name__ == "__main__":
    main()
