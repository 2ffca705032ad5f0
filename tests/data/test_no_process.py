"""No reader of pictures or data starts another program, whatever a file says that it is."""

import io
import subprocess
import sys
import tarfile

from PIL import Image

EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(touched) (w) file closefile\nshowpage\n"
WATCHED = """
import contextlib, os, pathlib, subprocess, sys

STARTS = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork", "os.spawn")
started, looked = [], 0

def hook(event, args):
    if event in STARTS:
        started.append((event, args))

sys.addaudithook(hook)

from glide_jax import images
from glide_jax.data.example import Rejected
from glide_jax.data.readers.folder import Folder
from glide_jax.data.readers.webdataset import WebDataset
from glide_jax.errors import InputError
from glide_jax.sampling import given
from glide_jax.serving import sent

def tried(function):
    global looked
    with contextlib.suppress(InputError, OSError, Rejected, ValueError):
        function()
    looked += 1

folder = pathlib.Path(sys.argv[1])
for path in sorted((folder / "pictures").iterdir()):
    tried(lambda: images.open_encoded(path).load())
    tried(lambda: images.read_parameters(path))
    tried(lambda: given.picture("image", path))
    tried(lambda: sent.picture("image", path.read_bytes(), 1 << 20))
for set_ in (Folder(folder / "pictures"), WebDataset(str(folder / "a.tar"))):
    for k in range(len(set_)):
        tried(lambda: set_[k])
print(looked, started)
subprocess.run([sys.executable, "-c", ""])
print(len(started) > 0)
"""


def test_no_reader_of_pictures_or_data_starts_a_process(tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), "red").save(buffer, "EPS")
    bodies = {
        "eps": buffer.getvalue(),
        "ps": EPS,
        "pdf": b"%PDF-1.4\n1 0 obj\n",
        "svg": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
    }
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for name, body in bodies.items():
            for suffix in (".png", ".jpg", f".{name}", ""):
                (folder / f"{name}{suffix}").write_bytes(body)
            (folder / f"{name}.txt").write_text("a caption")
            for member, data in ((f"{name}.jpg", body), (f"{name}.txt", b"a caption")):
                info = tarfile.TarInfo(member)
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
    done = subprocess.run(
        [sys.executable, "-c", WATCHED, str(tmp_path)], capture_output=True, text=True
    )
    looked, seen = done.stdout.splitlines() or (done.stderr, "")
    assert looked.endswith(" []"), looked
    assert int(looked.split()[0]) >= 80
    assert seen == "True"  # or the hook would see nothing
