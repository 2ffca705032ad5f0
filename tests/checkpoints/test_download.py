import datetime
import email.utils
import hashlib
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import time

import pytest

from glide_jax.checkpoints import download, released
from glide_jax.cli.progress import progress_bars
from glide_jax.errors import InputError
from tests.checkpoints import http_server
from tests.checkpoints.http_server import DATA, cut_after, status

HASH = hashlib.sha256(DATA).hexdigest()
ROOT = pathlib.Path(__file__).parents[2]
SCRIPT = (
    "import sys; from glide_jax.checkpoints import download; download.fetch_file(*sys.argv[1:])"
)


def fetch(server, path, **options):
    return download.fetch_file(server.url, path, **{"pause": 0.01, "retries": 2} | options)


def refused(server, path, **options) -> str:
    with pytest.raises(InputError) as caught:
        fetch(server, path, **options)
    message = str(caught.value)
    assert message.endswith(".")
    assert "\n" not in message
    assert not path.exists()
    return message


def names(path):
    return sorted(entry.name for entry in path.parent.iterdir())


def whole(path) -> bool:
    return path.read_bytes() == DATA and names(path) == ["base.pt", "base.pt.json"]


def test_a_file_arrives_whole_with_its_hash_beside_it(server, path):
    calls = []
    options = {"sha256": HASH.upper(), "size": len(DATA)}
    assert fetch(server, path, progress=lambda *done: calls.append(done), **options) == path
    assert whole(path)
    assert path.stat().st_mode & 0o600 == 0o600
    record = json.loads((path.parent / "base.pt.json").read_text())
    assert record == {"url": server.url, "size": len(DATA), "sha256": HASH}
    assert calls[-1] == (len(DATA), len(DATA))
    assert calls == sorted(calls)


def test_a_file_that_is_there_is_not_fetched_again(server, path):
    for _ in range(2):
        fetch(server, path)
        fetch(server, path, sha256=HASH, size=len(DATA))
    assert len(server.seen) == 1


def test_a_file_put_there_by_hand_is_taken_and_remembered(server, path):
    path.parent.mkdir()
    path.write_bytes(b"by hand")
    fetch(server, path)
    path.write_bytes(b"changed")
    with pytest.raises(InputError, match=r"sha256 .* instead of .*: delete it"):
        fetch(server, path)
    assert path.read_bytes() == b"changed"
    assert not server.seen


@pytest.mark.parametrize("options", [{"sha256": "0" * 64}, {"size": 3}])
def test_a_file_that_is_there_but_wrong_is_kept_and_named(server, path, options):
    fetch(server, path)
    with pytest.raises(InputError, match="delete it to fetch it again"):
        fetch(server, path, **options)
    assert whole(path)


def test_a_file_from_another_address_is_not_mistaken(server, path):
    fetch(server, path)
    other = server.url.replace("base", "upsample")
    with pytest.raises(InputError, match="came from"):
        download.fetch_file(other, path)
    assert download.fetch_file(other, path, sha256=HASH) == path


def test_the_record_leaves_out_the_query(server, path):
    download.fetch_file(server.url + "?signature=secret", path)
    assert "secret" not in (path.parent / "base.pt.json").read_text()


def test_a_cut_is_resumed_where_it_was(server, path):
    server.orders = [cut_after(100_000), cut_after(50_000)]
    fetch(server, path, sha256=HASH)
    assert [seen.get("Range") for seen in server.seen] == [None, "bytes=100000-", "bytes=150000-"]
    assert server.seen[1]["If-Range"] == '"one"'
    assert whole(path)


def test_a_later_call_resumes_an_earlier_one(server, path):
    server.orders = [cut_after(1000)] + [cut_after(0)] * 2
    message = refused(server, path)
    assert "127.0.0.1 (the connection ended after 1000 of 600000 bytes)" in message
    assert "by hand" in message
    assert names(path) == ["base.pt.part", "base.pt.part.json"]
    fetch(server, path)
    assert server.seen[-1]["Range"] == "bytes=1000-"
    assert whole(path)


def test_tries_that_bring_news_do_not_count(server, path, monkeypatch):
    monkeypatch.setattr(download, "_ENOUGH", 10_000)
    server.orders = [cut_after(20_000)] * 10
    fetch(server, path, retries=0)
    assert whole(path)


def test_a_remote_file_that_changed_is_fetched_anew(server, path):
    def change(handler):
        handler.server.etag, handler.server.data = '"two"', DATA
        http_server.serve(handler)

    server.data = b"old" * 200_000
    server.orders = [cut_after(1000), change]
    fetch(server, path, sha256=HASH)
    assert whole(path)


def test_a_changed_file_is_seen_even_if_the_server_ignores_if_range(server, path):
    def change(handler):
        handler.server.etag, handler.server.data = '"two"', DATA
        del handler.headers["If-Range"]
        http_server.serve(handler)

    server.data = b"old" * 200_000
    server.orders = [cut_after(1000), change]
    fetch(server, path, sha256=HASH)
    assert whole(path)


