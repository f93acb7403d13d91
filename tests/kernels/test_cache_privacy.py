"""Machine code is taken from nobody but this user, and only as what was saved."""

import ast
import os
import shutil
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

import llvmlite.binding as llvm
import pytest
import torch

from remanence import caches, private
from remanence._kernels import cache, compiler, kernel, object_file
from remanence.data import store
from remanence.ops.scan import cpu_source
from remanence.ops.scan.trace import TracedStep

posix = pytest.mark.skipif(os.name != "posix", reason="who owns a file is a matter of POSIX")
only_root = pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="only root gives files away")
STRANGER = 12345


def step(state, inputs, params):
    return (torch.tanh(0.75 * state[0] + inputs[0]),)


def make_source():
    return cpu_source.forward(TracedStep(step, (1, 1, 0), 2, 3, torch.float32))


@pytest.fixture(scope="module")
def source():
    return make_source()


@pytest.fixture(scope="module")
def code(source):
    return kernel._compile(source, 32, 2 * kernel.vector_width(32))


@pytest.fixture
def parts(source):
    return kernel.cache_key(source, 32, 8)


@pytest.fixture(autouse=True)
def directory(tmp_path, monkeypatch):
    """One that the user chose; warnings were not given yet."""
    cache._warn.cache_clear()
    monkeypatch.setenv("REMANENCE_CACHE_DIR", str(tmp_path / "kernels"))
    return tmp_path / "kernels"


@pytest.fixture
def own(tmp_path, monkeypatch):
    """The one where the user chose none."""
    monkeypatch.delenv("REMANENCE_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home/.cache"))
    return tmp_path / "home/.cache/remanence"


@pytest.fixture
def file(directory, parts, code):
    """The file of a kernel that was saved."""
    cache.save(parts, code)
    assert cache.load(parts) == code
    (path,) = directory.iterdir()
    return path


@pytest.fixture
def umask_0():
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.fixture
def no_root(tmp_path):
    """A folder of the user as whom the test runs, whom permissions hold."""
    if os.geteuid() != 0:
        yield tmp_path
        return
    folder = Path(tempfile.mkdtemp())
    os.chown(folder, STRANGER, -1)
    os.seteuid(STRANGER)
    try:
        yield folder
    finally:
        os.seteuid(0)
        shutil.rmtree(folder)


def refused(parts, why):
    """Not loaded, and said once why."""
    with pytest.warns(UserWarning, match=f"compiled kernels are not cached.*{why}.*REMANENCE_CACHE_DIR"):
        assert cache.load(parts) is None
    with warnings.catch_warnings(action="error"):
        assert cache.load(parts) is None
    cache._warn.cache_clear()


class TestWhatOthersCouldHaveWritten:
    pytestmark = posix

    @pytest.mark.parametrize("mode", [0o777, 0o1777, 0o770, 0o702])
    def test_a_folder(self, directory, file, parts, code, mode):
        directory.chmod(mode)
        refused(parts, "kernels can be written by others: chmod go-w")
        with pytest.warns(UserWarning, match="can be written by others"):
            cache.save(parts, code)
        assert directory.stat().st_mode & 0o7777 == mode  # a folder that the user chose may be of use to others
        assert list(directory.iterdir()) == [file]

    def test_a_file(self, file, parts, code):
        for mode in (0o666, 0o660, 0o602):
            file.chmod(mode)
            refused(parts, "can be written by others: chmod go-w")
        cache.save(parts, code)
        assert cache.load(parts) == code

    @only_root
    @pytest.mark.parametrize("what", ["file", "folder"])
    def test_of_another_user(self, directory, file, parts, what):
        os.chown(file if what == "file" else directory, STRANGER, -1)
        refused(parts, "belongs to another user")

    @pytest.mark.parametrize(("mode", "taken"), [(0o777, False), (0o1777, True), (0o755, True)])
    def test_a_folder_above(self, directory, file, parts, tmp_path, mode, taken):
        tmp_path.chmod(mode)
        if taken:
            assert cache.load(parts) is not None
        else:
            refused(parts, "which it lies in, can be written by everybody: chmod o-w")

    def test_a_link_in_the_place_of_the_file(self, directory, file, parts, code):
        elsewhere = file.rename(directory.with_name("elsewhere.o"))
        file.symlink_to(elsewhere)
        refused(parts, "symbolic links")
        before = elsewhere.read_bytes()
        cache.save(parts, code)  # takes the place of the link, and leaves what it leads to
        assert not file.is_symlink()
        assert elsewhere.read_bytes() == before

    @pytest.mark.parametrize("chosen", [True, False])
    def test_a_link_in_the_place_of_the_folder(self, directory, own, parts, code, monkeypatch, chosen):
        if chosen:
            monkeypatch.setenv("REMANENCE_CACHE_DIR", str(directory))
        place = directory if chosen else own
        cache.save(parts, code)
        place.symlink_to(place.rename(place.with_name("elsewhere")))
        refused(parts, "not a folder itself, but a file or a symbolic link")

    def test_a_link_above_is_followed(self, file, parts, directory, tmp_path, monkeypatch):
        (tmp_path / "link").symlink_to(tmp_path, target_is_directory=True)  # such as a home on another disk
        monkeypatch.setenv("REMANENCE_CACHE_DIR", str(tmp_path / "link/kernels"))
        assert cache.load(parts) is not None

    def test_a_pipe(self, file, parts):
        file.unlink()
        os.mkfifo(file, 0o600)
        refused(parts, "is not a file")


