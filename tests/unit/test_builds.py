"""What `python -m local.builds` tells of a build, and refuses."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from local.builds.artifact import Build, BuildError
from local.builds.bom import bill_of_materials
from local.builds.budgets import Budgets
from local.builds.cli import main
from local.builds.components import Software, software
from local.builds.imports import Loaded, measure
from local.builds.licences import Licences

ARM64 = b"\x7fELF".ljust(18, b"\0") + b"\xb7\0"
X86_64 = b"\x7fELF".ljust(18, b"\0") + b"\x3e\0"
ENGINE = """
def client(service):
    if service == "kms":
        raise LookupError("no model of kms")
"""
METADATA = "Metadata-Version: 2.1\nName: Plaid_Python\nVersion: 1.0\nLicense: MIT\n"
BROUGHT_ALONG = {
    "components": [
        {"name": "openssl", "version": "4", "purl": "pkg:generic/openssl@4"},
        {"name": "cc", "version": "1", "purl": "pkg:cargo/cc@1", "scope": "excluded"},
    ]
}
INTERPRETER = Path(sys.executable)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A build of two layers and a function."""
    info = "DependenciesLayer/python/plaid_python-1.0.dist-info"
    contents = {
        f"{info}/METADATA": METADATA,
        f"{info}/ARCHIVE.sha256": "ab" * 32 + "\n",
        f"{info}/sboms/openssl.json": json.dumps(BROUGHT_ALONG),
        "DependenciesLayer/python/third_party.py": "",
        "PlaidSyncLayer/python/plaid_sync/__init__.py": "",
        "PlaidSyncLayer/python/plaid_sync/adapters/__init__.py": "",
        "PlaidSyncLayer/python/plaid_sync/adapters/aws.py": "def client(service): pass\n",
        "SyncFunction/app.py": "import third_party\n",
        "Alarms/template.yaml": "Resources: {}\n",
    }
    for name, content in contents.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    (tmp_path / "DependenciesLayer/python/_speed.so").write_bytes(ARM64)
    compile_all(tmp_path)
    return tmp_path


def compile_all(folder: Path, mode: str = "unchecked-hash") -> None:
    layers = [str(folder / "DependenciesLayer"), str(folder / "PlaidSyncLayer")]
    subprocess.run([sys.executable, "-m", "compileall", "-qf", "--invalidation-mode", mode, *layers], check=True)


def test_the_hash_is_of_names_permissions_and_contents(folder: Path) -> None:
    first = Build.read(folder).digest
    assert Build.read(folder).digest == first
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


def test_a_build_for_one_architecture_is_told_from_a_mixed_one(folder: Path) -> None:
    assert Build.read(folder).architecture == "arm64"
    (folder / "DependenciesLayer/python/_more.so").write_bytes(X86_64)
    with pytest.raises(BuildError, match="arm64 and x86_64"):
        _ = Build.read(folder).architecture


def test_no_build_is_said_to_be_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--build", str(tmp_path)]) == 2
    assert "make one with `make build`" in capsys.readouterr().err


def test_a_function_starts_from_the_build_and_nothing_else(folder: Path) -> None:
    (loaded,) = measure(Build.read(folder), INTERPRETER)
    assert loaded.modules == ("app", "third_party")
    cached = next((folder / "DependenciesLayer/python/__pycache__").glob("third_party.*.pyc"))
    assert loaded.bytecode == cached.stat().st_size


@pytest.mark.parametrize(
    ("file", "content", "says"),
    [
        ("SyncFunction/app.py", "import pytest\n", "No module named 'pytest'"),
        ("SyncFunction/app.py", "import plaid_sync.core\n", "No module named 'plaid_sync.core'"),
        ("PlaidSyncLayer/python/plaid_sync/adapters/aws.py", ENGINE, "no model of kms"),
        ("DependenciesLayer/python/plaid/__init__.py", "def lazy_import():\n    import plaid.model\n", "plaid.model"),
    ],
)
def test_what_the_build_lacks_is_told(folder: Path, file: str, content: str, says: str) -> None:
    (folder / file).parent.mkdir(exist_ok=True)
    (folder / file).write_text(content)
    compile_all(folder)
    with pytest.raises(BuildError, match=f"(?s)SyncFunction does not start from the build alone.*{says}"):
        measure(Build.read(folder), INTERPRETER)


