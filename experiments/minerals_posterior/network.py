"""Phases of simulated counts from chemistry, from the network, and from both joined in several ways.

    python experiments/minerals_posterior/network.py [--seed N]

The sections, channels and scores of ``measure.py accuracy``: share of right pixels off boundaries / of all. Joined, as
``meteoseg segment`` does: the network's say on fine-grained matrix alone. In the product the network's log-probability
counts half or whole. `--seed` is added to the seeds of the sections.
"""

from __future__ import annotations

import argparse
from dataclasses import replace

import numpy as np
from measure import ELEMENTS, LEGEND, SECTIONS, judged, merged, simulate, simulated_calibration
from numpy.typing import NDArray

from meteoseg.inference import Inputs, Runner, choose_grid
from meteoseg.legend import MATRIX
from meteoseg.minerals import PhaseClassifier, refine_gains
from meteoseg.models import load_model
from meteoseg.section import Section

#: Added to probabilities before their logarithm is taken.
FLOOR = {"chemistry": 1e-4, "network": 1e-3}


def by_id(shares: NDArray[np.floating], names: tuple[str, ...], n_ids: int) -> NDArray[np.float32]:
    """Sort probabilities (K, H, W) of named phases by legend id (n_ids, H, W)."""
    out = np.zeros((n_ids, *shares.shape[1:]), np.float32)
    for name, share in zip(names, shares, strict=True):
        out[LEGEND[name].id] += share
    return out


def network_shares(section: Section) -> tuple[NDArray[np.float16], tuple[str, ...]]:
    """Return what the shipped mineral network says with the ten elements alone."""
    network = next(net for net in load_model("chondrite").networks.values() if net.card.layers == ("phases",))
    section = replace(section, channels={name: section.channels[name] for name in ELEMENTS})
    grid = choose_grid(network.card, section)
    return Runner(Inputs(section)).probabilities(network, grid)["phases"], network.card.phase_classes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    more = parser.parse_args().seed
    n_ids = max(LEGEND.ids) + 1
    for group, type_, weathering, um, seed in SECTIONS:
        made, values = simulate(group, type_, weathering, um, seed + more)
        classifier = PhaseClassifier.from_calibration(simulated_calibration(), ELEMENTS)
        classifier = refine_gains(classifier, values, ELEMENTS).classifier
        chemistry = by_id(classifier.posterior(values, ELEMENTS), classifier.templates.phases, n_ids)
        shares, names = network_shares(made.section)
        network, matrix = by_id(shares, names, n_ids), shares[names.index(MATRIX)].astype(np.float32)
        logs = {
            "chemistry": np.log(chemistry + FLOOR["chemistry"]),
            "network": np.log(network + FLOOR["network"]),
        }
        found = {
            "chemistry": logs["chemistry"],
            "network": logs["network"],
            "product, half": logs["chemistry"] + 0.5 * logs["network"],
            "product": logs["chemistry"] + logs["network"],
        }
        truth, (known, off) = merged(made.phases), judged(made.phases)
        scores = []
        for name, scored in found.items():
            scored[LEGEND["outside"].id] = -np.inf
            right = merged(scored.argmax(axis=0).astype(np.uint8)) == truth
            scores.append(f"{name} {right[off].mean():.3f} / {right[known].mean():.3f}")
        right = merged(classifier.identify(values, ELEMENTS, texture=matrix).labels) == truth
        scores.append(f"joined {right[off].mean():.3f} / {right[known].mean():.3f}")
        print(group, ", ".join(scores), flush=True)


if __name__ == "__main__":
    main()
