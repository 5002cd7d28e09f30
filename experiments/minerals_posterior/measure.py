"""Phases from simulated counts: accuracy, calibration of the posterior, foreign minerals, the neighbours' say.

    python experiments/minerals_posterior/measure.py accuracy|foreign|coupling

accuracy : sections of eight groups, 40 nA x 15 ms, 10 elements, gains refined: share of right pixels, off and on
    boundaries (3 x 3), recall of every phase above 0.5 area %, expected calibration error (15 bins), lost pixels.
foreign : each phase is left out of the list in turn; the share of its minerals' pixels that become unclassified, for
    several shares of known pixels that may be lost.
coupling : accuracy, calibration and log score for several couplings and numbers of rounds.
"""

from __future__ import annotations

import argparse

import numpy as np
from scipy.ndimage import maximum_filter, minimum_filter

from meteoseg.legend import default_legend
from meteoseg.mineraldata import minerals
from meteoseg.minerals import Calibration, ChannelResponse, ClassifierSettings, PhaseClassifier, refine_gains
from meteoseg.minerals.likelihood import softmax
from meteoseg.minerals.templates import load_templates
from meteoseg.simulate import SimulatedSection, simulate_section
from meteoseg.simulate.recipe import microprobe_responses

ELEMENTS = ("Mg", "Al", "Si", "P", "S", "Ca", "Ti", "Cr", "Fe", "Ni")
#: group, type, weathering, um per pixel, seed
SECTIONS = (
    ("LL", 3.2, "W1", 2.0, 1), ("H", 3.8, "W3", 3.0, 2), ("L", 5.0, "W2", 3.0, 3), ("CV", 3.2, "W0", 3.0, 4),
    ("CM", 2.3, "W1", 2.0, 5), ("EH", 3.2, "W1", 2.0, 6), ("CO", 3.0, "W1", 2.0, 7), ("CR", 2.6, "W2", 3.0, 8),
)  # fmt: skip
LEGEND = default_legend("phases")
#: Not told apart by these elements.
SAME = {LEGEND["iron oxyhydroxide"].id: LEGEND["magnetite"].id}
UNLABELLED = 255


def simulated_calibration() -> Calibration:
    return Calibration(
        {name: ChannelResponse(**values, relative_sd=0.03) for name, values in microprobe_responses().items()}
    )


def simulate(group: str, type_: float, weathering: str, um: float, seed: int) -> tuple[SimulatedSection, np.ndarray]:
    size_mm = (700 * um / 1000, 500 * um / 1000)
    made = simulate_section(
        group, petrologic_type=type_, weathering=weathering, size_mm=size_mm, pixel_size_um=um, seed=seed,
        channels=(*ELEMENTS, "Na", "K", "O", "Mn"),
    )  # fmt: skip
    return made, made.section.read(ELEMENTS)


def merged(labels: np.ndarray) -> np.ndarray:
    labels = labels.copy()
    for old, new in SAME.items():
        labels[labels == old] = new
    return labels


def calibration_error(probability: np.ndarray, right: np.ndarray) -> float:
    bins = np.minimum((probability * 15).astype(int), 14)
    gaps = [abs(probability[bins == b].sum() - right[bins == b].sum()) for b in range(15)]
    return float(sum(gaps) / len(right))


