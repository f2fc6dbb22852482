"""The quantising command: a model in, a packed model out, and one line for every mistake."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load_file, save_file

from golden import checkpoint, quantize, weights
from golden.weights import layout
from golden.weights.packet import Packet
from hw.config import preset, presets

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


@pytest.mark.quick
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


@pytest.mark.quick
def test_output_is_deterministic_and_readable(model: Path, tmp_path: Path) -> None:
    outs = [tmp_path / f"{name}.safetensors" for name in ("first", "second")]
    for out in outs:
        quantize.main([str(model), "--dtype", "bitmod4", "--out", str(out)])
    assert outs[0].read_bytes() == outs[1].read_bytes()
    (tmp_path / "plain").touch()
    assert outs[0].stat().st_mode == (tmp_path / "plain").stat().st_mode


@pytest.mark.quick
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
        ({"--preset": "huge"}, "argument --preset: invalid choice: 'huge' (choose from"),
        ({"--dtype": "stored", "--group": "32"}, "argument --group: must not be given with --dtype stored"),
        ({"--include": "nothing"}, "argument --include: 'nothing' must fit the name of a tensor"),
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


@pytest.mark.quick
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--dtype", "stored"], "with codes to keep (found: F32 has no exact form, embedding, norm)"),
        (["--dtype", "int4", "--skip", "layers*"], "(found: embedding, norm, skipped)"),
    ],
)
def test_nothing_to_pack_is_one_line(
    model: Path, tmp_path: Path, arguments: list[str], message: str, refusal
) -> None:
    _, error = refusal(quantize.main, [str(model), *arguments, "--out", str(tmp_path / "out.safetensors")])
    assert f"model {str(model)!r} must have a linear layer" in error
    assert message in error


@pytest.mark.quick
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_weight_that_is_not_finite_is_named(tmp_path: Path, value: float, capsys) -> None:
    path = tmp_path / "model.safetensors"
    save_file({"layer.weight": np.full((4, 16), value, np.float32)}, path)
    with pytest.raises(SystemExit):
        quantize.main([str(path), "--dtype", "int4", "--out", str(tmp_path / "packed.safetensors")])
    assert "tensor layer.weight: weights must be finite" in capsys.readouterr().err
    assert files(tmp_path) == {"model.safetensors"}


@pytest.mark.quick
def test_a_model_without_linear_layers_is_refused(tmp_path: Path, capsys) -> None:
    path = tmp_path / "model.safetensors"
    save_file({"norm.weight": np.ones(4, np.float32)}, path)
    with pytest.raises(SystemExit):
        quantize.main([str(path), "--dtype", "int4", "--out", str(tmp_path / "packed.safetensors")])
    assert "must have a linear layer" in capsys.readouterr().err


@pytest.mark.quick
@pytest.mark.parametrize(
    "failure", [OSError("disk full"), SafetensorError("I/O error: disk full"), KeyboardInterrupt()]
)
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
        error = capsys.readouterr().err
        assert "disk full" in error
        assert error.count("\n") == 1
    assert out.read_bytes() == b"older"
    assert files(tmp_path) == {"model.safetensors", "packed.safetensors"}


@pytest.mark.quick
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


@pytest.mark.quick
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


def packed(path: Path, name: str) -> np.ndarray:
    """Weights of a packet, or of all packets of a tensor."""
    data = read(path)[0][name]
    if data.ndim == 1:
        return layout.unpack(data.tobytes()).dequantize()
    return np.stack([layout.unpack(one.tobytes()).dequantize() for one in data])


@pytest.fixture
def mixed(tmp_path: Path, rng: np.random.Generator) -> tuple[Path, dict[str, np.ndarray]]:
    """GPTQ with permuted inputs, MXFP4 experts, NVFP4 with its factor, floats; and the true weights."""
    codes, order = rng.integers(0, 16, (16, 64)), rng.permutation(np.arange(64) // 32)
    scales = rng.integers(1, 99, (16, 2)).astype(np.float16)
    words = codes.reshape(16, 8, 8) << 4 * np.arange(8)
    tensors = {
        "a.qweight": words.sum(-1).astype(np.uint32).view(np.int32).T,
        "a.qzeros": np.full((2, 2), 0x77777777, np.int32),
        "a.scales": scales.T,
        "a.g_idx": order.astype(np.int32),
        "e.experts_blocks": rng.integers(0, 256, (3, 16, 2, 16), np.uint8),
        "e.experts_scales": np.full((3, 16, 2), 128, np.uint8),
        "n.weight": rng.integers(0, 256, (16, 32), np.uint8),
        "n.weight_scale": np.full((16, 4), 0x38, np.uint8),
        "n.weight_scale_2": np.array([0.3], np.float32),
        "f.weight": rng.standard_normal((16, 64)).astype(np.float32),
        "f.norm": np.ones(64, np.float32),
        "nothing": np.zeros((0, 64), np.float32),
    }
    path = tmp_path / "mixed.safetensors"
    save_file({name: np.ascontiguousarray(array) for name, array in tensors.items()}, path)
    values = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6, 0, -0.5, -1, -1.5, -2, -3, -4, -6])
    bytes_of = (tensors["e.experts_blocks"], tensors["n.weight"])
    pairs = [np.stack([values[data & 15], values[data >> 4]], -1) for data in bytes_of]
    weights = {
        "a.weight": scales.astype(np.float64)[:, order] * (codes - 8),
        "e.experts": pairs[0].reshape(3, 16, 64) * 2,
        "n.weight": pairs[1].reshape(16, 64),
    }
    return path, weights


@pytest.mark.quick
def test_stored_keeps_every_code(mixed: tuple[Path, dict[str, np.ndarray]], tmp_path: Path, capsys) -> None:
    path, weights = mixed
    out = tmp_path / "out.safetensors"
    assert quantize.main([str(path), "--dtype", "stored", "--out", str(out)]) == 0
    tensors, about = read(out)
    order = tensors["a.weight.permutation"]
    np.testing.assert_array_equal(packed(out, "a.weight"), weights["a.weight"][:, order])
    for name in "e.experts", "n.weight":
        np.testing.assert_array_equal(packed(out, name), weights[name])
    assert about["packed"] == {name: list(array.shape) for name, array in weights.items()}
    assert about["group"] is None
    kept = about["tensors"]
    assert kept["a.weight"]["permutation"] == "a.weight.permutation"
    assert kept["n.weight"]["multiplier"] == float(np.float32(0.3))
    assert kept["e.experts"] | {"from": "", "shape": []} == {
        "from": "",
        "became": "packed exactly",
        "shape": [],
        "dtype": "e2m1",
        "group": 32,
        "scale": "e8m0",
    }
    reasons = {name: kept[name]["why"] for name in kept if kept[name]["became"] == "copied"}
    assert reasons == {"f.weight": "F32 has no exact form", "f.norm": "norm", "nothing": "without elements"}
    assert about["weights"] == {"packed exactly": 16 * 64 * 5, "copied": 16 * 64 + 64}
    printed = capsys.readouterr().out
    assert all(name in printed for name in (*weights, "f.weight", "copied: F32 has no exact form"))
    assert "6,208 weights:" in printed


@pytest.mark.quick
def test_requantising_is_said(mixed: tuple[Path, dict[str, np.ndarray]], tmp_path: Path, capsys) -> None:
    path, weights = mixed
    out = tmp_path / "out.safetensors"
    assert quantize.main([str(path), "--dtype", "int8", "--group", "32", "--out", str(out)]) == 0
    became = {name: entry["became"] for name, entry in read(out)[1]["tensors"].items()}
    assert became["f.weight"] == "quantised"
    assert {became[name] for name in weights} == {"requantised"}
    np.testing.assert_allclose(packed(out, "a.weight"), weights["a.weight"], atol=8)
    np.testing.assert_allclose(packed(out, "n.weight"), weights["n.weight"] * np.float32(0.3), atol=0.02)
    assert packed(out, "e.experts").shape == (3, 16, 64)


@pytest.mark.quick
@pytest.mark.parametrize("name", presets())
def test_preset_packs_for_that_accelerator(name: str, model: Path, tmp_path: Path) -> None:
    out, config = tmp_path / "out.safetensors", preset(name)
    assert quantize.main([str(model), "--dtype", "int4", "--preset", name, "--out", str(out)]) == 0
    tensors, about = read(out)
    shape = {"rows": config.rows, "lanes": config.lanes, "word_bits": config.memory_bits}
    assert about["preset"] == name
    assert {key: about[key] for key in shape} == shape
    assert about["group"] == config.group
    for layer in LAYERS:
        packet = tensors[layer].tobytes()
        assert len(packet) % (config.memory_bits // 8) == 0
        header = Packet.parse(packet)
        assert (header.rows, header.lanes, header.group) == (config.rows, config.lanes, config.group)


@pytest.mark.quick
def test_stored_groups_become_the_presets(mixed: tuple[Path, dict[str, np.ndarray]], tmp_path: Path) -> None:
    """BF16 scales of whole rows of 256 are scales of groups of 32."""
    rng = np.random.default_rng(5)
    codes = rng.integers(-128, 128, (8, 256)).astype(np.int8)
    path, out = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    save_file({"a.weight": codes, "a.weight_scale": np.full((8, 1), 0.5, np.float16)}, path)
    for name, group in ("tiny", 32), ("edge", 128):
        assert quantize.main([str(path), "--dtype", "stored", "--preset", name, "--out", str(out)]) == 0
        assert read(out)[1]["tensors"]["a.weight"]["group"] == group
        np.testing.assert_array_equal(packed(out, "a.weight"), codes * 0.5)


@pytest.mark.quick
def test_patterns_decide_last(model: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.safetensors"
    arguments = ["--include", "embed*", "--skip", "*down*", "--dtype", "int4", "--out", str(out)]
    assert quantize.main([str(model), *arguments]) == 0
    about = read(out)[1]
    assert set(about["packed"]) == {"embed.weight", "layers.0.up.weight"}
    assert about["tensors"]["layers.0.down.weight"] == {
        "from": "F32",
        "became": "copied",
        "shape": [10, 64],
        "why": "skipped",
    }


LARGE = """
import sys
from pathlib import Path
from golden import quantize
status = quantize.main(sys.argv[1:])
# Of this program alone: what getrusage says begins with the size of the process that started it.
print(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0])
sys.exit(status)
"""


@pytest.mark.long
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
def test_a_sharded_model_of_1_gb_takes_little_memory(tmp_path: Path) -> None:
    """Eight sparse shards of four layers; quantising needs at most 1.5 GB, whatever the number of cores."""
    shape, names = (4096, 4096), {}
    for shard in range(8):
        header, size = {}, 2 * shape[0] * shape[1]
        for layer in range(4):
            name = f"model.layers.{4 * shard + layer}.mlp.up_proj.weight"
            offsets = [layer * size, (layer + 1) * size]
            header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": offsets}
            names[name] = f"model-{shard + 1:05}-of-00008.safetensors"
        text = json.dumps(header).encode()
        with (tmp_path / f"model-{shard + 1:05}-of-00008.safetensors").open("wb") as file:
            file.write(len(text).to_bytes(8, "little") + text)
            file.truncate(8 + len(text) + 4 * size)
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": names}))
    out = tmp_path / "out.safetensors"
    command = [sys.executable, "-c", LARGE, str(tmp_path), "--dtype", "int4", "--out", str(out)]
    run = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert int(run.stdout.split()[-1]) * 1024 <= 1.5e9
    assert "32 layers" in run.stdout
    assert out.stat().st_size > 0.5 * 32 * shape[0] * shape[1]
