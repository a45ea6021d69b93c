"""A file that is fetched, from a server on this machine."""

import hashlib
import json
import subprocess
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

Kedro = Callable[..., subprocess.CompletedProcess[str]]
CONTENT = b'{"version": "1.1", "data": []}'


@pytest.fixture
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("served")
    (folder / "dev.json").write_bytes(CONTENT)
    handler = partial(SimpleHTTPRequestHandler, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/dev.json"
        server.shutdown()


def _source(url: str, sha256: str) -> dict[str, Any]:
    source = {"kind": "remote", "url": url, "sha256": sha256, "size_bytes": len(CONTENT)}
    return {"data.dev": "own"} | {f"data.sources.own.{key}": v for key, v in source.items()}


def test_fetched_and_kept(project: Path, kedro: Kedro, url: str) -> None:
    sha256 = hashlib.sha256(CONTENT).hexdigest()
    done = kedro("download", _source(url, sha256))
    assert done.returncode == 0, done.stderr
    record = json.loads((project / "data/01_raw/demo/fetched_files.json").read_text())
    assert record["dev"]["sha256"] == sha256
    assert (project / record["dev"]["path"]).read_bytes() == CONTENT


def test_wrong_checksum_leaves_no_file(project: Path, kedro: Kedro, url: str) -> None:
    done = kedro("download", _source(url, "a" * 64))
    assert done.returncode == 1
    assert f"Error: {url}: got" in done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert not list(project.glob("data/01_raw/dev*"))