def test_a_server_without_ranges_sends_it_all_again(server, path):
    server.orders = [cut_after(1000), http_server.no_range]
    fetch(server, path)
    assert len(server.seen) == 2
    assert whole(path)


@pytest.mark.parametrize("headers", [{"ETag": ""}, {"ETag": 'W/"weak"'}])
def test_without_a_validator_nothing_is_resumed(server, path, headers):
    server.orders = [cut_after(1000, **headers)]
    fetch(server, path)
    assert "Range" not in server.seen[1]
    assert whole(path)


def test_last_modified_is_a_validator_too(server, path):
    date = "Mon, 20 Dec 2021 00:00:00 GMT"
    server.etag = ""
    server.orders = [cut_after(1000, Last_Modified=date)]
    fetch(server, path)
    assert server.seen[1]["If-Range"] == date
    assert whole(path)


@pytest.mark.parametrize(
    "where", ["", "bytes 5-599999/600000", "bytes 1000-599999/700000", "bytes x"]
)
def test_a_wrong_range_starts_anew(server, path, where):
    server.orders = [cut_after(1000), status(206, DATA[:10], Content_Range=where)]
    fetch(server, path)
    assert "Range" not in server.seen[2]
    assert whole(path)


def test_an_unasked_for_range_is_not_taken(server, path):
    server.orders = [status(206, b"x", Content_Range="bytes 0-0/1")] * 3
    assert "something else" in refused(server, path)
    assert names(path) == []


def test_a_range_past_the_end_starts_anew(server, path):
    server.orders = [cut_after(1000), status(416)]
    fetch(server, path)
    assert whole(path)


def test_a_part_that_is_whole_already_needs_no_request(server, path):
    server.orders = [cut_after(1000)]
    refused(server, path, retries=0)
    (path.parent / "base.pt.part").write_bytes(DATA)
    fetch(server, path)
    assert len(server.seen) == 1
    assert whole(path)


def test_a_part_of_something_else_is_not_continued(server, path):
    path.parent.mkdir()
    (path.parent / "base.pt.part").write_bytes(b"something")
    fetch(server, path)
    assert whole(path)


@pytest.mark.parametrize("code", [500, 503, 429])
def test_passing_errors_are_tried_again(server, path, code):
    server.orders = [status(code)]
    fetch(server, path)
    assert whole(path)


IN_400_S = "a date"  # which each worker of the tests would have another of


@pytest.mark.parametrize(
    ("wish", "low", "high"),
    [("7", 7, 7), (IN_400_S, 300, 400), ("soon", 0.01, 0.01), ("-5", 0.01, 0.01), ("", 0.01, 0.01)],
)
def test_a_servers_wish_to_be_left_alone_is_heeded(server, path, monkeypatch, wish, low, high):
    pauses = []
    monkeypatch.setattr(download.time, "sleep", pauses.append)
    if wish == IN_400_S:
        when = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=400)
        wish = email.utils.format_datetime(when, usegmt=True)
    server.orders = [status(429, Retry_After=wish)]
    fetch(server, path)
    assert whole(path)
    [pause] = pauses
    assert low <= pause <= high


@pytest.mark.parametrize("wish", ["86400", "9" * 9, "Fri, 01 Jan 2100 00:00:00 GMT"])
def test_a_server_that_wants_to_be_left_alone_for_long_is_named(server, path, wish):
    server.orders = [status(503, Retry_After=wish)]
    message = refused(server, path)
    assert re.search(
        r"127.0.0.1 wants to be asked for base.pt again in \d+ s \(it answered 503", message
    )


def test_a_download_has_an_end(server, path, monkeypatch):
    monkeypatch.setattr(download, "LONGEST_HOURS", 0.2 / 3600)
    server.orders = [http_server.silent]
    assert "did not come from 127.0.0.1 in the 24 hours" in refused(server, path)


@pytest.mark.parametrize("code", [404, 403, 401, 204, 302])
def test_lasting_errors_are_not(server, path, code):
    server.orders = [status(code)] * 9
    message = refused(server, path)
    assert f"127.0.0.1 answered {code}" in message
    assert len(server.seen) == 1
    assert names(path) == []


def test_corruption_is_named_with_both_hashes_and_deleted(server, path):
    bad = DATA[:99] + b"?" + DATA[100:]
    server.data = bad
    message = refused(server, path, sha256=HASH)
    assert HASH in message
    assert hashlib.sha256(bad).hexdigest() in message
    assert names(path) == []


def test_corruption_is_seen_by_the_hash_the_server_announces(server, path):
    server.orders = [cut_after(1000, Content_MD5="1B2M2Y8AsgTpgAmY7PhCfg==")]
    assert "md5" in refused(server, path)
    assert names(path) == []


