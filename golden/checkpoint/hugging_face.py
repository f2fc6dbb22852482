"""safetensors models: a file, a folder as Hugging Face has them, or one of several shards.

A folder is its ``model.safetensors.index.json`` or all its ``*.safetensors``. Where it has a ``config.json``,
this is the model's metadata and the folder its path, also if a file in it was opened. What it says of
quantisation (or ``quantize_config.json`` of GPTQ's tools, or ``hf_quant_config.json`` of ModelOpt) decides
where the tensors alone leave a choice. These files are among the model's, so they are part of its hash. A
tokenizer is not: results depend on it through ids alone, which have a hash of their own.
"""

from pathlib import Path
from typing import Any

from golden.checkpoint.safetensors_file import FLOATS, Place, Shards, load_json, siblings
from golden.checkpoint.schemes import assembled
from golden.checkpoint.tensor import Checkpoint, Tensor

__all__ = ["INDEX", "read"]

INDEX = ".safetensors.index.json"
_SETTINGS = (
    ("config.json", "quantization_config"),
    ("config.json", "quantization"),
    ("config.json", "compression_config"),
    ("quantize_config.json", None),
    ("hf_quant_config.json", "quantization"),
)


def read(path: Path) -> Checkpoint:
    """Read a model.

    Raises:
        ValueError: malformed, a shard is missing, or a format that kvloom does not read; the message names
            the file.
    """
    folder = path if path.is_dir() else path.parent
    files = _files(path)
    shards = Shards.of(files)
    said = {
        name: load_json(folder / name)
        for name in dict.fromkeys(name for name, _ in _SETTINGS)
        if (folder / name).is_file()
    }
    made = assembled(path, shards.places, _settings(said))
    taken = {part for tensor in made.values() for part in tensor.parts}
    tensors = [
        made[name] if name in made else _plain(name, place)
        for name, place in shards.places.items()
        if name in made or name not in taken
    ]
    own = (*(folder / name for name in said), *files)
    if configuration := said.get("config.json"):
        return Checkpoint(folder, "huggingface", configuration, tuple(tensors), own)
    return Checkpoint(path, "safetensors", shards.metadata, tuple(tensors), own)


def _files(path: Path) -> list[Path]:
    """The files of a model, each once, in their order."""
    if path.is_dir():
        indices = sorted(path.glob(f"*{INDEX}"))
        if len(indices) > 1:
            raise ValueError(f"{path}: must have one index, not {', '.join(index.name for index in indices)}")
        if indices:
            return _files(indices[0])
        if not (files := sorted(path.glob("*.safetensors"))):
            raise ValueError(f"{path}: must have *.safetensors")
        return sorted({shard for file in files for shard in siblings(file)})
    if not path.name.endswith(INDEX):
        return siblings(path)
    named = load_json(path).get("weight_map")
    if not isinstance(named, dict) or not all(isinstance(name, str) for name in named.values()):
        raise ValueError(f"{path}: weight_map must be an object from tensors to files")
    files = [path.with_name(Path(name).name) for name in dict.fromkeys(named.values())]
    for file in files:
        if not file.is_file():
            raise ValueError(f"{path}: {file.name} of weight_map is missing")
    found = Shards.of(files).places
    for tensor, name in named.items():
        if tensor not in found or found[tensor].path.name != Path(name).name:
            raise ValueError(f"{path}: tensor {tensor} of weight_map must be in {name}")
    return files


def _settings(said: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """What the model's files, by their names, say of its quantisation; empty where they say nothing."""
    for name, key in _SETTINGS:
        data = said.get(name, {})
        found = data if key is None else data.get(key)
        if isinstance(found, dict) and found:
            return found
    return {}


def _plain(name: str, place: Place) -> Tensor:
    """A tensor that stands for itself; one of three dimensions also gives its matrices one by one."""
    if len(place.shape) != 3 or place.kind not in FLOATS:
        return Tensor(name, place.shape, place.kind, "", place.read, parts=(name,))

    def expert(number: int) -> Tensor:
        return Tensor(f"{name}[{number}]", place.shape[1:], place.kind, "", lambda: place.read(number))

    return Tensor(name, place.shape, place.kind, "", place.read, expert=expert, parts=(name,))
