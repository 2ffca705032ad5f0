"""Packages are fetched by a real client process: a script that stands where npm would."""

import hashlib
import io
import os
import pathlib
import tarfile
from concurrent.futures import ThreadPoolExecutor

import pytest

from glide_jax.data.recipes import packages
from glide_jax.errors import InputError

FILES = {"package/icons.json": b"{}", "package/readme.md": b"no", "package/assets/a.webp": b"A"}


def archive(files=FILES, links=()) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
        for name, target in links:
            member = tarfile.TarInfo(name)
            member.type, member.linkname = tarfile.SYMTYPE, target
            tar.addfile(member)
    return buffer.getvalue()


def package(data: bytes, client: str = "npm", keep=("icons.json", "assets/*")) -> packages.Package:
    return packages.Package(client, "@set/icons", "1.2.3", hashlib.sha256(data).hexdigest(), keep)


def visible(folder: pathlib.Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.endswith(".lock"))


@pytest.fixture
def client(tmp_path, monkeypatch):
    """Puts a shell script on the PATH as npm or apt-get, alone with the basic tools."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}/usr/bin{os.pathsep}/bin")

    def install(script: str, name: str = "npm") -> None:
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)

    return install


def test_a_package_is_fetched_once_and_only_the_wanted_files_are_unpacked(client, tmp_path):
    data = archive()
    (tmp_path / "remote.tgz").write_bytes(data)
    client(f'echo "$@" >> {tmp_path}/log; cp {tmp_path}/remote.tgz set-icons-1.2.3.tgz')
    folder = packages.fetch(package(data), tmp_path / "data")
    assert packages.fetch(package(data), tmp_path / "data") == folder
    found = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
    assert found == ["assets/a.webp", "icons.json"]
    log = (tmp_path / "log").read_text().splitlines()
    assert len(log) == 1
    assert log[0].startswith("pack @set/icons@1.2.3 ")
    assert visible(folder.parent) == ["set-icons-1.2.3"]  # nothing left over


def test_of_two_that_want_a_package_one_fetches_it(client, tmp_path):
    data = archive()
    (tmp_path / "remote.tgz").write_bytes(data)
    client(f"echo x >> {tmp_path}/log; sleep 0.3; cp {tmp_path}/remote.tgz set-icons-1.2.3.tgz")
    with ThreadPoolExecutor() as pool:
        folders = list(pool.map(lambda _: packages.fetch(package(data), tmp_path / "d"), range(3)))
    assert len(set(folders)) == 1
    assert (tmp_path / "log").read_text() == "x\n"


def test_an_archive_put_there_by_hand_needs_no_client(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "")
    data = archive()
    (tmp_path / "packages").mkdir()
    (tmp_path / "packages" / package(data).archive).write_bytes(data)
    assert (packages.fetch(package(data), tmp_path) / "icons.json").read_bytes() == b"{}"


def test_a_missing_client_is_one_sentence_with_the_way_by_hand(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(InputError, match=r"npm is not installed.*set-icons-1\.2\.3\.tgz\.$"):
        packages.fetch(package(b""), tmp_path)
    with pytest.raises(InputError, match=r"apt-get is not on this system.*1\.2\.3\.deb\.$"):
        packages.fetch(package(b"", "apt-get"), tmp_path)


@pytest.mark.parametrize(
    ("output", "sentence"),
    [
        ("npm error code ENOTFOUND", "without a network"),
        ("npm error code EAI_AGAIN", "without a network"),
        ("npm error code E404", "npm finds no @set/icons 1.2.3"),
        ("npm error code ETARGET", "npm finds no @set/icons 1.2.3"),
        ("npm error bad thing at https://somewhere/x", r"failed on .* \(npm error bad thing at"),
    ],
)
def test_what_the_client_complains_of_is_said_without_its_addresses(
    client, tmp_path, output, sentence
):
    client(f"echo '{output}' >&2; exit 1")
    with pytest.raises(InputError, match=sentence) as caught:
        packages.fetch(package(b""), tmp_path)
    assert "//" not in str(caught.value).replace(str(tmp_path), "")
    assert not visible(tmp_path / "packages")


def test_apt_get_is_told_the_version_and_its_package_list_may_be_old(client, tmp_path):
    client("echo \"E: Version '1.2.3' for '$2' was not found\" >&2; exit 100", "apt-get")
    with pytest.raises(InputError, match=r"apt-get finds no .*`apt-get update` may help"):
        packages.fetch(package(b"", "apt-get"), tmp_path)


def test_another_sum_is_refused_and_nothing_is_kept(client, tmp_path):
    client("echo changed > set-icons-1.2.3.tgz")
    wanted = package(archive())
    with pytest.raises(InputError, match=f"instead of {wanted.sha256}"):
        packages.fetch(wanted, tmp_path)
    assert not visible(tmp_path / "packages")


def test_a_client_that_brings_nothing_is_said(client, tmp_path):
    client("exit 0")
    with pytest.raises(InputError, match="brought 0 archives"):
        packages.fetch(package(b""), tmp_path)


def test_members_that_point_outside_are_not_written(tmp_path):
    data = archive(
        {"package/icons.json": b"{}", "package/../../evil": b"!", "/package/evil": b"!"},
        links=[("package/assets/link", "/etc/passwd")],
    )
    root = tmp_path / "data"
    (root / "packages").mkdir(parents=True)
    wanted = package(data, keep=("*",))
    (root / "packages" / wanted.archive).write_bytes(data)
    with pytest.raises(InputError, match="outside"):
        packages.fetch(wanted, root)
    assert visible(root) == ["packages"]
    assert visible(root / "packages") == [wanted.archive]


def test_a_debian_package_is_unpacked_without_its_tools(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "")
    members = {"debian-binary": b"2.0\n", "data.tar.gz": archive({"./usr/share/a.svg": b"<svg/>"})}
    deb = b"!<arch>\n" + b"".join(
        f"{name:<16}{0:<12}{0:<6}{0:<6}{644:<8}{len(data):<10}`\n".encode()
        + data + b"\n" * (len(data) % 2)
        for name, data in members.items()
    )  # fmt: skip
    wanted = package(deb, "apt-get", keep=("usr/*.svg",))
    (tmp_path / "packages").mkdir()
    (tmp_path / "packages" / wanted.archive).write_bytes(deb)
    assert (packages.fetch(wanted, tmp_path) / "usr/share/a.svg").read_bytes() == b"<svg/>"


def test_no_registry_is_named_in_the_code():
    source = pathlib.Path(packages.__file__).read_text()
    assert "://" not in source.replace(r"\w+://\S+", "")
