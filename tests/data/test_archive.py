import gzip
import os
import tarfile
import zipfile

import pytest

from remanence.data.archive import members, unpacked

FILES = {"set/a.txt": b"first", "set/deep/b.txt": b"second" * 1000}


def read_all(path):
    return {member.name: member.read() for member in members(path)}


def test_folders_and_archives_give_the_same(tmp_path, make_tar):
    for name, content in FILES.items():
        (tmp_path / "folder" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "folder" / name).write_bytes(content)
    with zipfile.ZipFile(tmp_path / "archive.zip", "w") as archive:
        for name, content in FILES.items():
            archive.writestr(name, content)
    assert read_all(make_tar(FILES)) == read_all(tmp_path / "archive.zip") == read_all(tmp_path / "folder") == FILES
    assert read_all(tmp_path / "folder/set/a.txt") == {"a.txt": b"first"}


@pytest.mark.parametrize("name", ["../evil", "/etc/evil", "set/../../evil", "C:/evil", "..\\evil"])
def test_names_that_lead_out_are_refused(tmp_path, make_tar, name):
    with pytest.raises(ValueError, match="leads out of the archive"):
        read_all(make_tar({name: b"x"}))
    with zipfile.ZipFile(tmp_path / "archive.zip", "w") as archive:
        archive.writestr(name, b"x")
    with pytest.raises(ValueError, match="leads out of the archive"):
        read_all(tmp_path / "archive.zip")


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_are_refused(tmp_path, kind):
    path = tmp_path / "archive.tar"
    with tarfile.open(path, "w") as archive:
        info = tarfile.TarInfo("link")
        info.type, info.linkname = kind, "/etc/passwd"
        archive.addfile(info)
    with pytest.raises(ValueError, match="'link' is a link or a device"):
        read_all(path)


def test_links_in_zip_archives_are_refused(tmp_path):
    path = tmp_path / "archive.zip"
    with zipfile.ZipFile(path, "w") as archive:
        info = zipfile.ZipInfo("link")
        info.external_attr = 0o120777 << 16
        archive.writestr(info, "/etc/passwd")
    with pytest.raises(ValueError, match="'link' is a link"):
        read_all(path)


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_truncated_archives_are_named(make_tar, share):
    path = make_tar({f"{number}.bin": os.urandom(10_000) for number in range(20)})
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(ValueError, match=r"archive\.tar\.gz is truncated or damaged"):
        read_all(path)


def test_a_flipped_byte_is_named(make_tar):
    path = make_tar({"a": os.urandom(50_000)})
    content = bytearray(path.read_bytes())
    content[25_000] ^= 255
    path.write_bytes(content)
    with pytest.raises(ValueError, match="truncated or damaged"):
        read_all(path)


def test_a_file_longer_than_expected_is_refused(make_tar):
    path = make_tar({"a": b"12345"})
    with pytest.raises(ValueError, match="a is longer than the 4 bytes"):
        [member.read(4) for member in members(path)]


def test_gzip_files():
    plain = os.urandom(5000)
    packed = gzip.compress(plain)
    assert unpacked("f", packed) == unpacked("f", plain) == plain
    with pytest.raises(ValueError, match="f is truncated"):
        unpacked("f", packed[:-1000])
    with pytest.raises(ValueError, match="f is damaged"):
        unpacked("f", packed[:-8] + b"wrongsum")
    with pytest.raises(ValueError, match="more than the 10 bytes"):
        unpacked("f", packed, 10)
