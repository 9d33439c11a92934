"""Steps that are recorded and replayed, by a CUDA graph simulated on the CPU; gpu_checks.py has the same for a GPU."""
import pytest

from benchmarks.measure import TRAININGS, train
from tests import simulated_graph
from tests.gpu_checks import FEW, WHOLE, assert_same_weights


@pytest.mark.parametrize("problem", TRAININGS)
def test_replayed_steps_train_the_same_weights(problem, sample_data, tmp_path, monkeypatch):
    words = ("--data", sample_data, "--device", "cpu", "--precision", "float32", *FEW, *WHOLE[problem])
    train(problem, *words, "--run", tmp_path / "eager")
    graphs = simulated_graph.simulate(monkeypatch)
    train(problem, *words, "--run", tmp_path / "replayed")
    assert len(graphs) == 3 and not any(graph.is_done for graph in graphs), "one an epoch, replayed"
    assert_same_weights(tmp_path / "eager", tmp_path / "replayed")
    assert (tmp_path / "eager" / "metrics.csv").read_text().splitlines()[0] \
        == (tmp_path / "replayed" / "metrics.csv").read_text().splitlines()[0]
