"""Models in several files: split GGUF, shards and folders of safetensors; what is missing is named."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from golden.checkpoint import open_checkpoint

gguf = pytest.importorskip("gguf", reason="gguf is not installed")

pytestmark = pytest.mark.quick

HEADS = 4


def interleaved(matrix: np.ndarray) -> np.ndarray:
    """Rows of a llama's query weights as the converter orders them."""
    return matrix.reshape(HEADS, 2, -1, matrix.shape[1]).swapaxes(1, 2).reshape(matrix.shape)


@pytest.fixture
def split(tmp_path: Path, rng: np.random.Generator) -> tuple[list[Path], list[np.ndarray]]:
    """A llama of three parts, of which only the first, which has no tensors, says what it is."""
    matrices = [rng.standard_normal((64, 32)).astype(np.float32) for _ in range(2)]
    paths = [tmp_path / f"model-{number + 1:05}-of-00003.gguf" for number in range(3)]
    for number, path in enumerate(paths):
        writer = gguf.GGUFWriter(path, "llama")
        if number:
            writer.kv_data[0].pop("general.architecture")
            name = f"blk.{number - 1}.attn_q.weight"
            writer.add_tensor(name, interleaved(matrices[number - 1]))
        else:
            writer.add_uint32("llama.attention.head_count", HEADS)
        writer.add_uint16("split.no", number)
        writer.add_uint16("split.count", 3)
        writer.add_int32("split.tensors.count", 2)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
    return paths, matrices


def test_any_part_of_a_gguf_opens_all(split: tuple[list[Path], list[np.ndarray]]) -> None:
    paths, matrices = split
    hashes = set()
    for path in paths:
        checkpoint = open_checkpoint(path)
        hashes.add(checkpoint.sha256)
        assert checkpoint.files == tuple(paths)
        for tensor, matrix in zip(checkpoint.tensors, matrices, strict=True):
            np.testing.assert_array_equal(tensor.array(), matrix)
    assert len(hashes) == 1


def refused(path: Path, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)) as error:
        open_checkpoint(path)
    assert "\n" not in str(error.value)


def test_a_missing_part_of_a_gguf_is_named(split: tuple[list[Path], list[np.ndarray]]) -> None:
    paths, _ = split
    paths[1].unlink()
    refused(paths[2], f"{paths[2]}: part 2 of 3 is missing, it must be at {paths[1]}")


def test_parts_of_a_gguf_must_be_their_own(split: tuple[list[Path], list[np.ndarray]]) -> None:
    paths, _ = split
    paths[1].write_bytes(paths[2].read_bytes())
    refused(paths[0], f"{paths[1]}: split.no and split.count (2, 3) must be (1, 3)")
    other = paths[2].with_name("other.gguf")
    paths[2].rename(other)
    refused(other, f"{other}: name must end in -00001-of-00003.gguf")


@pytest.fixture
def shards(tmp_path: Path, rng: np.random.Generator) -> tuple[Path, dict[str, np.ndarray]]:
    """A folder of two shards with an index and a configuration."""
    tensors = {f"model.layers.{n}.mlp.up_proj.weight": rng.random((8, 16), np.float32) for n in range(2)}
    named = {name: f"model-{n + 1:05}-of-00002.safetensors" for n, name in enumerate(tensors)}
    for name, file in named.items():
        save_file({name: tensors[name]}, tmp_path / file)
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": named}))
    (tmp_path / "config.json").write_text('{"model_type": "llama", "num_hidden_layers": 2}')
    return tmp_path, tensors


@pytest.mark.parametrize(
    "name", ["", "model.safetensors.index.json", *(f"model-0000{n}-of-00002.safetensors" for n in (1, 2))]
)
def test_folder_index_and_shards_are_one_model(name: str, shards: tuple[Path, dict[str, np.ndarray]]) -> None:
    folder, tensors = shards
    checkpoint = open_checkpoint(folder / name)
    assert checkpoint.format == "huggingface"
    assert checkpoint.metadata["num_hidden_layers"] == 2
    assert [tensor.name for tensor in checkpoint.tensors] == list(tensors)
    for tensor in checkpoint.tensors:
        np.testing.assert_array_equal(tensor.array(), tensors[tensor.name])
        assert tensor.linear


def test_a_folder_without_an_index(shards: tuple[Path, dict[str, np.ndarray]]) -> None:
    folder, tensors = shards
    (folder / "model.safetensors.index.json").unlink()
    assert [tensor.name for tensor in open_checkpoint(folder).tensors] == list(tensors)


SECOND = "model-00002-of-00002.safetensors"
DAMAGES: list[tuple[str, Callable[[Path], object], str]] = [
    ("", lambda folder: (folder / SECOND).unlink(), f"{SECOND} of weight_map is missing"),
    (
        "model-00001-of-00002.safetensors",
        lambda folder: (folder / SECOND).unlink(),
        "part 2 of 2 is missing, it must be at",
    ),
    (
        "",
        lambda folder: save_file({"other": np.ones(3, np.float32)}, folder / SECOND),
        f"tensor model.layers.1.mlp.up_proj.weight of weight_map must be in {SECOND}",
    ),
    (
        "",
        lambda folder: (folder / SECOND).write_bytes((folder / SECOND.replace("2-", "1-", 1)).read_bytes()),
        "tensor model.layers.0.mlp.up_proj.weight must not be in model-00001-of-00002.safetensors too",
    ),
    ("", lambda folder: (folder / "config.json").write_text("[" * 100000), "config.json: must be JSON"),
    ("", lambda folder: (folder / "config.json").write_text("[]"), "must be a JSON object, not list"),
    (
        "",
        lambda folder: (folder / "model.safetensors.index.json").write_text("{}"),
        "weight_map must be an object from tensors to files",
    ),
    (
        "",
        lambda folder: [path.unlink() for path in folder.glob("model*")],
        "must have *.safetensors",
    ),
]


@pytest.mark.parametrize(("name", "damage", "message"), DAMAGES, ids=range(len(DAMAGES)))
def test_damaged_folders_are_refused(
    name: str, damage: Callable[[Path], object], message: str, shards: tuple[Path, dict[str, np.ndarray]]
) -> None:
    folder, _ = shards
    damage(folder)
    refused(folder / name, message)
