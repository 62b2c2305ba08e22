"""bundle export and import: what the node is asked, what programs and people get (B-NET-4)."""

from pathlib import Path

from p2psync.errors import BundleInvalid
from tests.cli.rig import CommandLine


def test_export(acme: CommandLine, tmp_path: Path) -> None:
    out, before = str(tmp_path / "b"), str(tmp_path / "a")
    said = acme.json("bundle", "export", "Acme", "-o", out)
    assert acme.service.calls.pop() == ("bundle_export", "Acme", out, None, None)
    assert (said["entries"], said["partial"]) == (12, False)
    shown = acme("bundle", "export", "Acme", "-o", out, "--for", "Ben", "--since", before).out
    assert acme.service.calls.pop() == ("bundle_export", "Acme", out, "Ben", before)
    assert "leaves out what Ben is known to have" in shown
    assert "p2psync bundle import" in shown


def test_import(acme: CommandLine, tmp_path: Path) -> None:
    path = str(tmp_path / "b")
    said = acme.json("bundle", "import", path)
    assert acme.service.calls[-1] == ("bundle_import", path)
    assert (said["new"], said["files"]) == (5, ["sales.ecf"])
    shown = acme("bundle", "import", path).out
    assert "5 log entries are new" in shown
    assert "changed: sales.ecf" in shown
    assert "Ana (desk)" in shown


def test_a_damaged_one_is_named_with_what_is_wrong(acme: CommandLine, tmp_path: Path) -> None:
    acme.service.fail_with = BundleInvalid(cause="it is cut off at byte 700")
    done = acme("--json", "bundle", "import", str(tmp_path / "b"))
    assert (done.code, done.error["code"]) == (5, "bundle-invalid")
    done = acme("--lang", "fr", "bundle", "import", str(tmp_path / "b"))
    assert "rien n'en a été repris" in done.err
