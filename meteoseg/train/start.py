"""Warm start: a training that begins with the weights of a network that was trained before."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from meteoseg.errors import InputError, UnknownNameError
from meteoseg.io import open_section
from meteoseg.models import Model, Network, NetworkCard, load_model
from meteoseg.train.config import NetworkConfig, TrainConfig
from meteoseg.train.dataset import find_examples
from meteoseg.train.leakage import check_unseen

#: Settings of a network that decide the shapes of its weights or how it is run; they come with the weights.
_TAKEN = (
    "encoder",
    "decoder_channels",
    "pixel_width",
    "fusion",
    "tile_px",
    "margin_px",
    "component_classes",
    "phase_classes",
)
#: Those of them that may differ: they do not touch the weights.
_FREE = ("tile_px", "margin_px")


def take_over(config: TrainConfig) -> tuple[TrainConfig, Model | None]:
    """Complete the settings of a training from the network that it starts from.

    Returns
    -------
    The settings with what was left at its default taken over (layers, channels, um_per_px, class lists, widths),
    ``[network] start_network`` filled in, and the start model; None where the training starts afresh.

    Raises
    ------
    UnknownNameError : no such model or network.
    InputError : a setting that is given does not agree with the network, which network is meant is not clear, or
        a section of ``[data] validation`` was trained on by the start model.
    """
    if not config.network.start:
        return config, None
    model = load_model(config.network.start, device="cpu")
    card = start_network(model, config).card
    _check_held_out(config, model)
    network = config.network
    defaults = NetworkConfig()
    values: dict[str, Any] = {}
    for name in _TAKEN:
        given, known = getattr(network, name), getattr(card, name)
        if given == getattr(defaults, name):
            values[name] = known
        elif name not in _FREE and given != known:
            raise _disagreement(card, f"[network] {name}", given, known)
    channels = _channels(config, card)
    if config.layers and config.layers != card.layers:
        raise _disagreement(card, "layers", config.layers, card.layers)
    if config.um_per_px and config.um_per_px != card.um_per_px:
        raise _disagreement(card, "um_per_px", config.um_per_px, card.um_per_px or 0)
    network = replace(network, start_network=card.name, **values)
    um_per_px = card.um_per_px or 0.0
    return replace(config, layers=card.layers, channels=channels, um_per_px=um_per_px, network=network), model


def _check_held_out(config: TrainConfig, model: Model) -> None:
    """Check that the start model has not seen the sections that are held out whole."""
    if not model.card.training_data:
        return
    for folder in find_examples(config.data.validation):
        check_unseen(
            model.card.training_data,
            replace(open_section(folder), name=folder.name),
            model=model.card.name,
            remedy=f"take {folder} out of [data] validation, or start from a model that never saw it",
        )


def start_network(model: Model, config: TrainConfig) -> Network:
    """Return the network of `model` that a training starts from.

    Raises
    ------
    UnknownNameError : the model has no network of the given name.
    InputError : none is named and several, or none, deliver the wanted layers.
    """
    name = config.network.start_network
    if name:
        if name not in model.networks:
            raise UnknownNameError.of(f"network of model '{model.card.name}'", name, model.networks)
        return model.networks[name]
    fitting = [n for n in model.networks.values() if not config.layers or n.card.layers == config.layers]
    if len(fitting) != 1:
        listed = "; ".join(f"{n.card.name} ({', '.join(n.card.layers)})" for n in model.networks.values())
        raise InputError(
            f"Model '{model.card.name}' has the networks {listed}: "
            "say which to start from with [network] start_network."
        )
    return fitting[0]


def _channels(config: TrainConfig, card: NetworkCard) -> tuple[str, ...]:
    """Return the channel expressions of the start network (empty = canonical), after comparing them."""
    if config.channels and (card.canonical or config.channels != card.channels):
        known = "the canonical list (leave channels out)" if card.canonical else list(card.channels)
        raise _disagreement(card, "channels", config.channels, known)
    return () if card.canonical else card.channels


def _disagreement(card: NetworkCard, key: str, given: object, known: object) -> InputError:
    shown, wanted = (list(value) if isinstance(value, tuple) else value for value in (given, known))
    return InputError(
        f"{key} is {shown} but the start network '{card.name}' has {wanted}: leave {key.split()[-1]} out to take it "
        "over, or train without start."
    )


def load_start(network: Network, model: Model, name: str) -> tuple[str, ...]:
    """Give `network` the weights of the network `name` of `model`; return the notes for the card."""
    network.load_state_dict(model.networks[name].state_dict())
    return (f"started from network '{name}' of model '{model.card.name}' (SHA-256 {model.sha256})",)
