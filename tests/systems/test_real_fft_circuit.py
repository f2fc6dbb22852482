"""Real FFT against golden on every simulator."""

import pytest

from hw.config import preset
from hw.systems.real_fft import RealFft
from sim import runner


@pytest.mark.parametrize(
    ("simulator", "vectors", "chosen"),
    [
        pytest.param("verilator", 2, None, id="verilator"),
        pytest.param("icarus", 1, "kind|throughput|stalls=[03]", id="icarus"),
    ],
    indirect=["simulator"],
)
def test_columns(simulator: str, vectors: int, chosen: str | None) -> None:
    config = preset("edge")
    parameters = {"config": config.model_dump(), "vectors": vectors}
    runner.run(RealFft(config), "sim.benches.systems.real_fft", simulator, parameters, chosen)