class TestWhatIsNotWhatWasSaved:
    def test_the_code_of_another_kernel(self, source, directory, file, parts, code):
        cache.save(kernel.cache_key(source, 64, 8), code)
        (other,) = set(directory.iterdir()) - {file}
        other.replace(file)
        assert cache.load(parts) is None

    def test_damage_anywhere(self, file, parts):
        whole = file.read_bytes()
        places = [0, 1, 31, 32, 33, 40, 96, len(whole) // 2, len(whole) - 1]
        for place in places:
            file.write_bytes(whole[:place])
            assert cache.load(parts) is None, f"{place} bytes of it"
            file.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
            assert cache.load(parts) is None, f"byte {place} changed"
        file.write_bytes(whole + b"\0")
        assert cache.load(parts) is None

    def test_a_right_digest_over_something_else_is_compiled_again(self):
        """In a process of its own, which LLVM would end: given anything but an object file, it crashes."""
        script = f"""
import importlib.util
spec = importlib.util.spec_from_file_location("tests", {__file__!r})
tests = importlib.util.module_from_spec(spec)
spec.loader.exec_module(tests)
tests.build_in_spite_of_everything()
"""
        done = subprocess.run([sys.executable, "-W", "error", "-c", script], capture_output=True, text=True)
        assert done.returncode == 0, f"ended with {done.returncode} after {done.stdout} {done.stderr}"
        assert done.stdout.split("\n")[:-1] == list(WRONG)


WRONG = {
    "nothing": lambda code: b"",
    "text": lambda code: b"no object",
    "zeros": lambda code: bytes(4096),
    "four letters": lambda code: b"\x7fELF",
    "a header of zeros": lambda code: b"\x7fELF\x02\x01" + bytes(4096),
    "the beginning": lambda code: code[:64],
    "half": lambda code: code[: len(code) // 2],
    "all but the end": lambda code: code[:-1],
    "another function": lambda code: object_for(llvm.get_process_triple()),
}


def build_in_spite_of_everything():
    source = make_source()
    parts = kernel.cache_key(source, 32, 8)
    code = kernel._compile(source, 32, 2 * kernel.vector_width(32))
    for what, wrong in WRONG.items():
        sys.stdout.write(f"{what}\n")
        sys.stdout.flush()
        cache.save(parts, wrong(code))
        assert kernel.build(source, 32, 8).address
        assert object_file.is_whole(cache.load(parts) or b"")


def object_for(triple):
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    module = llvm.parse_assembly("define i32 @square(i32 %x) {\n %y = mul i32 %x, %x\n ret i32 %y\n}\n")
    module.triple = triple
    return llvm.Target.from_triple(triple).create_target_machine().emit_object(module)


@pytest.mark.parametrize("system", ["unknown-linux-gnu", "apple-darwin", "pc-windows-msvc"])
@pytest.mark.parametrize("processor", ["x86_64", "aarch64"])
def test_object_files_of_other_systems(processor, system):
    code = object_for(f"{processor}-{system}")
    assert object_file.is_whole(code)
    # Of Mach-O the header names what lies directly behind it; the digest is over all.
    shortest = 200 if system == "apple-darwin" else len(code)
    assert not any(object_file.is_whole(code[:size]) for size in range(shortest))


class TestPlace:
    @pytest.mark.parametrize("base", ["here", "./here", ""])
    def test_a_relative_base_is_ignored(self, own, monkeypatch, tmp_path, base):
        monkeypatch.setenv("XDG_CACHE_HOME", base)
        monkeypatch.setenv("HOME", str(tmp_path))
        assert caches.directory() == tmp_path / ".cache/remanence"
        monkeypatch.setenv("HOME", "nor/here")
        assert caches.directory() is None

    @posix
    def test_without_a_home_nothing_is_kept(self, own, monkeypatch, parts, code):
        import pwd

        def unknown(user):
            raise KeyError(f"getpwuid(): uid not found: {user}")

        monkeypatch.delenv("XDG_CACHE_HOME")
        monkeypatch.delenv("HOME")
        monkeypatch.setattr(pwd, "getpwuid", unknown)
        assert caches.directory() is None
        cache.save(parts, code)
        assert cache.load(parts) is None
        monkeypatch.delenv("REMANENCE_DATA_DIR", raising=False)
        with pytest.raises(ValueError, match=r"no home directory.*set REMANENCE_DATA_DIR"):
            store.directory()

    @posix
    def test_whatever_the_umask_all_that_is_made_is_private(self, own, umask_0, parts, code):
        cache.save(parts, code)
        assert cache.load(parts) == code
        for path in (own, own.parent, own.parent.parent):
            assert path.stat().st_mode & 0o777 == 0o700
        (file,) = own.iterdir()
        assert file.stat().st_mode & 0o777 == 0o600

    @posix
    def test_prepared_data_do_not_open_it_either(self, own, umask_0, monkeypatch, parts, code):
        monkeypatch.delenv("REMANENCE_DATA_DIR", raising=False)
        store.load_or_make("set", lambda writer: writer.append("values", torch.zeros(2).numpy()))
        assert own.stat().st_mode & 0o777 == own.parent.stat().st_mode & 0o777 == 0o700
        cache.save(parts, code)
        assert cache.load(parts) == code

    @posix
    def test_a_folder_that_a_umask_had_opened_is_closed(self, own, parts, code):
        cache.save(parts, code)
        own.chmod(0o775)
        assert cache.load(parts) == code
        assert own.stat().st_mode & 0o777 == 0o700

    @only_root
    def test_a_folder_of_another_user_is_left_as_it_is(self, own, parts, code):
        own.mkdir(parents=True, mode=0o755)
        os.chown(own, STRANGER, -1)
        refused(parts, "belongs to another user")
        assert own.stat().st_mode & 0o777 == 0o755

    @posix
    @pytest.mark.parametrize("chosen", [True, False])
    def test_a_folder_that_cannot_be_written(self, directory, own, monkeypatch, parts, code, chosen, recwarn):
        """As root writes everywhere: a file in the way of a folder, which is as good."""
        place = directory if chosen else own
        place.parent.mkdir(parents=True, exist_ok=True)
        blocked = place.parent / "blocked"
        blocked.write_text("a file")
        monkeypatch.setenv("REMANENCE_CACHE_DIR" if chosen else "XDG_CACHE_HOME", str(blocked / "kernels"))
        for _ in range(2):
            cache.save(parts, code)
            assert cache.load(parts) is None
        assert len(recwarn) == chosen
        assert all("Not a directory" in str(warning.message) for warning in recwarn)

    @posix
    def test_a_folder_that_is_read_only(self, no_root, monkeypatch, parts, code):
        monkeypatch.setenv("REMANENCE_CACHE_DIR", str(no_root))
        cache.save(parts, code)
        assert cache.load(parts) == code
        no_root.chmod(0o500)
        with pytest.warns(UserWarning, match="Permission denied"):
            cache.save(parts, code)
        assert cache.load(parts) == code
        no_root.chmod(0o000)
        assert cache.load(parts) is None

    def test_two_that_make_it_at_once(self, tmp_path, monkeypatch):
        monkeypatch.setattr(Path, "exists", lambda path: False)
        private.make(tmp_path)
        private.make(tmp_path / "a/b")
        private.check(tmp_path / "a/b")


def test_the_key_covers_every_file_that_the_compiler_runs():
    """What is called while a kernel is lowered lies in the folder whose files are all part of the key."""
    folder = Path(cache.__file__).parent
    texts = set(cache._read_versions())
    assert {path.read_text(encoding="utf-8") for path in folder.glob("*.py")} < texts
    seen, open_ = set(), [Path(compiler.__file__), Path(kernel.__file__)]
    while open_:
        path = open_.pop()
        seen.add(path)
        assert path.read_text(encoding="utf-8") in texts, path
        open_ += [found for found in imported(path, folder) if found not in seen]
    assert {"interleave.py", "vector.py", "elementary.py", "targets.py"} <= {path.name for path in seen}


def imported(path, folder):
    """Files of ours that a file imports, but for those that only keep the result."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.ImportFrom) or not (node.module or "").startswith("remanence"):
            continue
        for name in [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]:
            found = folder.parents[1].joinpath(*name.split(".")).with_suffix(".py")
            if found.exists() and found not in (Path(private.__file__), Path(caches.__file__)):
                yield found