@pytest.mark.parametrize(
    ("order", "options", "message"),
    [
        (status(200, b"abc"), {"size": 4}, "with 3 bytes instead of 4"),
        (status(200, b"<html>", Content_Type="text/html"), {}, "wants a login"),
        (status(200, b"abc", Content_Encoding="gzip"), {}, "compresses"),
        (status(200, b"abc", length=None), {}, "does not say how long"),
        (status(200, b"abc", length=None), {"size": 2}, "longer than the 2 bytes"),
        (status(200, b"abc", length=10**17), {}, "MB free of the"),
        (status(302, Location="file:///etc/passwd"), {}, "answered 302|unencrypted"),
    ],
)
def test_answers_that_cannot_be_right_are_refused(server, path, order, options, message):
    server.orders = [order] * 3
    assert re.search(message, refused(server, path, **options))
    assert len(server.seen) == 1


def test_a_chunked_answer_needs_a_size(server, path):
    server.orders = [http_server.chunked, lambda h: http_server.chunked(h, whole=False)]
    assert "does not say how long" in refused(server, path)
    server.orders.append(http_server.chunked)
    fetch(server, path, size=len(DATA))
    assert whole(path)


def test_a_silent_server_runs_into_the_timeout(server, path):
    server.orders = [http_server.silent]
    fetch(server, path, timeout=0.2)
    assert whole(path)


def test_no_network_is_one_sentence(path):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/secret/base.pt"
        with pytest.raises(InputError, match=r"127\.0\.0\.1 \(Connection refused\).*by hand") as e:
            download.fetch_file(url, path, retries=1, pause=0.01)
    assert "secret" not in str(e.value)
    assert names(path) == []


@pytest.mark.parametrize(
    "url", ["", "base.pt", "file:///etc/passwd", "http://", "http://a b/c", "http://u:p@host/x"]
)
def test_what_is_no_web_address_is_refused(url, path):
    with pytest.raises(InputError, match="not a web address"):
        download.fetch_file(url, path)
    assert not path.parent.exists()


def test_what_is_no_hash_is_refused(server, path):
    assert "not a SHA-256" in refused(server, path, sha256="abc")


def test_a_full_disk_keeps_what_has_arrived(server, path, monkeypatch):
    def write(descriptor, data):
        if os.fstat(descriptor).st_size >= 1000:
            raise OSError(28, "No space left on device")
        return os.pwrite(descriptor, data[:1000], 0)

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", write)
        assert "No space left on device): make room and run again" in refused(server, path)
    fetch(server, path)
    assert server.seen[-1]["Range"] == "bytes=1000-"
    assert whole(path)


def test_a_folder_that_cannot_be_written_is_named(server, tmp_path):
    (tmp_path / "file").write_text("in the way")
    refused(server, tmp_path / "file" / "base.pt")
    with pytest.raises(InputError, match="is a folder"):
        fetch(server, tmp_path)
    (tmp_path / "link.part").symlink_to(tmp_path / "elsewhere")
    assert "cannot be written" in refused(server, tmp_path / "link")


def start(server, path):
    return subprocess.Popen([sys.executable, "-c", SCRIPT, server.url, path], cwd=ROOT)


def wait_for(condition):
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_killed_download_is_resumed(server, path):
    server.orders = [http_server.slowly]
    process = start(server, path)
    part = path.parent / "base.pt.part"
    wait_for(lambda: part.exists() and part.stat().st_size >= len(DATA) // 2)
    process.send_signal(signal.SIGKILL)
    process.wait()
    arrived = part.stat().st_size
    fetch(server, path, sha256=HASH)
    assert server.seen[1]["Range"] == f"bytes={arrived}-"
    assert whole(path)


def test_processes_that_want_the_same_file_fetch_it_once(server, path):
    server.orders = [http_server.slowly]
    processes = [start(server, path) for _ in range(3)]
    assert [process.wait() for process in processes] == [0, 0, 0]
    assert len(server.seen) == 1
    assert whole(path)


def test_released_files_are_the_public_ones():
    files = released.RELEASED
    assert files["base-inpaint"] == "base_inpaint.pt"
    assert files["clip/image-enc"] == "clip_image_enc.pt"
    assert len(set(files.values())) == 6
    assert released.SOURCE == "https://openaipublic.blob.core.windows.net/diffusion/dec-2021"


def test_fetch_released_uses_the_folder(server, tmp_path, monkeypatch):
    monkeypatch.setattr(released, "SOURCE", server.url.rpartition("/")[0])
    assert released.fetch_released("base", tmp_path, sha256=HASH) == tmp_path / "base.pt"
    with pytest.raises(InputError, match="use 'upsample'"):
        released.fetch_released("upsampl", tmp_path)


def test_the_progress_bar_follows(capsys):
    with progress_bars("B") as show:
        show("base.pt", 1 << 20, 4 << 20)
        show("base.pt", 0, 4 << 20)
        show("base.pt", 4 << 20, 4 << 20)
    captured = capsys.readouterr()
    assert "100%" in captured.err
    assert not captured.out
