"""Synthetic microprobe analyses with the spread of published ones, as element wt% with the name of the mineral.

Ranges and minor elements are FROM MEMORY (medium), after the tables of Deer, Howie & Zussman (2013), of Brearley &
Jones (1998) for meteorites, and of Papike (1998) for planetary samples. All iron is reported as FeO, as probe tables
do, so magnetite adds up to 92 to 95 % and its oxygen is too low.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from meteoseg.elements import ATOMIC_WEIGHT

#: Order of the elements in a table of analyses.
ELEMENTS = ("O", "Na", "Mg", "Al", "Si", "P", "Cl", "K", "Ca", "Ti", "Cr", "Mn", "Fe", "Ni")
_OXYGENS = {"Na": 0.5, "Mg": 1, "Al": 1.5, "Si": 2, "P": 2.5, "K": 0.5, "Ca": 1, "Ti": 2, "Cr": 1.5, "Mn": 1, "Fe": 1,
            "Ni": 1, "V": 1.5, "Zn": 1, "Cl": -0.5, "F": -0.5}  # fmt: skip
_TOTALS = (97.0, 101.5)
Atoms = dict[str, float]


def olivine(rng: np.random.Generator) -> Atoms:
    """Chondrites, mantle, basalts, ferroan achondrites (Ca to 1 wt%), fayalite with Mn."""
    fa = rng.choice([rng.uniform(0, 0.05), rng.uniform(0.05, 0.45), rng.uniform(0.4, 1.0)], p=[0.25, 0.5, 0.25])
    mn = rng.uniform(0.002, 0.01) + fa * rng.uniform(0.005, 0.03)
    ca = rng.choice([rng.uniform(0, 0.01), rng.uniform(0.01, 0.04)], p=[0.8, 0.2])
    ni = rng.uniform(0, 0.009) * (fa < 0.3)
    rest = 2 - mn - ca - ni
    cr = rng.uniform(0, 0.01)
    return {"Si": 1.0, "Mg": rest * (1 - fa), "Fe": rest * fa, "Mn": mn, "Ca": ca, "Ni": ni, "Cr": cr}


def _pyroxene(rng: np.random.Generator, wo: float, fs: float, al: float, *, na: float) -> Atoms:
    """Quadrilateral with Al in tetrahedra and octahedra, Na with Al, Cr or Fe3+, Ti as CaTiAl2O6; `fs` of Fe + Mg."""
    ti = rng.uniform(0, 0.01) + 0.12 * al * rng.uniform(0, 1)
    cr = rng.uniform(0, 0.03)
    mn = (1 - wo) * fs * rng.uniform(0.01, 0.04) * 2
    tetrahedral = min(al * rng.uniform(0.5, 0.8) + 2 * ti * 0.3, 0.45)
    octahedral = max(al - tetrahedral, 0)
    quad = 4 - (2 - tetrahedral) - tetrahedral - octahedral - ti - cr - na - mn
    ca = min(2 * wo, quad)
    return {"Si": 2 - tetrahedral, "Al": al, "Ti": ti, "Cr": cr, "Na": na, "Mn": mn, "Ca": ca,
            "Fe": (quad - ca) * fs, "Mg": (quad - ca) * (1 - fs)}  # fmt: skip


def orthopyroxene(rng: np.random.Generator) -> Atoms:
    """Enstatite to ferrosilite, Al2O3 to 7 wt% in the mantle."""
    fs = rng.choice([rng.uniform(0, 0.05), rng.uniform(0.05, 0.35), rng.uniform(0.3, 0.8)], p=[0.3, 0.5, 0.2])
    al = rng.choice([rng.uniform(0, 0.06), rng.uniform(0.05, 0.28)], p=[0.7, 0.3])
    return _pyroxene(rng, rng.uniform(0.002, 0.045), fs, al, na=rng.uniform(0, 0.012))


def pigeonite(rng: np.random.Generator) -> Atoms:
    """Wo 5 to 18: chondrules, eucrites, shergottites, mare basalts."""
    return _pyroxene(rng, rng.uniform(0.05, 0.18), rng.uniform(0.05, 0.75), rng.uniform(0, 0.1), na=0.005)


def augite(rng: np.random.Generator) -> Atoms:
    """Wo 22 to 49, magnesian to hedenbergite."""
    fs = rng.choice([rng.uniform(0.02, 0.3), rng.uniform(0.2, 0.95)], p=[0.7, 0.3])
    return _pyroxene(rng, rng.uniform(0.22, 0.49), fs, rng.uniform(0, 0.25), na=rng.uniform(0.005, 0.06))


def odd_clinopyroxene(rng: np.random.Generator) -> Atoms:
    """Fassaite with Al and Ti, Na-rich (omphacite, aegirine-augite, chromian diopside of kimberlites)."""
    if rng.random() < 0.5:
        al, ti = rng.uniform(0.3, 0.9), rng.uniform(0.02, 0.3)
        return {"Ca": 1.0, "Mg": 1 - 0.5 * al, "Al": al, "Ti": ti * 0.5, "Si": 2 - 0.5 * al - 0.4 * ti, "Fe": 0.03}
    na = rng.uniform(0.08, 0.4)
    share = rng.uniform(0, 1)
    quad = 1 - na
    fs = rng.uniform(0.05, 0.5)
    return {"Na": na, "Al": na * share + 0.05, "Fe": na * (1 - share) + quad * fs, "Ca": quad, "Mg": quad * (1 - fs),
            "Si": 1.97, "Ti": 0.01, "Cr": rng.uniform(0, 0.05)}  # fmt: skip


def plagioclase(rng: np.random.Generator) -> Atoms:
    """Albite to anorthite with Or 0 to 12, Fe and Mg as in basalts."""
    an = rng.choice([rng.uniform(0, 0.3), rng.uniform(0.3, 0.75), rng.uniform(0.75, 0.99)], p=[0.3, 0.35, 0.35])
    k = rng.uniform(0, 0.12) * (1 - an)
    return {"Na": 1 - an - k, "K": k, "Ca": an, "Al": 1 + an, "Si": 3 - an,
            "Fe": rng.uniform(0, 0.04), "Mg": rng.uniform(0, 0.03), "Ti": rng.uniform(0, 0.004)}  # fmt: skip


def _spinel(rng: np.random.Generator, cr_al_fe: tuple[float, float, float], usp: float, mg: float) -> Atoms:
    cr, al, fe3 = (2 * (1 - usp) * share / sum(cr_al_fe) for share in cr_al_fe)
    divalent = 1 + usp
    mn = rng.uniform(0, 0.02)
    return {"Cr": cr, "Al": al, "Ti": usp, "Mg": mg * (1 - 0.7 * usp), "Mn": mn,
            "Fe": fe3 + divalent - mg * (1 - 0.7 * usp) - mn, "Ni": rng.uniform(0, 0.006), "Si": rng.uniform(0, 0.008),
            "V": rng.uniform(0, 0.01), "Zn": rng.uniform(0, 0.01)}  # fmt: skip


def aluminous_spinel(rng: np.random.Generator) -> Atoms:
    """MgAl2O4 of CAIs to mantle spinel (Cr# to 0.45) and hercynite."""
    cr = rng.choice([rng.uniform(0, 0.03), rng.uniform(0.03, 0.45)], p=[0.4, 0.6])
    return _spinel(rng, (cr, 1 - cr, rng.uniform(0, 0.08)), rng.uniform(0, 0.01), rng.uniform(0.1, 0.99))


def chromite(rng: np.random.Generator) -> Atoms:
    """Cr# 0.55 to 1, with Ti to chromian ulvoespinel and Fe3+."""
    cr = rng.uniform(0.55, 0.98)
    fe3 = rng.choice([rng.uniform(0, 0.08), rng.uniform(0.05, 0.3)], p=[0.7, 0.3])
    return _spinel(rng, (cr, 1 - cr, fe3), rng.choice([0.0, 0.25]) * rng.random(), rng.uniform(0.02, 0.75))


def magnetite(rng: np.random.Generator) -> Atoms:
    """Magnetite of chondrites, titanomagnetite of basalts, ulvoespinel of mare basalts."""
    usp = rng.choice([rng.uniform(0, 0.05), rng.uniform(0.05, 0.6), rng.uniform(0.6, 0.95)], p=[0.3, 0.5, 0.2])
    return _spinel(rng, (rng.uniform(0, 0.1), rng.uniform(0, 0.15), 1), usp, rng.uniform(0, 0.2))


def apatite(rng: np.random.Generator) -> Atoms:
    """Fluor-, chlor- and hydroxylapatite with Fe, Mg, Na and Si."""
    cl = rng.choice([rng.uniform(0, 0.1), rng.uniform(0.1, 1)])
    f = (1 - cl) * rng.random()
    return {"Ca": 4.9, "P": 2.95, "Cl": cl, "F": f, "Fe": rng.uniform(0, 0.08), "Mg": rng.uniform(0, 0.06),
            "Na": rng.uniform(0, 0.06), "Si": rng.uniform(0, 0.12)}  # fmt: skip


def merrillite(rng: np.random.Generator) -> Atoms:
    """Merrillite with 0 to 5 wt% FeO."""
    na = rng.uniform(0.2, 1)
    fe = rng.uniform(0, 0.6)
    return {"Ca": 9.2 + 0.5 * (1 - na), "Na": na, "Mg": 1.1 - 0.8 * fe, "Fe": fe, "P": 7.0, "Si": rng.uniform(0, 0.08)}


def silica(rng: np.random.Generator) -> Atoms:
    """Quartz, and tridymite or cristobalite with Al, Na, K, Fe."""
    al = rng.choice([0.0, rng.uniform(0, 0.04)])
    return {"Si": 1 - al, "Al": al, "Na": al * rng.random(), "K": 0.2 * al * rng.random(), "Ti": rng.uniform(0, 0.002),
            "Fe": rng.uniform(0, 0.008)}  # fmt: skip


#: Kind -> (name of the phase, maker).
KINDS: dict[str, tuple[str, Callable[[np.random.Generator], Atoms]]] = {
    "olivine": ("olivine", olivine),
    "orthopyroxene": ("low-Ca pyroxene", orthopyroxene),
    "pigeonite": ("low-Ca pyroxene", pigeonite),
    "augite": ("high-Ca pyroxene", augite),
    "odd clinopyroxene": ("high-Ca pyroxene", odd_clinopyroxene),
    "plagioclase": ("plagioclase", plagioclase),
    "spinel": ("spinel", aluminous_spinel),
    "chromite": ("chromite", chromite),
    "magnetite": ("magnetite", magnetite),
    "apatite": ("phosphate", apatite),
    "merrillite": ("phosphate", merrillite),
    "silica": ("silica", silica),
}
_COUNTS = {"olivine": 320, "orthopyroxene": 220, "pigeonite": 100, "augite": 260, "odd clinopyroxene": 60,
           "plagioclase": 320, "spinel": 160, "chromite": 160, "magnetite": 130, "apatite": 110, "merrillite": 40,
           "silica": 120}  # fmt: skip


def make_analyses(seed: int = 1) -> tuple[np.ndarray, list[str]]:
    """Make 2000 analyses in random order.

    Returns
    -------
    values : (14, 2000) element wt% in the order of `ELEMENTS`; kinds : 2000 keys of `KINDS`.
    """
    rng = np.random.default_rng(seed)
    kinds = [kind for kind, count in _COUNTS.items() for _ in range(count)]
    rng.shuffle(kinds)
    return np.stack([_measure(KINDS[kind][1](rng), rng) for kind in kinds], axis=1), kinds


def _measure(atoms: Atoms, rng: np.random.Generator) -> np.ndarray:
    """Turn atoms into wt% with the analyst's error: a total, 1 % relative and 0.03 wt% of every element."""
    atoms = {element: max(count, 0.0) for element, count in atoms.items()}
    oxygen = sum(_OXYGENS[element] * count for element, count in atoms.items())
    mass = {element: count * ATOMIC_WEIGHT[element] for element, count in (atoms | {"O": oxygen}).items()}
    trivalent_iron_loss = 1.0
    if "Cr" in atoms and "Al" in atoms and atoms.get("Si", 0) < 0.01 and atoms["Fe"] > 1.4:
        trivalent_iron_loss = 0.95
    scale = rng.uniform(*_TOTALS) * trivalent_iron_loss / sum(mass.values())
    true = np.array([mass.get(element, 0.0) * scale for element in ELEMENTS])
    found = true * rng.normal(1, 0.01, len(true)) + rng.normal(0, 0.03, len(true))
    return np.round(np.maximum(found, 0), 3)
