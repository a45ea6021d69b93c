"""Downloads from a server that misbehaves on purpose.

Oracle: the bytes that the server in this file sends, and the folder's content afterwards.
"""

import hashlib
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Literal

import pytest

from roberta_squad_pipeline.common.errors import InputError
from roberta_squad_pipeline.squad import download
from roberta_squad_pipeline.squad.download import fetch

CONTENT = bytes(range(256)) * 2000
SHA256 = hashlib.sha256(CONTENT).hexdigest()
NAME = "train-v9.0.json"

Reply = Literal["whole", "half", "half of unknown length", "other", "404"]


class Server:
    """Gives the answers in turn, the last one for ever, and counts the requests."""

    def __init__(self) -> None:
        self.answers: list[Reply] = ["whole"]
        self.requests = 0
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                answer = outer.answers[min(outer.requests, len(outer.answers) - 1)]
                outer.requests += 1
                if answer == "404":
                    self.send_error(404)
                    return
                self.send_response(200)
                if answer != "half of unknown length":
                    self.send_header("Content-Length", str(len(CONTENT)))
                self.end_headers()
                body = CONTENT[::-1] if answer == "other" else CONTENT
                self.wfile.write(body[: len(body) // 2] if answer.startswith("half") else body)

            def log_message(self, *_: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/dataset/{NAME}"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("NO_PROXY", "*")
    # Only the waits between two attempts sleep.
    monkeypatch.setattr("time.sleep", lambda _: None)
    server = Server()
    thread = threading.Thread(target=server.http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.http.shutdown()
    server.http.server_close()
    thread.join()


def fault_of(url: str, folder: Path, size_bytes: int | None = len(CONTENT)) -> InputError:
    with pytest.raises(InputError) as caught:
        fetch(url, SHA256, size_bytes, folder)
    fault = caught.value
    assert fault.where == url
    assert NAME in fault.expected
    assert SHA256 in fault.expected
    assert "by hand" in fault.remedy
    assert "has room and can be written" in fault.remedy
    assert str(folder / NAME) in fault.remedy
    assert "--params data.train=PATH" in fault.remedy
    return fault


def test_whole_file_arrives_once(server: Server, tmp_path: Path) -> None:
    folder = tmp_path / "made" / "on the way"
    for _ in range(2):
        path = fetch(server.url, SHA256, len(CONTENT), folder)
        assert path == folder / NAME
        assert path.read_bytes() == CONTENT
    assert server.requests == 1
    assert list(folder.iterdir()) == [path]


def test_relative_folder_gives_a_relative_path(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = fetch(server.url, SHA256, None, Path("~"))
    assert path == Path("~") / NAME
    assert path.read_bytes() == CONTENT


def test_file_gets_the_usual_permissions(server: Server, tmp_path: Path) -> None:
    (tmp_path / "plain").write_text("x")
    path = fetch(server.url, SHA256, None, tmp_path)
    assert path.stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_progress_is_shown_on_stderr(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fetch(server.url, SHA256, len(CONTENT), tmp_path)
    output = capsys.readouterr()
    assert "100%" in output.err
    assert output.out == ""


@pytest.mark.parametrize("first", ["half", "half of unknown length", "other", "404"])
def test_fault_that_passes_is_retried(server: Server, tmp_path: Path, first: Reply) -> None:
    server.answers = [first, first, "whole"]
    path = fetch(server.url, SHA256, len(CONTENT), tmp_path)
    assert path.read_bytes() == CONTENT
    assert list(tmp_path.iterdir()) == [path]
    assert server.requests == 3


@pytest.mark.parametrize(
    ("answer", "size_bytes", "got"),
    [
        ("half", len(CONTENT), "a transfer that broke off"),
        ("half of unknown length", len(CONTENT), "256,000 of 512,000 bytes"),
        ("half of unknown length", None, "a file with another checksum"),
        ("other", len(CONTENT), "a file with another checksum"),
        ("404", len(CONTENT), "no such file"),
    ],
)
def test_fault_that_stays_leaves_nothing(
    server: Server, tmp_path: Path, answer: Reply, size_bytes: int | None, got: str
) -> None:
    server.answers = [answer]
    assert fault_of(server.url, tmp_path, size_bytes).got == got
    assert list(tmp_path.iterdir()) == []
    assert server.requests == 3


def test_file_of_another_checksum_stays_until_the_right_one_is_there(
    server: Server, tmp_path: Path
) -> None:
    (tmp_path / NAME).write_text("old")
    server.answers = ["half", "half", "half", "whole"]
    fault_of(server.url, tmp_path)
    assert (tmp_path / NAME).read_text() == "old"
    fetch(server.url, SHA256, len(CONTENT), tmp_path)
    assert (tmp_path / NAME).read_bytes() == CONTENT


def test_no_server(server: Server, tmp_path: Path) -> None:
    with socket.socket() as bound_but_deaf:
        bound_but_deaf.bind(("127.0.0.1", 0))
        port = bound_but_deaf.getsockname()[1]
        fault = fault_of(f"http://127.0.0.1:{port}/{NAME}", tmp_path)
    assert fault.got.startswith("no connection")
    assert f"127.0.0.1', {port}" in fault.got
    assert list(tmp_path.iterdir()) == []


def test_no_network(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    fault = fault_of(f"https://nowhere.invalid/{NAME}", tmp_path)
    assert fault.got == "no connection ([Errno -2] Name or service not known)"
    assert list(tmp_path.iterdir()) == []


def test_silent_server(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "_SECONDS_OF_SILENCE", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        fault = fault_of(f"http://127.0.0.1:{silent.getsockname()[1]}/{NAME}", tmp_path)
    assert fault.got == "no answer in time"


def test_a_proxy_is_taken(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server itself is the proxy of an address that only it knows."""
    monkeypatch.delenv("NO_PROXY")
    monkeypatch.setenv("http_proxy", server.url.removesuffix(f"/dataset/{NAME}"))
    path = fetch(f"http://nowhere.invalid/{NAME}", SHA256, None, tmp_path)
    assert path.read_bytes() == CONTENT


def test_folder_that_is_none(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    fault = fault_of(server.url, tmp_path / "file")
    assert fault.got == f"FileExistsError: [Errno 17] File exists: '{tmp_path / 'file'}'"
    assert server.requests == 0


def test_unchecked_file_is_warned_of_each_time(
    server: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Files of one name from two addresses do not take each other's place."""
    secret = server.url.replace("http://", "http://me:hush@") + "?key=abc"
    paths = []
    for url in (secret, server.url, server.url):
        caplog.clear()
        paths.append(fetch(url, None, None, tmp_path))
        assert paths[-1].read_bytes() == CONTENT
        assert f"{NAME}" in caplog.text
        assert "accepted unchecked, since its source has sha256: null" in caplog.text
        assert SHA256 in caplog.text
        assert "hush" not in caplog.text
        assert "abc" not in caplog.text
    assert server.requests == 2
    assert paths[0] != paths[1] == paths[2]
    assert all(path.name == NAME and path.parent.parent == tmp_path for path in paths)


def test_unchecked_file_that_does_not_come(server: Server, tmp_path: Path) -> None:
    server.answers = ["half of unknown length"]
    url = server.url.replace("http://", "http://me:hush@")
    with pytest.raises(InputError) as caught:
        fetch(url, None, len(CONTENT), tmp_path)
    assert caught.value.where == url.replace("me:hush", "***")
    assert caught.value.expected == f"{NAME} and {len(CONTENT):,} bytes"
    assert not list(tmp_path.glob("*/*"))


@pytest.mark.parametrize(
    "path",
    ["/", "", "/..", "/%2e%2e", "/a/%2E%2E%2F..", "/a%00b", "/a%0Ab.json", "/" + 201 * "a"],
)
def test_address_without_a_file_name(tmp_path: Path, path: str) -> None:
    with pytest.raises(InputError, match="without a file name"):
        fetch(f"http://127.0.0.1{path}", SHA256, None, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("path", ["/../../x", "/%2e%2e%2f%2e%2e%2fx", "//etc/x", "/..%2Fx"])
def test_file_lands_in_its_folder_whatever_the_address_says(
    server: Server, tmp_path: Path, path: str
) -> None:
    folder = tmp_path / "folder"
    fetched = fetch(server.url.removesuffix(f"/dataset/{NAME}") + path, SHA256, None, folder)
    assert fetched == folder / "x"
    assert sorted(tmp_path.rglob("*")) == [folder, folder / "x"]
