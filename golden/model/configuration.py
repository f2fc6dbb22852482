"""What a checkpoint says of its model, in one form for GGUF, Hugging Face folders and llama2.c.

Whatever could change a result is used or refused: an entry of the metadata that is not asked for here, and a
tensor that no part of the model is, are errors.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from golden.checkpoint import Checkpoint, Tensor
from golden.model import rope
from golden.model.architecture import ARCHITECTURES, IN_ALL, LINEARS, Architecture, bias_of, names
from golden.model.entries import Entries

__all__ = ["read"]

_FULL, _SLIDING = "full_attention", "sliding_attention"


def read(checkpoint: Checkpoint) -> Architecture:
    """Read the metadata, and see that every tensor is one that the model has.

    Raises:
        ValueError: not a model of a known architecture, its metadata lack an entry, or it has something that
            this package does not implement.
    """
    readers: dict[str, tuple[str, Callable[[Checkpoint, str], Architecture]]] = {
        "gguf": ("general.architecture", _gguf),
        "huggingface": ("model_type", _huggingface),
        "llama2.c": ("", _llama2c),
    }
    key, reader = readers.get(checkpoint.format, ("", _gguf))
    name = checkpoint.metadata.get(key, "llama" if checkpoint.format == "llama2.c" else checkpoint.format)
    if name not in ARCHITECTURES:
        known = ", ".join(ARCHITECTURES)
        raise ValueError(f"{checkpoint.path}: architecture {name!r} must be one of {known}")
    found = reader(checkpoint, name)
    found.refuse_others(checkpoint)
    return found


def _find(checkpoint: Checkpoint, name: str) -> Tensor | None:
    return next((tensor for tensor in checkpoint.tensors if tensor.name == name), None)


def _gguf(checkpoint: Checkpoint, name: str) -> Architecture:
    prefix, own = f"{name}.", names("gguf")
    given = {k.removeprefix(prefix): v for k, v in checkpoint.metadata.items() if k.startswith(prefix)}
    entries = Entries(checkpoint.path, "gguf", given, prefix)
    heads, found = entries.count("attention.head_count"), _find(checkpoint, own["embedding"])
    width = entries.count("embedding_length", found.shape[-1] if found else None)
    channels = entries.count("attention.key_length", width // heads)
    if (values := entries.count("attention.value_length", channels)) != channels:
        raise entries.error("attention.value_length", values, f"must be the key length {channels}")
    layers, window = entries.count("block_count"), entries.get("attention.sliding_window") or None
    biases = [bias_of(part) for part in LINEARS if _find(checkpoint, own[bias_of(part)].format(0))]
    found = Architecture(
        name=name,
        names=own,
        parts=tuple(dict.fromkeys([*IN_ALL, *ARCHITECTURES[name], *biases])),
        layers=layers,
        heads=heads,
        kv_heads=entries.count("attention.head_count_kv", heads),
        channels=channels,
        width=width,
        hidden=entries.get("feed_forward_length"),
        context=entries.count("context_length"),
        epsilon=entries.real("attention.layer_norm_rms_epsilon"),
        angles=_gguf_angles(entries, checkpoint, name, channels),
        windows=(window,) * layers,
        tied=not _find(checkpoint, own["output"]),
    )
    entries.close()
    return found


def _gguf_angles(entries: Entries, checkpoint: Checkpoint, name: str, channels: int) -> NDArray[np.float64]:
    """Angles of a GGUF: a series, divided by a scaling's factor and by a tensor of factors."""
    turned = entries.count("rope.dimension_count", channels)
    if turned % 2 or turned > channels:
        raise entries.error("rope.dimension_count", turned, f"must be even and at most {channels}")
    kind = entries.get("rope.scaling.type", "linear")  # a factor without a type is meant linearly
    if kind not in ("none", "linear"):
        raise entries.error("rope.scaling.type", kind, "must be none or linear")
    factor = entries.real("rope.scaling.factor", 1)
    angles = rope.frequencies(turned, entries.real("rope.freq_base", 1e4))
    angles = angles if kind == "none" else rope.SCALINGS["linear"][0](angles, factor)
    if found := _find(checkpoint, names("gguf")["factors"]):
        if found.shape != angles.shape:
            what = f"of shape {found.shape} must be {angles.shape}"
            raise ValueError(f"{checkpoint.path}: tensor {found.name} {what}")
        angles = angles / found.array()
    # Files of llama have the channels of a pair side by side, the turned pairs first; the reader moved them
    # to the two halves of a head.
    return np.pad(angles, (0, (channels - turned) // 2)) if name == "llama" else angles


def _huggingface(checkpoint: Checkpoint, name: str) -> Architecture:
    entries = Entries(checkpoint.path, "huggingface", checkpoint.metadata)
    heads, width = entries.count("num_attention_heads"), entries.count("hidden_size")
    channels = entries.count("head_dim", width // heads)
    layers = entries.count("num_hidden_layers")
    flags = {"llama": ("attention_bias", "mlp_bias"), "qwen3": ("attention_bias",)}.get(name, ())
    biases = [
        bias_of(part)
        for flag, parts in (("attention_bias", LINEARS[:4]), ("mlp_bias", LINEARS[4:]))
        for part in parts
        if flag in flags and entries.get(flag)
    ]
    found = Architecture(
        name=name,
        names=names("huggingface"),
        parts=(*IN_ALL, *ARCHITECTURES[name], *biases),
        layers=layers,
        heads=heads,
        kv_heads=entries.count("num_key_value_heads", heads),
        channels=channels,
        width=width,
        hidden=entries.count("intermediate_size"),
        context=entries.count("max_position_embeddings"),
        epsilon=entries.real("rms_norm_eps"),
        angles=_huggingface_angles(entries, channels),
        windows=_windows(entries, name, layers),
        tied=bool(entries.get("tie_word_embeddings")),
    )
    entries.close()
    return found


def _huggingface_angles(entries: Entries, channels: int) -> NDArray[np.float64]:
    """Angles of a folder: from ``rope_parameters``, in older ones ``rope_theta`` and ``rope_scaling``."""
    base = entries.real("rope_theta", 1e4)
    given = {**entries.get("rope_scaling", {}), **entries.get("rope_parameters", {})}
    own = Entries(entries.path, "rope", given, "rope_parameters.")
    kind = own.get("rope_type") or own.get("type", "default")
    if kind not in rope.SCALINGS:
        raise own.error("rope_type", kind, f"must be one of {', '.join(rope.SCALINGS)}")
    scale, needed = rope.SCALINGS[kind]
    angles = rope.frequencies(channels, own.real("rope_theta", base))
    angles = scale(angles, *map(own.real, needed))
    own.close()
    return angles


def _windows(entries: Entries, name: str, layers: int) -> tuple[int | None, ...]:
    """How many keys the queries of each layer of a folder see."""
    if name == "llama":
        return (None,) * layers
    window, first = entries.get("sliding_window"), 0
    if name != "mistral":
        window = window if entries.get("use_sliding_window") else None
        first = entries.get("max_window_layers", 28)
    usual = [_FULL if window is None or layer < first else _SLIDING for layer in range(layers)]
    kinds = entries.get("layer_types", usual)
    if len(kinds) != layers or set(kinds) - {_FULL, _SLIDING} or (_SLIDING in kinds and window is None):
        what = f"must be {layers} of {_FULL} or, with a sliding_window, {_SLIDING}"
        raise entries.error("layer_types", kinds, what)
    return tuple(window if kind == _SLIDING else None for kind in kinds)


def _llama2c(checkpoint: Checkpoint, name: str) -> Architecture:
    data, own = checkpoint.metadata, names("llama2.c")
    channels = data["dim"] // data["heads"]
    return Architecture(
        name=name,
        names=own,
        parts=IN_ALL,
        layers=data["layers"],
        heads=data["heads"],
        kv_heads=data["kv_heads"],
        channels=channels,
        width=data["dim"],
        hidden=data["hidden_dim"],
        context=data["context"],
        epsilon=1e-5,
        angles=rope.frequencies(channels, 1e4),
        windows=(None,) * data["layers"],
        tied=not _find(checkpoint, own["output"]),
        paired=True,
    )
