"""What a collector reads is recorded as it came, and replayed; what fails is told."""

from __future__ import annotations

import http.server
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from metricsmith.integration.inputs import FOLDER, MODE, InputFailed, fetch, inputs, run


@pytest.fixture
def page() -> Iterator[str]:
    """A server that has `/page` and nothing else."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = self.path == "/page"
            body = b"secret: " + self.headers.get("Authorization", "none").encode()
            self.send_response(200 if found else 503)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join()


def test_bodies_are_recorded_and_replayed(page: str, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"\x00\xff text")
    kept = tmp_path / "recordings"
    with inputs("record", kept):
        fetch("page", f"{page}/page", headers={"Authorization": "token"})
        fetch("file.bin", str(file))
        run("echo", [sys.executable, "-c", "print(42)"])
    assert {path.name: path.read_bytes() for path in kept.iterdir()} == {
        "page": b"secret: token", "file.bin": b"\x00\xff text", "echo": b"42\n",
    }  # fmt: skip
    file.unlink()
    with inputs("replay", kept):
        assert fetch("page", "http://127.0.0.1:1/") == b"secret: token"
        assert fetch("file.bin", str(file)) == b"\x00\xff text"
        assert run("echo", ["/no/such/program"]) == b"42\n"
    assert MODE not in os.environ and FOLDER not in os.environ
    assert fetch("page", f"{page}/page") == b"secret: none"


def test_what_fails_is_told_and_not_recorded(page: str, tmp_path: Path) -> None:
    with inputs("record", tmp_path / "recordings"):
        for told, read in {
            "status 503": lambda: fetch("a", f"{page}/other"),
            "refused": lambda: fetch("b", "http://127.0.0.1:1/"),
            "No such file": lambda: fetch("c", str(tmp_path / "none")),
            "exit code 3: oh": lambda: run("d", ["sh", "-c", "echo oh >&2; exit 3"]),
            "longer than 0.1 s": lambda: run("e", ["sleep", "60"], timeout_s=0.1),
            "/no/such/program: No such file": lambda: run("f", ["/no/such/program"]),
        }.items():
            with pytest.raises(InputFailed, match=told):
                read()
    assert not (tmp_path / "recordings").exists()


def test_replay_names_the_recording_that_is_not_there(tmp_path: Path) -> None:
    with (
        inputs("replay", tmp_path),
        pytest.raises(InputFailed, match=r"no recording .*/queues.*--record` makes it"),
    ):
        fetch("queues", "http://127.0.0.1:1/")


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".hidden", "a b", "x" * 101, "a\n"])
def test_a_name_is_that_of_a_file(name: str, tmp_path: Path) -> None:
    with inputs("record", tmp_path), pytest.raises(ValueError, match="wanted a name for a file"):
        fetch(name, "/dev/null")


def test_all_can_be_made_to_fail() -> None:
    with inputs("fail"), pytest.raises(OSError, match="made to fail"):
        fetch("queues", "/dev/null")
    with pytest.raises(ValueError, match="wanted record, replay, fail"), inputs("playback"):
        pass


def test_it_needs_nothing_but_the_standard_library() -> None:
    code = (
        "import sys; import metricsmith.integration.inputs\n"
        "own = {n.partition('.')[0] for n in sys.modules} - set(sys.stdlib_module_names)\n"
        "print(sorted(n for n in own if n not in ('__main__', 'metricsmith') and not n.startswith('_')))"
    )
    source = str(Path(__file__).parents[2] / "src")
    done = subprocess.run(
        [sys.executable, "-S", "-c", code],
        env=os.environ | {"PYTHONPATH": source}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stdout == "[]\n", done.stderr
