"""A base image for Lambda's python3.13 runtime, made of what is on this machine: for where there is no registry.

It is what `sam local` needs of AWS's own image, and no more: CPython 3.13 in /var/lang, Lambda's runtime interface
client in /var/runtime with the script that starts it, and the programs that SAM's build step calls. SAM adds the
runtime interface emulator and the layers.
"""

from __future__ import annotations

import hashlib
import io
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from local.containers.errors import NoContainerEngineError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from local.containers.programs import Programs
    from local.stack.paths import Progress

VERSION = "3.13"
SHELL_PROGRAMS = ("sh", "chmod", "cp", "mv", "rm")
LEFT_OUT = shutil.ignore_patterns(
    "__pycache__",
    "test",
    "idlelib",
    "ensurepip",
    "turtledemo",
    "tkinter",
    "_tkinter*",
    "config-*",
    "site-packages",
    "*.a",
)
SYSTEM_LIBRARIES = (
    *("libgcc_s.so.1", "libstdc++.so.6", "libm.so.6", "libdl.so.2", "librt.so.1", "libutil.so.1", "libpthread.so.0"),
    *("libresolv.so.2", "libnss_files.so.2", "libnss_dns.so.2"),
)
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
BOOTSTRAP = f"""#!/bin/sh
export AWS_EXECUTION_ENV=AWS_Lambda_python{VERSION}
export PYTHONPATH="$LAMBDA_TASK_ROOT:/opt/python/lib/python{VERSION}/site-packages:/opt/python:/var/runtime"
exec /var/lang/bin/python{VERSION} -m awslambdaric "$_HANDLER"
"""
CONFIGURATION = (
    "WORKDIR /var/task",
    'ENTRYPOINT ["/var/rapid/aws-lambda-rie"]',
    "ENV PATH=/var/lang/bin:/usr/bin:/bin:/opt/bin LD_LIBRARY_PATH=/var/lang/lib:/var/task/lib:/opt/lib "
    "LAMBDA_TASK_ROOT=/var/task LAMBDA_RUNTIME_DIR=/var/runtime LANG=C.UTF-8 SSL_CERT_FILE=" + str(CERTIFICATES),
)


def base_image(programs: Programs, address: str, runtime: Path, progress: Progress) -> str:
    """Return the name of the image, in the engine at `address`, making it first if it is not there.

    Args:
        programs: The engine's.
        address: The engine's.
        runtime: The virtual environment of a CPython 3.13 that holds the runtime interface client.
        progress: Told about what takes time.

    Raises:
        NoContainerEngineError: It can't be made.
    """
    docker = ["docker", "--host", address]
    name = f"localhost/lambda-python:{VERSION}-{_fingerprint(runtime)}"
    if not programs.run([*docker, "image", "ls", "--quiet", name]).strip():
        progress(f"making a base image of this machine's Python {VERSION} (once, about 10 seconds)")
        changes = [word for line in CONFIGURATION for word in ("--change", line)]
        with tempfile.TemporaryDirectory() as temporary:
            root = Path(temporary)
            _fill(root, runtime)
            programs.run([*docker, "import", *changes, "-", name], data=_archive(root))
    return name


def _fingerprint(runtime: Path) -> str:
    """Return what the image depends on: the runtime environment, as it was made, and this program."""
    stamp = (runtime / "pyvenv.cfg").stat().st_mtime_ns
    packages = sorted(path.name for path in _packages(runtime).glob("*.dist-info"))
    return hashlib.sha256(f"{stamp} {packages}".encode() + Path(__file__).read_bytes()).hexdigest()[:12]


def _packages(runtime: Path) -> Path:
    return runtime / "lib" / f"python{VERSION}" / "site-packages"


def _fill(root: Path, runtime: Path) -> None:
    for folder in ("dev", "proc", "sys", "opt", "tmp", "etc", "var/task", "var/rapid"):
        (root / folder).mkdir(parents=True)
    (root / "tmp").chmod(0o1777)
    (root / "etc/passwd").write_text("root:x:0:0:root:/tmp:/bin/sh\n")
    (root / "etc/nsswitch.conf").write_text("hosts: files dns\n")
    if CERTIFICATES.is_file():
        _copy(CERTIFICATES, root)
    for name in SHELL_PROGRAMS:
        program = Path(shutil.which(name) or f"/bin/{name}")
        _copy(program, root, f"bin/{name}")
        _copy_libraries([program], root)
    python = (runtime / "bin" / f"python{VERSION}").resolve()
    lang, prefix = root / "var/lang", python.parents[1]
    _copy(python, root, f"var/lang/bin/python{VERSION}")
    shutil.copytree(prefix / f"lib/python{VERSION}", lang / f"lib/python{VERSION}", ignore=LEFT_OUT, symlinks=True)
    for library in prefix.glob("lib/libpython3*.so*"):
        shutil.copy2(library, lang / "lib")
    _copy_libraries([python, *lang.glob(f"lib/python{VERSION}/lib-dynload/*.so")], root, prefix)
    _copy_libraries(_of_the_system(), root)
    client = root / "var/runtime"
    shutil.copytree(_packages(runtime), client, ignore=shutil.ignore_patterns("pip*", "__pycache__"))
    _copy_libraries(client.glob("*.so"), root)
    _compile(python, root, lang / "lib", client)
    (client / "bootstrap").write_text(BOOTSTRAP)
    (client / "bootstrap").chmod(0o755)


def _of_the_system() -> list[Path]:
    """Return the libraries that every wheel may expect to be there, and those by which libc looks names up."""
    return [path for name in SYSTEM_LIBRARIES for path in Path("/lib").glob(f"*-linux-gnu/{name}")]


def _copy(file: Path, root: Path, target: str | None = None) -> None:
    place = root / (target or str(file).lstrip("/"))
    place.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy2(file.resolve(), place)


def _copy_libraries(files: Iterable[Path], root: Path, prefix: Path | None = None) -> None:
    """Copy what the files are linked to, to the same places, other than what Python brings itself."""
    for file in files:
        for library in (file, *_linked(file, prefix)):
            if library.suffix == ".so" or ".so." in library.name:
                brought = prefix is not None and library.is_relative_to(prefix)
                if not brought and not library.is_relative_to(root):
                    _copy(library, root)


def _linked(file: Path, prefix: Path | None) -> Iterator[Path]:
    environment = {"LD_LIBRARY_PATH": str(prefix / "lib")} if prefix else {}
    # The system's own program.
    listed = subprocess.run(  # noqa: S603 # nosec B603 B607
        ["ldd", str(file)],  # noqa: S607
        env={"PATH": "/usr/bin:/bin", **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    for word in listed.stdout.split():
        if word.startswith("/"):
            yield Path(word)


def _compile(python: Path, root: Path, *folders: Path) -> None:
    command = [str(python), "-m", "compileall", "-q", "-s", str(root), "-p", "/", *map(str, folders)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 # nosec B603 - the runtime's own Python
    if done.returncode:
        raise NoContainerEngineError(f"python{VERSION} can't compile itself: {done.stdout.strip()[-300:]}")


def _archive(root: Path) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.add(root, arcname=".")
    return buffer.getvalue()
