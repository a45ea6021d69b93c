"""Files of every kind, valid and broken, some two hundred of them; benchmarks/ tries thousands.

Oracle: how each file was made. A valid one goes through the whole chain, with every prediction a
part of its passage; a broken one ends in one message that names the file and the place, and the
validation finds at that place what the reader rejects.
"""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from fuzzing.chain import Chain, make_chain, rejection, score
from fuzzing.squad_files import BROKEN, VALID, broken_file, valid_file

# Drawing a file takes longer than hypothesis expects, and running it line by line, to explain a
# failure, much longer.
relaxed = settings(
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    phases=[Phase.generate, Phase.shrink],
)


@pytest.fixture(scope="module")
def chain(encoder_folder: Path) -> Chain:
    return make_chain(encoder_folder)


@pytest.fixture(scope="module")
def roberta_chain(roberta_folder: Path) -> Chain:
    return make_chain(roberta_folder)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzzing") / "file.json"


@pytest.mark.parametrize("kind", VALID)
@settings(relaxed, max_examples=5)
@given(data=st.data())
def test_valid_files_go_through_the_chain(
    one_thread: None, chain: Chain, file: Path, kind: str, data: st.DataObject
) -> None:
    file.write_bytes(data.draw(valid_file(kind)))
    score(file, chain)


@pytest.mark.parametrize("kind", BROKEN)
@settings(relaxed, max_examples=3)
@given(data=st.data())
def test_broken_files_are_rejected_in_one_message(
    roberta_chain: Chain, file: Path, kind: str, data: st.DataObject
) -> None:
    file.write_bytes(data.draw(broken_file(kind)))
    assert rejection(file, roberta_chain) is not None
