"""Uploaded files of any size: nothing blocks the event loop, and large ones are not held in memory."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import hashlib
import io
import logging
import os
import random
import tempfile
import threading
import weakref
from pathlib import Path
from typing import Any

import pytest

from decant import Quart
from decant.quart import on_loop, request, uploads
from decant.quart.uploads import Upload
from tests.quart.test_sockets import Memory, until
from tests.serving import Peer


@pytest.mark.parametrize("size", [700, 700_000, 5_000_000])
@pytest.mark.parametrize("kind", ["async", "loop", "thread"])
async def test_a_file_is_read_and_saved_without_blocking(app: Quart, tmp_path: Path, size: int, kind: str) -> None:
    """Whether in memory or on the disk; blockbuster would fail it."""
    content = random.Random(size).randbytes(size)
    kept = tmp_path / "kept"

    async def view() -> Any:
        file = (await request.files)["file"]
        head, rest = file.read(10), file.read()
        file.seek(0)
        await file.save(kept)
        return {"length": len(head + rest), "hash": hashlib.sha256(head + rest).hexdigest()}

    def synchronous() -> Any:
        return view()  # awaited on the loop, in the request's bridge

    app.post("/")({"async": view, "loop": on_loop(synchronous), "thread": synchronous}[kind])
    answer = await app.test_client().post("/", data={"file": (io.BytesIO(content), "a.bin"), "text": "x"})
    assert await asyncio.to_thread(kept.read_bytes) == content
    assert answer.json == {"length": size, "hash": hashlib.sha256(content).hexdigest()}


async def test_files_of_a_large_upload_are_on_the_disk(app: Quart, served: Any) -> None:
    """100 MB in one file, without a limit: memory stays flat, the loop answers others meanwhile."""
    app.config["MAX_CONTENT_LENGTH"] = None

    @app.post("/")
    async def view() -> Any:
        return {"length": (await request.files)["file"].seek(0, io.SEEK_END)}

    head = b'--b\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n'
    piece, tail = b"x" * 2**18, b"\r\n--b--\r\n"
    length = len(head) + 400 * len(piece) + len(tail)
    memory = await asyncio.to_thread(Memory().__enter__)
    async with Peer.connect(await served(app)) as peer:
        await peer.send(
            *("POST / HTTP/1.1", "Host: a", f"Content-Length: {length}", "Connection: close"),
            "Content-Type: multipart/form-data; boundary=b",
        )
        await peer.send(head)
        for _ in range(400):
            await peer.send(piece)
        await peer.send(tail)
        assert b'{"length":104857600}' in await peer.rest()
    await asyncio.to_thread(memory.__exit__)
    assert memory.peak < 30 * 1024 * 1024


async def test_the_disk_is_touched_in_threads_only(app: Quart, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each read and write of a file that is on the disk, from the parser and from the view."""
    calls: list[tuple[str, bool]] = []

    def noting(function: Any) -> Any:
        def call(file: Any, *args: Any) -> Any:
            if not isinstance(file, io.BytesIO):
                calls.append((function.__name__, threading.current_thread() is threading.main_thread()))
            return function(file, *args)

        return call

    for name in ("read_all", "write_all", "read_line"):
        monkeypatch.setattr(uploads, name, noting(getattr(uploads, name)))

    @app.post("/")
    async def view() -> Any:
        file = (await request.files)["file"]
        file.readline()
        return str(len(file.read()))

    answer = await app.test_client().post("/", data={"file": (io.BytesIO(b"\n" + b"x" * 700_000), "a.bin")})
    assert answer.text == "700000"
    assert {name for name, _ in calls} == {"read_all", "write_all", "read_line"}
    assert not any(on_main for _, on_main in calls)


async def test_a_request_that_is_cut_off_leaves_no_file_open(
    app: Quart, served: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """The temporary file goes with its request, of which no error is logged."""
    files: list[weakref.ref[Upload]] = []
    gc.collect()
    caplog.clear()  # of what earlier tests have left
    app.request_class = type("Request", (app.request_class,), {"form_data_parser_class": _noting(files)})

    @app.post("/")
    async def view() -> str:
        await request.files
        return ""

    def on_disk() -> int | None:
        upload = files[0]() if files else None
        return upload.name if upload is not None else None

    async with Peer.connect(await served(app)) as peer:
        await peer.send(
            *("POST / HTTP/1.1", "Host: a", "Content-Length: 9000000"),
            "Content-Type: multipart/form-data; boundary=b",
        )
        await peer.send(b'--b\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n' + b"x" * 2**20)
        await until(lambda: isinstance(on_disk(), int))
        number = on_disk()
        assert number is not None
        inode = os.fstat(number).st_ino
        peer.abort()
        await until(lambda: not app.connections.open)
        upload = files[0]()
        assert upload is None or upload.closed  # whenever its memory is free
    with contextlib.suppress(OSError):
        assert os.fstat(number).st_ino != inode
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def _noting(files: list[weakref.ref[Upload]]) -> Any:
    from decant.quart.incoming import FormDataParser

    def factory(*args: Any, **kwargs: Any) -> Upload:
        upload = Upload()
        files.append(weakref.ref(upload))
        return upload

    class Parser(FormDataParser):
        def __init__(self, **options: Any) -> None:
            super().__init__(stream_factory=factory, **options)

    return Parser


def test_an_upload_is_a_binary_file_like_any_other() -> None:
    """The same steps on an Upload and on a temporary file of Python's, across the size where it moves."""
    steps = random.Random(7)
    with Upload() as ours, tempfile.TemporaryFile() as pythons:
        for _ in range(3_000):
            step = steps.randrange(6)
            size = steps.choice([0, 1, 100, 9_000, 70_000])
            if step == 0:
                data = steps.randbytes(size)
                assert ours.write(data) == pythons.write(data)
            elif step == 1:
                assert ours.read(size) == pythons.read(size)
            elif step == 2:
                assert ours.readline() == pythons.readline()
            elif step == 3:
                assert ours.readline(size) == pythons.readline(size)
            elif step == 4:
                where = steps.randrange(800_000)
                assert ours.seek(where) == pythons.seek(where)
            else:
                assert ours.tell() == pythons.tell()
        ours.seek(0)
        pythons.seek(0)
        assert ours.read() == pythons.read()
        assert ours.truncate(10) == pythons.truncate(10)
        ours.seek(0)
        assert len(ours.read()) == 10
        assert io.TextIOWrapper(Upload()).read() == ""
        assert Upload().fileno() > 0
        assert isinstance(ours.name, int)
    with pytest.raises(ValueError, match="closed"):
        ours.read()
