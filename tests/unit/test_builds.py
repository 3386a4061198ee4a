"""`python -m local.builds`: the report on a build, and what it refuses."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from local.builds.__main__ import main, over_budget
from local.builds.artifact import Build, BuildError
from local.builds.imports import Imports, measure

ARM64 = b"\x7fELF".ljust(18, b"\0") + b"\xb7\0"
X86_64 = b"\x7fELF".ljust(18, b"\0") + b"\x3e\0"
CLIENT_WITHOUT_KMS = """
def client(service):
    if service == "kms":
        raise LookupError("no model of kms")
"""
BOTOCORE = """
from pathlib import Path
from types import SimpleNamespace

class BaseClient:
    pass

def create(service):
    (Path(__file__).parent / "data" / service / "service-2.json").read_bytes()
    client = type("Client", (BaseClient,), {})()
    client.meta = SimpleNamespace(service_model=SimpleNamespace(service_name=service))
    return client
"""
INTERPRETER = Path(sys.executable)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A build of two layers and a function."""
    contents = {
        "DependenciesLayer/python/third_party.py": "",
        "PlaidSyncLayer/python/plaid_sync/__init__.py": "",
        "PlaidSyncLayer/python/plaid_sync/adapters/__init__.py": "",
        "PlaidSyncLayer/python/plaid_sync/aws/clients.py": "def client(service): pass\n",
        "SyncFunction/app.py": "import third_party\n",
        "Alarms/template.yaml": "Resources: {}\n",
    }
    for name, content in contents.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    (tmp_path / "DependenciesLayer/python/_speed.so").write_bytes(ARM64)
    compile_all(tmp_path)
    return tmp_path


def compile_all(folder: Path) -> None:
    layers = [str(folder / "DependenciesLayer"), str(folder / "PlaidSyncLayer")]
    command = [sys.executable, "-m", "compileall", "-qf", "--invalidation-mode", "unchecked-hash", *layers]
    subprocess.run(command, check=True)


def test_the_hash_covers_names_permissions_and_contents(folder: Path) -> None:
    first = Build.read(folder).digest
    app = folder / "SyncFunction" / "app.py"
    app.chmod(0o600)
    other_mode = Build.read(folder).digest
    app.chmod(0o644)
    assert Build.read(folder).digest == first
    app.write_text("import third_party \n")
    other_content = Build.read(folder).digest
    app.rename(app.with_name("main.py"))
    app.write_text("import third_party\n")
    assert len({first, other_mode, other_content, Build.read(folder).digest}) == 4


def test_a_build_with_mixed_architectures_is_refused(folder: Path) -> None:
    assert Build.read(folder).architecture == "arm64"
    (folder / "DependenciesLayer/python/_more.so").write_bytes(X86_64)
    with pytest.raises(BuildError, match="arm64 and x86_64"):
        _ = Build.read(folder).architecture


def test_a_function_starts_from_the_build_alone_and_only_with_bytecode(folder: Path) -> None:
    (imports,) = measure(Build.read(folder), INTERPRETER)
    assert imports.modules == ("app", "third_party")
    cached = next((folder / "DependenciesLayer/python/__pycache__").glob("third_party.*.pyc"))
    assert imports.bytecode == cached.stat().st_size
    cached.unlink()
    with pytest.raises(BuildError, match="has no bytecode"):
        measure(Build.read(folder), INTERPRETER)


def test_the_clients_of_a_start_are_counted_with_the_models_that_it_reads(folder: Path) -> None:
    files = {
        "DependenciesLayer/python/botocore/client.py": BOTOCORE,
        "DependenciesLayer/python/botocore/data/sqs/service-2.json": "{}" * 50,
        "SyncFunction/app.py": "from botocore.client import create\n\nsqs = create('sqs')\n",
    }
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
    compile_all(folder)
    build = Build.read(folder)
    (imports,) = measure(build, INTERPRETER)
    assert (imports.clients, imports.models) == (("sqs",), 100)
    sizes = {part: {"unpacked": 10**6} for part in ("DependenciesLayer", "PlaidSyncLayer", "functions")}
    budgets = {"size": sizes, "imports": {"SyncFunction": {"clients": 0, "models": 99}}}
    clients, models = over_budget(build, [imports], budgets)
    assert clients.startswith("SyncFunction loads 1 clients when it starts, its budget is 0")
    assert models.startswith("SyncFunction loads 100 bytes of models when it starts, its budget is 99")


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("SyncFunction/app.py", "import pytest\n", "No module named 'pytest'"),
        ("SyncFunction/app.py", "import plaid_sync.core\n", "No module named 'plaid_sync.core'"),
        ("PlaidSyncLayer/python/plaid_sync/aws/clients.py", CLIENT_WITHOUT_KMS, "no model of kms"),
        ("DependenciesLayer/python/plaid/__init__.py", "def lazy_import():\n    import plaid.model\n", "plaid.model"),
    ],
)
def test_what_the_build_lacks_is_named(folder: Path, file: str, content: str, message: str) -> None:
    (folder / file).parent.mkdir(exist_ok=True)
    (folder / file).write_text(content)
    compile_all(folder)
    with pytest.raises(BuildError, match=f"(?s)SyncFunction does not start from the build alone.*{message}"):
        measure(Build.read(folder), INTERPRETER)


def test_what_exceeds_its_budget_is_named(folder: Path) -> None:
    build = Build.read(folder)
    maximum = {"unpacked": 10**6, "zipped": 10**6}
    sizes = dict.fromkeys(("DependenciesLayer", "PlaidSyncLayer", "functions"), maximum)
    budgets = {"size": sizes, "imports": {"SyncFunction": {"modules": 10, "bytecode": 10**6}}}
    measured = [Imports("SyncFunction", ("app", "third_party"), 300)]
    assert list(over_budget(build, measured, budgets)) == []
    small = {"size": sizes | {"functions": {"unpacked": 18}}, "imports": {"SyncFunction": {"modules": 1}}}
    size, imports = over_budget(build, measured, small)
    assert size.startswith("SyncFunction is 19 bytes unpacked, its budget is 18")
    assert imports.startswith("SyncFunction loads 2 modules when it starts, its budget is 1")
    assert list(over_budget(build, measured, budgets | {"imports": {}})), "a new function needs a budget"


def test_the_command_reports_sizes_imports_and_hash(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    build = Build.read(folder)
    main(["--build", str(folder), "--python", str(INTERPRETER)])
    output = capsys.readouterr().out
    assert "SyncFunction         imports 2 modules" in output
    assert output.endswith(f"arm64  sha256:{build.digest}\n")
    assert main(["--build", str(folder), "--digest"]) == 0
    assert capsys.readouterr().out == f"{build.digest}\n"


@pytest.mark.parametrize(
    ("architecture", "status", "message"), [("arm64", 0, ""), ("x86_64", 1, "is for arm64, not x86_64: remove")]
)
def test_the_command_refuses_another_architecture_and_a_folder_without_a_build(
    folder: Path, capsys: pytest.CaptureFixture[str], architecture: str, status: int, message: str
) -> None:
    assert main(["--build", str(folder), "--architecture", architecture]) == status
    assert message in capsys.readouterr().err
    assert main(["--build", str(folder / "SyncFunction")]) == 2
    assert "run `make build`" in capsys.readouterr().err
