"""Measured areas of multipliers, from which arrays of equal area are built."""

import json
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from hw.config import problem

__all__ = ["DEFAULT", "Areas", "Unit", "load"]

_USUAL = "bitmod4"

DEFAULT = Path(__file__).with_name("areas.json")


class Unit(BaseModel):
    """What one design's smallest unit costs.

    Attributes:
        name: of the block; ``synth.model.accelerators.UNITS`` has those that stand for a design.
        area: in um2.
        macs_per_cycle: multiplications a cycle by data type.
        energy_per_mac: pJ by data type; None where not measured.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    area: float = Field(gt=0)
    macs_per_cycle: dict[str, Annotated[float, Field(gt=0)]] = {}
    energy_per_mac: dict[str, float | None] = {}

    def rate(self, otherwise: float = 1.0) -> tuple[str, float]:
        """The data type that counts, and its multiplications a cycle.

        ``bitmod4`` where it is among them, else the fastest; ``otherwise`` if no rate is given.
        """
        if not self.macs_per_cycle:
            return "", otherwise
        if _USUAL in self.macs_per_cycle:
            return _USUAL, self.macs_per_cycle[_USUAL]
        return max(self.macs_per_cycle.items(), key=lambda item: item[1])

    @property
    def picojoules(self) -> float | None:
        """Energy of a multiplication of that type, or of the first one that was measured."""
        measured = [energy for energy in self.energy_per_mac.values() if energy is not None]
        return self.energy_per_mac.get(self.rate()[0]) or next(iter(measured), None)


class Areas(BaseModel):
    """Areas that were measured by one flow.

    Attributes:
        target: library.
        period: clock period in ns.
        designs: units.
        untimed: why they were measured without timing; empty where they were not.
        tools: versions of the programs that they were measured with.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    target: str
    period: float = Field(gt=0)
    designs: tuple[Unit, ...]
    untimed: str = ""
    tools: dict[str, str] = {}

    def unit(self, name: str) -> Unit | None:
        """The unit of a name; None where its area is absent."""
        return next((unit for unit in self.designs if unit.name == name), None)


def load(path: Path = DEFAULT) -> Areas:
    """Read a file of areas.

    Raises:
        ValueError: not such a file; the message names the field.
    """
    try:
        found = Areas.model_validate(json.loads(path.read_text()))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f"areas {str(path)!r} is not readable JSON: {error}") from None
    except ValidationError as error:
        raise ValueError(f"areas {str(path)!r}: {problem(error, 'areas', Areas)}") from None
    for name in ("fp16_mac", "tile"):
        if found.unit(name) is None:
            raise ValueError(f"areas {str(path)!r}: designs must include {name}")
    return found
