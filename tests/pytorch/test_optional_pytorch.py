"""Without PyTorch the room can be imported; a name of it says in one line what is missing."""

import re
from collections.abc import Callable

import pytest

from golden import optional, pytorch

pytestmark = pytest.mark.quick


@pytest.mark.parametrize("part", [optional.TORCH, optional.TRANSFORMERS], ids=lambda part: part.name)
@pytest.mark.parametrize("name", pytorch.__all__)
def test_names_say_what_is_missing(name: str, part: optional.Part, hide: Callable) -> None:
    hide(part)
    message = f"golden.pytorch.{name} needs {part.name}, which is not installed: pip install '.[torch]'"
    with pytest.raises(optional.MissingPart, match=re.escape(message)) as stop:
        getattr(pytorch, name)
    assert "\n" not in str(stop.value)


def test_other_names() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = pytorch.nothing