def judged(truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pixels that count, and those of them off boundaries."""
    known = (truth != UNLABELLED) & (truth != LEGEND["outside"].id)
    ids, counts = np.unique(merged(truth)[known], return_counts=True)
    known &= np.isin(merged(truth), ids[counts > 0.005 * counts.sum()])
    return known, known & (minimum_filter(truth, 3) == maximum_filter(truth, 3))


def accuracy() -> None:
    for group, *rest in SECTIONS:
        made, values = simulate(group, *rest)
        fitted = refine_gains(PhaseClassifier.from_calibration(simulated_calibration(), ELEMENTS), values, ELEMENTS)
        found = fitted.classifier.identify(values, ELEMENTS)
        labels, truth = merged(found.labels), merged(made.phases)
        known, off = judged(made.phases)
        matrix = truth == LEGEND["fine-grained matrix"].id
        right, lost = labels == truth, labels == LEGEND["unclassified"].id
        named = off & ~lost & ~matrix
        print(
            f"{group}: off boundaries {right[off].mean():.4f}, without matrix {right[off & ~matrix].mean():.4f}, on "
            f"boundaries {right[known & ~off].mean():.4f}; unclassified {100 * lost[off & ~matrix].mean():.3f} % off "
            f"boundaries, {100 * lost[known].mean():.2f} % of all; mixtures {100 * found.mixed[off].mean():.1f} % off, "
            f"{100 * found.mixed[known & ~off].mean():.1f} % on boundaries; calibration error without matrix "
            f"{calibration_error(found.probability[named], right[named]):.4f}",
            flush=True,
        )
        for label in np.unique(truth[off]):
            here = off & (truth == label)
            names, counts = np.unique(labels[here & ~right], return_counts=True)
            worst = f", most often {LEGEND.name_of(int(names[counts.argmax()]))}" if names.size else ""
            print(f"    {LEGEND.name_of(int(label)):22s} {100 * here.sum() / off.sum():5.1f} %  "
                  f"recall {right[here].mean():.3f}{worst}")  # fmt: skip


def foreign() -> None:
    calibration, rng, shares = simulated_calibration(), np.random.default_rng(0), (0.01, 0.001, 0.0001)
    everything = [name for name in load_templates(ELEMENTS).phases if name != "hole"]
    print("phase left out: share of its pixels that is unclassified where", *shares, "of known pixels may be lost")
    for phase in everything:
        kinds = [mineral for mineral in minerals().values() if mineral.phase == phase][:4]
        if not kinds:
            continue
        expected = [calibration.predict_counts(kind.composition_wt_pct) for kind in kinds]
        counts = [np.stack([rng.poisson(c[element], (24, 24)) for element in ELEMENTS]) for c in expected]
        values = np.concatenate(counts, axis=1).astype(np.float32)
        for plane, element in zip(values, ELEMENTS, strict=True):
            if calibration.channels[element].ones_missing:
                plane[plane == 1] = 0
        others = tuple(name for name in everything if name != phase)
        without = PhaseClassifier.from_calibration(calibration, ELEMENTS, phases=others)
        lost = []
        for share in shares:
            found = without.with_settings(ClassifierSettings(lost_share=share)).identify(values, ELEMENTS)
            lost.append(float(np.mean(found.labels == LEGEND["unclassified"].id)))
        print(f"{phase:22s}", *(f"{value:6.2f}" for value in lost), flush=True)


def exchanged(log_likelihood: np.ndarray, coupling: float, rounds: int) -> np.ndarray:
    posterior = softmax(log_likelihood)
    for _ in range(rounds):
        padded = np.pad(posterior, ((0, 0), (1, 1), (1, 1)))
        rows = padded[:, :-2] + padded[:, 1:-1] + padded[:, 2:]
        around = rows[:, :, :-2] + rows[:, :, 1:-1] + rows[:, :, 2:] - posterior
        posterior = softmax(log_likelihood + np.float32(coupling) * around)
    return posterior


def coupling() -> None:
    for group, *rest in SECTIONS[:4]:
        made, values = simulate(group, *rest)
        fitted = refine_gains(PhaseClassifier.from_calibration(simulated_calibration(), ELEMENTS), values, ELEMENTS)
        classifier = fitted.classifier
        found = classifier.search.find(values.reshape(len(values), -1))
        likelihood = found.log_likelihood.reshape(-1, *made.phases.shape)
        row_of = np.zeros(256, int)
        row_of[[LEGEND[name].id for name in classifier.templates.phases]] = np.arange(len(classifier.templates.phases))
        known, off = judged(made.phases)
        known &= made.phases != LEGEND["fine-grained matrix"].id
        truth = row_of[made.phases]
        print(group)
        for strength, rounds in ((0.0, 1), (0.3, 1), (0.5, 1), (0.8, 1), (1.2, 1), (0.5, 2), (0.5, 5), (0.8, 2)):
            posterior = exchanged(likelihood, strength, rounds)
            right, top = posterior.argmax(axis=0) == truth, posterior.max(axis=0)
            of_truth = np.take_along_axis(posterior, truth[None], axis=0)[0]
            print(
                f"    coupling {strength} x {rounds}: all {right[known].mean():.4f}, "
                f"off {right[off & known].mean():.4f}, "
                f"calibration error {calibration_error(top[known], right[known]):.4f}, "
                f"log score {-np.log(np.maximum(of_truth[known], 1e-6)).mean():.4f}",
                flush=True,
            )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("accuracy", "foreign", "coupling"))
    {"accuracy": accuracy, "foreign": foreign, "coupling": coupling}[parser.parse_args().what]()
