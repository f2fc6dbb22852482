"""The quantising command: a model in, a packed model out, and one line for every mistake."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from golden import quantize, weights
from golden.model import checkpoint
from golden.weights import layout

pytestmark = pytest.mark.quick

REPOSITORY = Path(__file__).resolve().parents[1]
LAYERS = {"layers.0.up.weight": (24, 80), "layers.0.down.weight": (10, 64)}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A safetensors model of two linear layers, a norm and an embedding."""
    rng = np.random.default_rng(0)
    tensors = {name: rng.standard_normal(shape).astype(np.float32) for name, shape in LAYERS.items()}
    tensors["norm.weight"] = rng.standard_normal(80).astype(np.float32)
    tensors["embed.weight"] = rng.standard_normal((6, 80)).astype(np.float16)
    path = tmp_path / "model.safetensors"
    save_file(tensors, path, {"made": "here"})
    return path


def read(path: Path) -> tuple[dict[str, np.ndarray], dict]:
    """Tensors by name, and the output's description if it has one."""
    tensors = load_file(path)
    with safe_open(path, "numpy") as file:
        return tensors, json.loads(file.metadata().get("kvloom", "{}"))


def files(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.mark.parametrize(
    "options",
    [
        {"dtype": "bitmod4"},
        {"dtype": "bitmod3", "group": 32, "search": "clip", "rows": 4, "lanes": 8},
        {"dtype": "int4_asym", "scale": "fp16", "zero": "float", "group": 16},
        {"dtype": "ternary", "group": 64},
        {"dtype": "e2m1", "scale": "e8m0", "group": 32, "rows": 16, "lanes": 4},
    ],
    ids=lambda options: options["dtype"],
)
def test_output_is_the_full_model(model: Path, tmp_path: Path, options: dict, capsys) -> None:
    out = tmp_path / "packed.safetensors"
    arguments = [part for key, value in options.items() for part in (f"--{key}", str(value))]
    assert quantize.main([str(model), *arguments, "--out", str(out)]) == 0
    source, _ = read(model)
    tensors, metadata = read(out)
    assert set(tensors) == set(source)
    assert metadata["packed"] == {name: list(shape) for name, shape in LAYERS.items()}
    assert {name: metadata[name] for name in options} == options
    assert metadata["source_metadata"] == {"made": "here"}
    choices = {name: options[name] for name in ("group", "scale", "search", "zero") if name in options}
    for name in LAYERS:
        expected = weights.quantize(source[name], options["dtype"], **choices)
        unpacked = layout.unpack(tensors[name].tobytes())
        np.testing.assert_array_equal(unpacked.dequantize(), expected.dequantize())
    for name in "norm.weight", "embed.weight":
        np.testing.assert_array_equal(tensors[name], source[name])
        assert tensors[name].dtype == source[name].dtype
    printed = capsys.readouterr().out
    assert all(name in printed for name in (*LAYERS, "2 layers", "bits/weight", "relative MSE", "vs 16 bit"))
    assert files(tmp_path) == {"model.safetensors", "packed.safetensors"}


def test_output_is_deterministic_and_readable(model: Path, tmp_path: Path) -> None:
    outs = [tmp_path / f"{name}.safetensors" for name in ("first", "second")]
    for out in outs:
        quantize.main([str(model), "--dtype", "bitmod4", "--out", str(out)])
    assert outs[0].read_bytes() == outs[1].read_bytes()
    (tmp_path / "plain").touch()
    assert outs[0].stat().st_mode == (tmp_path / "plain").stat().st_mode


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": "nothing"}, "model 'nothing' must be an existing file or one of smollm2"),
        ({"--dtype": "int9"}, "argument --dtype: invalid choice: 'int9' (choose from"),
        ({"--dtype": None}, "the following arguments are required: --dtype"),
        ({"--group": "0"}, "argument --group: '0' must be an integer of at least 1"),
        ({"--group": "many"}, "argument --group: 'many' must be an integer of at least 1"),
        ({"--group": "20"}, "tensor layers.0.down.weight: group 20 must be a multiple of lanes 16"),
        ({"--scale": "fp8"}, "argument --scale: invalid choice: 'fp8' (choose from"),
        ({"--search": "best"}, "argument --search: invalid choice: 'best' (choose from"),
        ({"--zero": "float"}, "tensor layers.0.down.weight: zero 'float' needs an asymmetric data type"),
        ({"--rows": "5"}, "argument --rows: invalid choice: 5 (choose from"),
        (
            {"--out": "packed.bin"},
            "argument --out: 'packed.bin' must be a .safetensors file in an existing folder",
        ),
        ({"--out": "no/where.safetensors"}, "argument --out: 'no/where.safetensors' must be"),
        ({"--out": "model.safetensors"}, "argument --out: 'model.safetensors' must not be the model itself"),
    ],
)
def test_mistakes_are_one_line(
    model: Path, tmp_path: Path, changes: dict, message: str, refusal, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    before = model.read_bytes()
    options = {"--dtype": "bitmod4", "--out": "packed.safetensors"} | changes
    name = options.pop("model", str(model))
    arguments = [part for key, value in options.items() if value for part in (key, value)]
    shown, error = refusal(quantize.main, [name, *arguments])
    assert shown == ""
    assert f"error: {message}" in error
    assert files(tmp_path) == {"model.safetensors"}
    assert model.read_bytes() == before


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_weight_that_is_not_finite_is_named(tmp_path: Path, value: float, capsys) -> None:
    path = tmp_path / "model.safetensors"
    save_file({"layer.weight": np.full((4, 16), value, np.float32)}, path)
    with pytest.raises(SystemExit):
        quantize.main([str(path), "--dtype", "int4", "--out", str(tmp_path / "packed.safetensors")])
    assert "tensor layer.weight: weights must be finite" in capsys.readouterr().err
    assert files(tmp_path) == {"model.safetensors"}


def test_a_model_without_linear_layers_is_refused(tmp_path: Path, capsys) -> None:
    path = tmp_path / "model.safetensors"
    save_file({"norm.weight": np.ones(4, np.float32)}, path)
    with pytest.raises(SystemExit):
        quantize.main([str(path), "--dtype", "int4", "--out", str(tmp_path / "packed.safetensors")])
    assert "must have a linear layer" in capsys.readouterr().err


@pytest.mark.parametrize("failure", [OSError("disk full"), KeyboardInterrupt()])
def test_nothing_half_written_is_left(model: Path, tmp_path: Path, failure, monkeypatch, capsys) -> None:
    def fail(tensors: dict, path: Path, metadata: dict) -> None:
        Path(path).write_bytes(b"half")
        raise failure

    monkeypatch.setattr(quantize, "save_file", fail)
    out = tmp_path / "packed.safetensors"
    out.write_bytes(b"older")
    arguments = [str(model), "--dtype", "int4", "--out", str(out)]
    if isinstance(failure, KeyboardInterrupt):
        assert quantize.main(arguments) == 130
    else:
        with pytest.raises(SystemExit):
            quantize.main(arguments)
        assert "error: disk full" in capsys.readouterr().err
    assert out.read_bytes() == b"older"
    assert files(tmp_path) == {"model.safetensors", "packed.safetensors"}


def test_command_line_of_a_fresh_process(model: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "golden.quantize"]
    usage = subprocess.run([*command, "--help"], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert all(
        name in usage.stdout for name in ("--dtype", "--group", "--scale", "--search", "--rows", "--out")
    )
    out = tmp_path / "packed.safetensors"
    arguments = [str(model), "--dtype", "fp4", "--out", str(out)]
    run = subprocess.run([*command, *arguments], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert "layers.0.up.weight" in run.stdout
    assert out.is_file()


def test_q4_1_is_taken_over_exactly() -> None:
    rng = np.random.default_rng(3)
    header = rng.standard_normal((6, 4, 2)).astype("<f2")
    header[..., 0] = np.abs(header[..., 0]) * np.geomspace(1e-6, 100, 4)
    header[5] = 0
    blocks = np.concatenate([header.view(np.uint8), rng.integers(0, 256, (6, 4, 16), np.uint8)], -1)
    tensor = checkpoint.Tensor("a", (6, 128), "Q4_1", True, blocks.reshape(6, -1))
    q = quantize.from_q4_1(tensor)
    np.testing.assert_array_equal(q.dequantize(np.float32), tensor.array())
    assert not q.scale_mantissa[5].any()
    with pytest.raises(ValueError, match="tensor a must have finite scales >= 0"):
        quantize.from_q4_1(dataclasses.replace(tensor, raw=np.full_like(tensor.raw, 0x80)))
    with pytest.raises(ValueError, match=r"tensor a is F32 \(6, 128\), must be a Q4_1 matrix"):
        quantize.from_q4_1(dataclasses.replace(tensor, kind="F32"))


def test_a_llama2c_model(tiny_file: checkpoint.Checkpoint, tmp_path: Path, capsys) -> None:
    out = tmp_path / "tiny.safetensors"
    assert quantize.main([str(tiny_file.path), "--dtype", "bitmod4", "--group", "64", "--out", str(out)]) == 0
    assert "14 layers" in capsys.readouterr().out
    tensors, metadata = read(out)
    assert metadata["source_metadata"]["heads"] == 8
    assert set(tensors) == {tensor.name for tensor in tiny_file.tensors}
    for tensor in tiny_file.tensors:
        stored = tensors[tensor.name]
        real = layout.unpack(stored.tobytes()).dequantize() if tensor.linear else stored
        assert np.square(real - tensor.array()).sum() <= 0.02 * np.square(tensor.array()).sum()


@pytest.mark.llm
def test_smollm2_q4_1_layers_are_taken_over_exactly(smollm2_file: checkpoint.Checkpoint) -> None:
    for name in "blk.0.attn_q.weight", "blk.3.attn_k.weight", "blk.29.ffn_down.weight":
        q = quantize.from_q4_1(smollm2_file[name])
        np.testing.assert_array_equal(q.dequantize(np.float32), smollm2_file[name].array())
