"""Downloads, from a server on this machine: all files by checksum, or a clear error and nothing left behind."""

import contextlib
import hashlib
import http.server
import itertools
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from idx_files import idx_bytes
from processes import python

from psgd.core.errors import DataError
from psgd.data.sources import download as downloads
from psgd.data.sources.download import REMOTES, Remote, RemoteFile, download
from psgd.data.sources.load import find

FILES = {"a.gz": b"the first " * 20_000, "b.gz": b"the second"}


def remote(files: dict[str, bytes]) -> Remote:
    return Remote((), {n: RemoteFile(len(c), hashlib.sha256(c).hexdigest()) for n, c in files.items()})


REMOTE = remote(FILES)


class Server(http.server.ThreadingHTTPServer):
    """Serves given files, or broken versions of them."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files = {f"/some/{name}": content for name, content in FILES.items()}
        self.short: set[str] = set()  # paths whose last bytes are never sent
        self.announced: dict[str, str | None] = {}  # path -> a Content-Length that is not true, or none
        self.endless = False  # whether files have no end
        self.asked: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        content = self.server.files.get(self.path)
        if content is None:
            self.send_error(404)
            return
        self.send_response(200)
        if length := self.server.announced.get(self.path, str(len(content))):
            self.send_header("Content-Length", length)
        self.end_headers()
        self.wfile.write(content[:-3] if self.path in self.server.short else content)
        with contextlib.suppress(OSError):  # the client has had enough
            while self.server.endless:
                self.wfile.write(bytes(1 << 16))

    def log_message(self, format: str, *arguments: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch) -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        monkeypatch.setenv("PSGD_MIRROR", server.url + "/")
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        yield server
        server.shutdown()
        thread.join()


def left(directory: Path) -> list[str]:
    return sorted(str(path.relative_to(directory)) for path in directory.rglob("*"))


def refused(tmp_path: Path, *words: str) -> None:
    with pytest.raises(DataError) as caught:
        download("some", REMOTE, tmp_path / "some")
    for word in words:
        assert word in str(caught.value)
    assert left(tmp_path) == []


def test_all_files_are_downloaded(server, tmp_path, capsys):
    download("some", REMOTE, tmp_path / "deep" / "some")
    assert left(tmp_path) == ["deep", "deep/some", "deep/some/a.gz", "deep/some/b.gz"]
    assert {name: (tmp_path / "deep" / "some" / name).read_bytes() for name in FILES} == FILES
    assert (tmp_path / "deep" / "some").stat().st_mode & 0o777 == 0o755
    assert server.asked == ["/some/a.gz", "/some/b.gz"]
    assert capsys.readouterr().err.count("downloading some") == 1


def test_a_wrong_checksum_is_refused(server, tmp_path):
    server.files["/some/b.gz"] = b"the sec0nd"
    refused(
        tmp_path, f"{server.url}/some/b.gz", REMOTE.files["b.gz"].checksum, hashlib.sha256(b"the sec0nd").hexdigest()
    )


def test_a_missing_file_is_an_error(server, tmp_path):
    del server.files["/some/b.gz"]
    refused(tmp_path, "some/b.gz", "404 Not Found")


def test_a_truncated_file_is_an_error(server, tmp_path):
    server.short.add("/some/a.gz")
    refused(tmp_path, "some/a.gz", "truncated: 199997 of 200000 bytes")


def test_a_file_without_end_is_an_error(server, tmp_path):
    server.announced, server.endless = {"/some/a.gz": None}, True
    refused(tmp_path, "some/a.gz: more than its 200000 bytes came")


@pytest.mark.parametrize("length", ["200001", "3", "-1", "many", "9" * 40])
def test_a_wrong_length_is_an_error(server, tmp_path, length):
    server.announced = {"/some/a.gz": length}
    refused(tmp_path, f"some/a.gz: the server announces '{length[:20]}' bytes, but the file has 200000: these are")


def test_a_truncated_file_without_a_length_is_an_error(server, tmp_path):
    server.announced, server.short = {"/some/a.gz": None}, {"/some/a.gz"}
    refused(tmp_path, "some/a.gz", "truncated: 199997 of 200000 bytes")


def test_a_server_that_trickles_has_limited_time(server, monkeypatch, tmp_path):
    ticks = itertools.count(0.0, downloads.FILE_SECONDS / 2 + 1)  # two reads are in time, the third is not
    monkeypatch.setattr(downloads, "real_clock", lambda: next(ticks))
    refused(tmp_path, "some/a.gz: timed out: ", "of 200000 bytes in 600 seconds; download it yourself")


def test_a_mirror_where_nothing_listens_is_an_error(monkeypatch, tmp_path):
    monkeypatch.setenv("PSGD_MIRROR", "http://127.0.0.1:9")
    refused(tmp_path, "http://127.0.0.1:9/some/a.gz", "Connection refused")


def test_a_silent_server_times_out(monkeypatch, tmp_path):
    monkeypatch.setattr(downloads, "TIMEOUT_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("PSGD_MIRROR", f"http://127.0.0.1:{silent.getsockname()[1]}")
        refused(tmp_path, "timed out")


def test_an_invalid_address_is_an_error(monkeypatch, tmp_path):
    monkeypatch.setenv("PSGD_MIRROR", "nonsense")
    refused(tmp_path, "nonsense/some/a.gz")


def test_the_next_mirror_is_tried(server, monkeypatch, tmp_path):
    """It serves the files that the first lacked, and only those are requested."""
    monkeypatch.delenv("PSGD_MIRROR")
    server.files = {"/poor/a.gz": FILES["a.gz"], **{f"/rich/{name}": content for name, content in FILES.items()}}
    mirrors = (f"{server.url}/poor", f"{server.url}/rich")
    download("some", Remote(mirrors, REMOTE.files), tmp_path / "some")
    assert server.asked == ["/poor/a.gz", "/poor/b.gz", "/rich/b.gz"]
    assert left(tmp_path) == ["some", "some/a.gz", "some/b.gz"]


def test_another_process_may_download_at_the_same_time(server, tmp_path):
    (tmp_path / "some").mkdir()
    (tmp_path / "some" / "a.gz").write_bytes(b"theirs")
    download("some", REMOTE, tmp_path / "some")
    assert left(tmp_path) == ["some", "some/a.gz"]


def test_a_cache_that_cannot_be_written_is_an_error(server, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"cannot write to .*file.*XDG_CACHE_HOME"):
        download("some", REMOTE, tmp_path / "file" / "some")


def mnist_like() -> dict[str, bytes]:
    contents = {}
    for part in ("train", "t10k"):
        contents[f"{part}-images-idx3-ubyte.gz"] = idx_bytes(np.arange(96).reshape(6, 4, 4))
        contents[f"{part}-labels-idx1-ubyte.gz"] = idx_bytes(np.arange(6) % 3)
    return contents


def test_downloaded_data_are_not_downloaded_again(server, monkeypatch, tmp_path):
    contents = mnist_like()
    monkeypatch.setitem(REMOTES, "mnist", remote(contents))
    server.files = {f"/mnist/{name}": content for name, content in contents.items()}
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("PSGD_DATA", raising=False)
    for _ in range(2):
        assert find("mnist", None) == tmp_path / "psgd" / "mnist"
    assert len(server.asked) == 4


def test_the_command_reports_where_it_looked_and_why_the_download_failed(server, tmp_path):
    """The real sizes against other files: exit code 3, and nothing in the cache."""
    server.files = {f"/mnist/{name}": content for name, content in mnist_like().items()}
    places = {"XDG_CACHE_HOME": str(tmp_path / "cache"), "PSGD_DATA": str(tmp_path / "shared")}
    arguments = ("-m", "psgd.train", "data.source=mnist", f"output={tmp_path}/run")
    finished = python(*arguments, PSGD_MIRROR=server.url, no_proxy="127.0.0.1", **places)
    assert finished.code == 3, finished
    said = finished.stderr
    assert f"no directory at {tmp_path}/shared/mnist, {tmp_path}/cache/psgd/mnist; set data.path" in said
    assert f"Nor can they be downloaded: {server.url}/mnist/train-images-idx3-ubyte.gz: the server announces" in said
    assert "Traceback" not in said
    assert left(tmp_path) == ["cache", "cache/psgd"]
    (tmp_path / "typo").mkdir()
    asked = len(server.asked)
    mistyped = python(*arguments, f"data.path={tmp_path}/typ", PSGD_MIRROR=server.url, **places)
    assert mistyped.code == 3
    assert len(server.asked) == asked, "a mistyped path became a download"


def test_there_is_more_than_one_mirror():
    for remote in REMOTES.values():
        assert len(remote.mirrors) >= 2
        assert all(mirror.startswith("https://") and not mirror.endswith("/") for mirror in remote.mirrors)
        assert all(len(bytes.fromhex(file.checksum)) == 32 for file in remote.files.values())
