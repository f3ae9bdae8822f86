"""The stages in order, by hand, on a small table."""

import json
from pathlib import Path

import deployment
import ingestion
import scoring
import training

KEYS = {
    "input_folder_path": "in",
    "output_folder_path": "ingesteddata",
    "test_data_path": "test",
    "output_model_path": "models",
    "prod_deployment_path": "production_deployment",
}


def write_clients(path: Path, first: int, n: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [
        f"client{i},{i % 97},{'red' if i % 3 else 'blue'},{int(i % 97 > 60)}" for i in range(first, first + n)
    ]
    path.write_text("corporation,activity,colour,exited\n" + "\n".join(lines) + "\n")


def test_the_stages_lead_from_files_to_a_release(tmp_path, capsys):
    config = tmp_path / "config.json"
    config.write_text(json.dumps(KEYS))
    write_clients(tmp_path / "in" / "a.csv", 0, 300)
    write_clients(tmp_path / "test" / "t.csv", 300, 100)
    for script in (ingestion, training, scoring, deployment):
        assert script.main(["--config", str(config), "--json"]) == 0
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert result["deployed"]
    assert float((tmp_path / "production_deployment" / "latestscore.txt").read_text()) > 0.9
