"""A fingerprint distinguishes two checkouts of one version."""

from cmpi._runtime.code_version import code_version


def test_the_code_version_depends_on_python_files_alone(tmp_path):
    (tmp_path / "a.py").write_text("x = 1\n")
    first = code_version(str(tmp_path))
    (tmp_path / "__pycache__").mkdir()
    (tmp_path / "__pycache__" / "b.py").write_text("")
    (tmp_path / "notes.txt").write_text("")
    assert code_version(str(tmp_path)) == first
    (tmp_path / "a.py").write_text("x = 2\n")
    assert code_version(str(tmp_path)) != first
    assert code_version() == code_version()