def test_bytecode_that_is_missing_or_checked_is_told(folder: Path) -> None:
    compile_all(folder, "timestamp")
    with pytest.raises(BuildError, match="checks against its source"):
        measure(Build.read(folder), INTERPRETER)
    for cached in folder.rglob("third_party.*.pyc"):
        cached.unlink()
    with pytest.raises(BuildError, match="has no bytecode"):
        measure(Build.read(folder), INTERPRETER)


def test_what_is_over_its_budget_is_told_by_name(folder: Path) -> None:
    build = Build.read(folder)
    roomy = Budgets(
        {name: {"unpacked": 10**6, "zipped": 10**6} for name in ("DependenciesLayer", "PlaidSyncLayer", "functions")},
        {"SyncFunction": {"modules": 10, "bytecode": 10**6}},
    )
    loaded = [Loaded("SyncFunction", ("app", "third_party"), 300)]
    assert [*roomy.problems_of_size(build), *roomy.problems_of_imports(loaded)] == []
    tight = replace(roomy, size=roomy.size | {"functions": {"unpacked": 18}}, imports={"SyncFunction": {"modules": 1}})
    (size,) = tight.problems_of_size(build)
    assert size.startswith("SyncFunction is 19 bytes unpacked, its budget is 18")
    (imports,) = tight.problems_of_imports(loaded)
    assert imports.startswith("SyncFunction loads 2 modules when it starts, its budget is 1")
    assert list(replace(roomy, imports={}).problems_of_imports(loaded)), "a new function has a budget, too"


LICENCES = Licences(frozenset({"MIT", "BSD-3-Clause"}), {"old": {"Free for all": "MIT"}})


@pytest.mark.parametrize(
    ("name", "words", "problem"),
    [
        ("a", "MIT", None),
        ("a", "GPL-3.0-only OR BSD-3-Clause", None),
        ("a", "MIT AND BSD-3-Clause", None),
        ("old", "Free for all", None),
        ("a", "GPL-3.0-only", "has the licence GPL-3.0-only, which is not allowed"),
        ("a", "MIT AND GPL-3.0-only", "which is not allowed"),
        ("a", "Apache-2.0 WITH LLVM-exception", "which is not allowed"),
        ("a", "Free for all", "says of its licence 'Free for all', which is not known"),
        ("old", "Free for some", "which is not known"),
        ("a", "", "says of its licence '', which is not known"),
    ],
)
def test_a_licence_must_be_known_and_allowed(name: str, words: str, problem: str | None) -> None:
    problems = LICENCES.problems([Software("pkg:pypi/a@1", name, "1", words)])
    assert problems == [] if problem is None else problem in problems[0]


def test_the_bill_of_materials_has_what_is_in_the_layer_and_in_its_libraries(folder: Path) -> None:
    build = Build.read(folder)
    text = bill_of_materials(build, software(build), Licences.read())
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    assert text == bill_of_materials(build, software(Build.read(folder)), Licences.read())
    bill = json.loads(text)
    assert {component["purl"] for component in bill["components"]} == {
        "pkg:pypi/plaid-python@1.0",
        "pkg:generic/openssl@4",
    }
    (package,) = (one for one in bill["components"] if one["name"] == "plaid-python")
    assert package["licenses"] == [{"expression": "MIT"}]
    assert package["hashes"] == [{"alg": "SHA-256", "content": "ab" * 32}]
    (folder / "SyncFunction" / "app.py").write_text("import third_party  # changed\n")
    changed = json.loads(bill_of_materials(Build.read(folder), software(build), Licences.read()))
    assert changed["serialNumber"] != bill["serialNumber"]


def test_the_command_reports_and_writes_into_the_build(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--build", str(folder), "--python", str(INTERPRETER), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["sha256"] == Build.read(folder).digest
    assert told["imports"]["SyncFunction"]["modules"] == 2
    assert (folder / "sbom.cdx.json").is_file()
    assert (folder / "third-party.txt").read_text() == (
        "openssl 4  Apache-2.0  (in pkg:pypi/plaid-python@1.0)\nplaid-python 1.0  MIT\n"
    )


def test_the_command_refuses_another_architecture(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--build", str(folder), "--architecture", "x86_64"]) == 1
    assert "is for arm64, not x86_64: remove" in capsys.readouterr().err
    assert not (folder / "sbom.cdx.json").exists()
