"""Needles: where fact, question and answer are, and that only the answer counts."""

import numpy as np
import pytest

from golden import evaluate
from golden.checkpoint import Checkpoint
from golden.model.evaluation import Setting
from golden.model.evaluation import evaluate as measure
from golden.model.llama import Llama
from golden.model.needles import needles
from golden.model.perplexity import losses
from golden.model.subjects import Text
from golden.model.tokenizer import of

pytestmark = pytest.mark.quick


def test_windows(tiny_file: Checkpoint) -> None:
    words = of(tiny_file)
    text = words.encode("the other men at the station told her all of it " * 60)
    found = needles(words, text, 3, 160)
    numbers = set()
    for ids, count in found:
        assert len(ids) == 160
        whole, answer = words.decode(ids), words.decode(ids[-count:]).strip()
        assert answer.isdigit()
        assert len(answer) == 5
        question = whole[whole.rindex("The secret") :]
        assert whole.count(question) == 2
        assert whole.index(question) < len(whole) / 2
        numbers.add(answer)
    assert len(numbers) == 3
    again = needles(words, text, 3, 160)
    assert all(np.array_equal(one[0], other[0]) for one, other in zip(found, again, strict=True))


def test_only_the_answer_is_scored(tiny_file: Checkpoint, tiny_llama: Llama) -> None:
    words = of(tiny_file)
    made = needles(words, words.encode("all the men and the sea " * 40), 2, 120)
    parts, scored = map(list, zip(*made, strict=True))
    result = measure(Text(tiny_file, parts, 8, scored=scored), Setting())
    wanted = [loss[-count:].mean() for loss, count in zip(losses(tiny_llama, parts), scored, strict=True)]
    assert [window[0] for window in result.windows] == scored
    np.testing.assert_allclose([window[1] for window in result.windows], wanted)


def test_refused(tiny_file: Checkpoint) -> None:
    words = of(tiny_file)
    with pytest.raises(ValueError, match="context 10 must hold a fact"):
        needles(words, range(100), 1, 10)
    with pytest.raises(ValueError, match="the text 2 such windows"):
        needles(words, range(100), 2, 150)


def test_command_line(tiny_file: Checkpoint, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--model", str(tiny_file.path), "--tokens", "300", "--context", "140", "--needles", "1"]
    assert evaluate.main([*arguments, "--kv", "h2o"]) == 0
    assert "1 needles in" in capsys.readouterr().out
