import gzip
import os
import struct
import tarfile
import zipfile

import pytest

from remanence.data.archive import iter_members, unpack_gzip

FILES = {"set/a.txt": b"first", "set/deep/b.txt": b"second" * 1000}


def read_all(path):
    return {member.name: member.read() for member in iter_members(path)}


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
    with pytest.raises(ValueError, match="points outside the archive"):
        read_all(make_tar({name: b"x"}))
    with zipfile.ZipFile(tmp_path / "archive.zip", "w") as archive:
        archive.writestr(name, b"x")
    with pytest.raises(ValueError, match="points outside the archive"):
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
        [member.read(4) for member in iter_members(path)]


def test_gzip_files():
    plain = os.urandom(5000)
    packed = gzip.compress(plain)
    assert unpack_gzip("f", packed) == unpack_gzip("f", plain) == plain
    with pytest.raises(ValueError, match="f is truncated"):
        unpack_gzip("f", packed[:-1000])
    with pytest.raises(ValueError, match="f is damaged"):
        unpack_gzip("f", packed[:-8] + b"wrongsum")
    with pytest.raises(ValueError, match="more than the 10 bytes"):
        unpack_gzip("f", packed, 10)


LITTER = ("__MACOSX/set/._a.txt", "set/._a.txt", "set/.DS_Store", "set/deep/Thumbs.db", "__MACOSX/x/a.txt")


def test_what_systems_add_by_themselves_is_left_out(tmp_path, make_tar):
    files = {**dict.fromkeys(LITTER[:2], b"\0\x05\x16\x07"), **FILES, **dict.fromkeys(LITTER[2:], b"\0\1")}
    for name, content in files.items():
        (tmp_path / "folder" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "folder" / name).write_bytes(content)
    with zipfile.ZipFile(tmp_path / "archive.zip", "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    for path in (make_tar(files), tmp_path / "archive.zip", tmp_path / "folder"):
        assert read_all(path) == FILES


def test_encrypted_files_are_named(tmp_path):
    path = tmp_path / "archive.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("secret", b"x")
    content = bytearray(path.read_bytes())
    content[6] |= 1  # of the file's header
    content[content.index(b"PK\x01\x02") + 8] |= 1  # of the directory
    path.write_bytes(content)
    with pytest.raises(ValueError, match="'secret' is encrypted: unpack it"):
        read_all(path)


def test_files_packed_in_an_unknown_way_are_named(tmp_path):
    path = tmp_path / "archive.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("odd", b"x")
    content = bytearray(path.read_bytes())
    content[8] = content[content.index(b"PK\x01\x02") + 10] = 77
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"archive\.zip is truncated or damaged"):
        read_all(path)


def test_files_without_a_name_are_refused(tmp_path):
    path = tmp_path / "archive.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("n", b"x")
    content = path.read_bytes()
    directory = content.index(b"PK\x01\x02")
    entry = content[directory:].replace(b"n", b"", 1)
    entry = entry[:28] + b"\0\0" + entry[30:]
    end = entry.index(b"PK\x05\x06")
    path.write_bytes(content[:directory] + entry[: end + 12] + struct.pack("<I", end) + entry[end + 16 :])
    with pytest.raises(ValueError, match="a file in it has no name"):
        read_all(path)


@pytest.mark.parametrize("kind", [tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE, tarfile.XGLTYPE])
def test_names_of_a_gigabyte_are_not_read(tmp_path, kind, within):
    path = tmp_path / "archive.tar.gz"
    info = tarfile.TarInfo("name")
    info.type, info.size = kind, 1 << 27
    with gzip.GzipFile(path, "wb", compresslevel=1) as file:
        file.write(info.tobuf())
        file.write(b"a" * info.size)
    with within(1 << 24), pytest.raises(ValueError, match="a name or comment of 134,217,728 bytes"):
        read_all(path)


def test_the_names_of_what_was_read_do_not_pile_up(make_tar, within):
    path = make_tar({f"{'x' * 10_000}/{number}": b"" for number in range(2000)})
    with within(1 << 23):
        assert sum(1 for _ in iter_members(path)) == 2000


def test_a_short_file_takes_little_memory(make_tar, tmp_path, within):
    (tmp_path / "plain").write_bytes(b"short")
    for path in (make_tar({"a": b"short"}), tmp_path / "plain"):
        with within(1 << 23):
            assert list(read_all(path).values()) == [b"short"]
