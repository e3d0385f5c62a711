import gzip
import io
import lzma
import shutil
import tarfile
import warnings
import zipfile

import pytest
import zstandard

from progan.dataset.sources.archives import open_files
from progan.errors import InputError

MEMBERS = {
    "readme.txt": b"hello",
    "train/dress/1.jpg": b"\1" * 700,
    "train/hat/ü.jpg": b"",
    "a.png": b"\2" * 9,
}
PACK = {
    "tar": bytes,
    "tar.gz": gzip.compress,
    "tgz": gzip.compress,
    "tar.xz": lzma.compress,
    "tar.zst": zstandard.ZstdCompressor().compress,
}


def tar_bytes(members, prefix=""):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(prefix + name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def write_kind(folder, kind, members=MEMBERS, prefix=""):
    path = folder / f"photos.{kind}" if kind else folder / "photos"
    if not kind:
        for name, data in members.items():
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            (path / name).write_bytes(data)
    elif kind == "zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in members.items():
                archive.writestr(prefix + name, data)
    else:
        path.write_bytes(PACK[kind](tar_bytes(members, prefix)))
    return path


@pytest.mark.parametrize("kind", ["", "zip", *PACK])
@pytest.mark.parametrize("prefix", ["", "./"])
def test_a_folder_and_every_archive_look_alike(tmp_path, kind, prefix):
    files = open_files(write_kind(tmp_path, kind, prefix=prefix), tmp_path / "scratch")
    assert files.name == "photos"
    assert files.sizes == {name: len(data) for name, data in MEMBERS.items()}
    assert {name: files.read(name) for name in files.sizes} == MEMBERS


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.xz"])
def test_members_that_point_outside_write_nowhere(tmp_path, kind):
    root = tmp_path / "deep" / "er"
    root.mkdir(parents=True)
    members = {"../../evil.jpg": b"1", f"{tmp_path}/absolute.jpg": b"22", "..\\back.jpg": b"333"}
    files = open_files(write_kind(root, kind, members), root / "scratch")
    assert sorted(len(files.read(name)) for name in files.sizes) == [1, 2, 3]
    assert not any(name.startswith(("/", "..")) for name in files.sizes if kind == "zip" or "\\" not in name)
    assert not list(tmp_path.rglob("*.jpg"))


def test_a_hard_link_in_a_tar_is_the_file_it_names(tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        info = tarfile.TarInfo("x.jpg")
        info.size = 3
        archive.addfile(info, io.BytesIO(b"abc"))
        link = tarfile.TarInfo("y.jpg")
        link.type, link.linkname = tarfile.LNKTYPE, "x.jpg"
        archive.addfile(link)
        loose = tarfile.TarInfo("z.jpg")
        loose.type, loose.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(loose)
    files = open_files(tmp_path / "a.tar", tmp_path)
    assert {name: files.read(name) for name in ("x.jpg", "y.jpg")} == {"x.jpg": b"abc", "y.jpg": b"abc"}
    with pytest.raises(FileNotFoundError):
        files.read("z.jpg")  # of this machine


def pack_links(root, kind):
    """`root` as it is, or in an archive that keeps its links."""
    if not kind:
        return root
    archive = root.with_suffix(f".{kind}")
    if kind == "zip":
        with zipfile.ZipFile(archive, "w") as packed:
            for path in sorted(root.rglob("*")):
                info = zipfile.ZipInfo(path.relative_to(root).as_posix())
                info.external_attr = path.lstat().st_mode << 16
                if path.is_symlink():
                    packed.writestr(info, str(path.readlink()))
                elif path.is_file():
                    packed.writestr(info, path.read_bytes())
    else:
        with tarfile.open(archive, "w") as packed:
            packed.add(root, ".")
    return archive


@pytest.mark.parametrize("kind", ["", "tar", "zip"])
def test_links_are_followed_and_never_in_circles(tmp_path, kind):
    root = tmp_path / "p"
    (root / "dogs").mkdir(parents=True)
    (root / "dogs" / "1.jpg").write_bytes(b"dog")
    links = {"a.jpg": "b.jpg", "b.jpg": "dogs/1.jpg", "cats": "dogs", "dogs/back": "..", "self": "self"}
    for link, target in (links | {"gone.jpg": "nowhere.jpg", "cats2": "cats"}).items():
        (root / link).symlink_to(target)
    files = open_files(pack_links(root, kind), tmp_path)
    photos = {name: files.read(name) for name in files.sizes if name.endswith(".jpg") and name != "gone.jpg"}
    expected = ("a.jpg", "b.jpg", "cats/1.jpg", "cats2/1.jpg", "dogs/1.jpg")
    assert photos == dict.fromkeys(expected, b"dog")
    assert {name for name in files.sizes if not name.endswith("1.jpg")} >= {"gone.jpg", "self"}
    for name in ("gone.jpg", "self"):
        with pytest.raises(OSError, match=r"No such file|symbolic links"):
            files.read(name)


def test_a_tar_whose_end_is_missing_is_damaged(tmp_path):
    """tarfile takes a damaged header, or none, for the end: the rest would be lost without a word."""
    whole, half = tar_bytes({str(n): bytes(600) for n in range(9)}), 5 * 3 * 512
    flipped = bytearray(whole)
    flipped[half + 2] ^= 1
    frames = [zstandard.compress(part) for part in (whole[:half], whole[half:])]
    for suffix, content in (
        ("tar", whole[:half]),
        ("tar", whole[: half + 100]),
        ("tar", bytes(flipped)),
        ("tar.zst", frames[0] + frames[1][:-20]),
    ):
        (tmp_path / f"a.{suffix}").write_bytes(content)
        with pytest.raises(InputError, match="damaged or not what its suffix says .*fetch it again"):
            open_files(tmp_path / f"a.{suffix}", tmp_path / "scratch")
        shutil.rmtree(tmp_path / "scratch", ignore_errors=True)


@pytest.mark.parametrize("again", ["x", "./x", "../x"])
def test_two_members_with_one_name_are_refused(tmp_path, again):
    (tmp_path / "a.tar").write_bytes(tar_bytes({"x": b"old"})[:1024] + tar_bytes({again: b"newer"}))
    with pytest.raises(InputError, match="a.tar: holds x twice; pack it again"):
        open_files(tmp_path / "a.tar", tmp_path)
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        archive.writestr("x", b"old")
        archive.writestr(again, b"newer")
    with pytest.raises(InputError, match="a.zip: holds x twice; pack it again"):
        open_files(tmp_path / "a.zip", tmp_path)


def test_the_identity_changes_with_the_files(tmp_path):
    path = write_kind(tmp_path, "")
    before = open_files(path, tmp_path).identity
    assert open_files(path, tmp_path).identity == before
    (path / "a.png").write_bytes(b"\3" * 9)
    assert open_files(path, tmp_path).identity != before


@pytest.mark.parametrize("kind", ["zip", *PACK])
def test_a_damaged_archive_is_one_clear_line(tmp_path, kind):
    path = write_kind(tmp_path, kind, {"x.jpg": bytes(range(256)) * 400})
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(InputError, match=r"photos\..*: damaged.*fetch it again"):
        open_files(path, tmp_path / "scratch")
    path.write_bytes(b"something else entirely" * 99)
    with pytest.raises(InputError, match="damaged or not what its suffix says"):
        open_files(path, tmp_path / "scratch")


def test_files_that_are_not_archives(tmp_path):
    with pytest.raises(InputError, match=r"gone: no such folder or archive"):
        open_files(tmp_path / "gone", tmp_path)
    (tmp_path / "a.rar").write_bytes(b"Rar!")
    with pytest.raises(InputError, match=r"a\.rar: neither a folder nor an archive; use one of \.zip, \.tar"):
        open_files(tmp_path / "a.rar", tmp_path)


def test_an_encrypted_zip(tmp_path):
    path = write_kind(tmp_path, "zip")
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\1\2") + 8] |= 1
    path.write_bytes(data)
    with pytest.raises(InputError, match="encrypted"):
        open_files(path, tmp_path)


def test_a_name_in_a_zip_that_is_no_utf8(tmp_path):
    """Though its header says so."""
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("café.png", b"content")
    content = (tmp_path / "a.zip").read_bytes()
    (tmp_path / "a.zip").write_bytes(content.replace("café".encode(), b"caf\xe9x"))
    with pytest.raises(InputError, match=r"a\.zip: damaged or not what its suffix says .*'utf-8'"):
        open_files(tmp_path / "a.zip", tmp_path)
