"""The walk of the README: from CSV files to an answer of the API, as real processes."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def load_demo():
    spec = importlib.util.spec_from_file_location("demo", ROOT / "benchmarks" / "demo.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_practice_production_drift_release_and_an_idle_tick(tmp_path, capfd):
    folder = tmp_path / "demo"
    assert load_demo().main([str(folder)]) == 0, capfd.readouterr()
    said = capfd.readouterr().out
    assert "drift True" in said and "new_data False" in said
    assert "Traceback" not in said
    returns = (folder / "models" / "apireturns.txt").read_text()
    assert "POST /prediction" in returns and "status 200" in returns
    for name in ("summary_report.pdf", "confusionmatrix.png", "metrics.json", "latestscore.txt"):
        assert (folder / "models" / name).stat().st_size > 0
        assert (folder / "practicemodels" / name).stat().st_size > 0
    listed = subprocess.run(
        [sys.executable, ROOT / "deployment.py", "--config", folder / "config.json", "--list", "--json"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    release = json.loads(listed.stdout)["release"]
    assert release == json.loads((folder / "models" / "report.json").read_text())["release"]["id"]
