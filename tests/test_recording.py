"""Steps that are recorded and replayed, by a CUDA graph simulated on the CPU, and steps that are compiled; gpu_checks.py has
the same for a GPU."""
import pytest
import torch

from benchmarks.measure import TRAININGS, train
from common.runs.read import read_metrics
from common.training import device as training_device
from common.training import distributed
from common.training.device import compiling_pays
from common.training.recording import recording
from common.training.steps import Averages
from p3_dann import train as train_dann
from tests import simulated_graph
from tests.gpu_checks import FEW, WHOLE, assert_same_weights

CPU = torch.device("cpu")


@pytest.fixture
def graphs(monkeypatch):
    return simulated_graph.simulate(monkeypatch)


def words(problem, data, *more):
    """Two epochs of four steps."""
    epochs = 1 if problem == "p4" else 2        # besides that of the source alone
    return ("--data", data, "--device", "cpu", "--precision", "float32", *FEW, *WHOLE[problem], "--limit", 32,
            "--epochs", epochs, *more)


@pytest.mark.parametrize("problem", TRAININGS)
def test_replayed_steps_train_the_same_weights(problem, sample_data, tmp_path, graphs):
    train(problem, *words(problem, sample_data), "--run", tmp_path / "eager", "--eager")
    assert not graphs
    train(problem, *words(problem, sample_data), "--run", tmp_path / "replayed")
    assert len(graphs) == 2 and not any(graph.is_done for graph in graphs), "one an epoch, replayed"
    assert_same_weights(tmp_path / "eager", tmp_path / "replayed")
    losses = [[row | {"seconds": None} for row in read_metrics(tmp_path / name)] for name in ("eager", "replayed")]
    assert losses[0] == losses[1]


def test_streamed_images_need_the_host_so_no_step_is_recorded(sample_data, tmp_path, graphs, monkeypatch):
    monkeypatch.setattr(training_device, "_free_memory", lambda device: 0)
    train("p4", *words("p4", sample_data), "--run", tmp_path / "run")
    assert (tmp_path / "run" / "weights.pt").is_file() and not graphs


def test_every_step_counts_once_and_with_its_own_batch(graphs):
    averages, total, seen = Averages(), torch.zeros((), dtype=torch.int64), []

    def loop(batches):
        with recording(CPU, averages) as step:
            for batch in batches:
                yield from step(batch)
    for batch in loop(torch.arange(12).view(6, 2)):
        seen.append(batch.tolist())
        total += batch.sum()
        averages.add(loss=batch.sum())
    assert seen == [[0, 1], [2, 3], [4, 5]], "two steps to warm up, and the one that is recorded"
    assert total == 66 and [row["loss"] for row in averages.read()] == [1, 5, 9, 13, 17, 21]


def test_compiled_steps_train_the_same_weights(sample_data, tmp_path, monkeypatch):
    """By a compiler that leaves the operations as they are. What trains passes through it, evaluations do not."""
    compile, compiled, passes, taken = torch.compile, [], [], []

    def leave(graph, inputs):
        return lambda *values: passes.append(torch.is_grad_enabled()) or graph(*values)
    monkeypatch.setattr(torch, "compile",
                        lambda network, **options: compiled.append(network) or compile(network, backend=leave, **options))
    monkeypatch.setattr(train_dann, "compiling_pays", lambda device, pixels: taken.append(pixels) or True)
    train("p3", *words("p3", sample_data, "--eager"), "--run", tmp_path / "usual")
    assert not compiled
    train("p3", *words("p3", sample_data), "--run", tmp_path / "compiled")
    torch.compiler.reset()
    assert len(compiled) == 3 and passes and all(passes) and taken == [(2 * 2 - 1) * 4 * 8 * 12 ** 2], "pixels in all"
    assert_same_weights(tmp_path / "usual", tmp_path / "compiled")
    one, other = (torch.load(tmp_path / name / "checkpoint.pt", weights_only=False)["parts"]["extractor"].keys()
                  for name in ("usual", "compiled"))
    assert one == other, "so that either goes on from the other's"


@pytest.mark.parametrize("device, pixels, works, group, pays", [
    ("cuda", 1.1e9, True, None, True), ("cpu", 1.1e9, True, None, False), ("cuda", 0.9e9, True, None, False),
    ("cuda", 1.1e9, False, None, False), ("cuda", 1.1e9, True, distributed.Group(0, 2, None), False)])
def test_where_compiling_pays(device, pixels, works, group, pays, monkeypatch, capsys):
    def compile(function):
        if not works:
            raise RuntimeError("Failed to find C compiler.\nPlease specify")
        return function
    monkeypatch.setattr(distributed, "_group", group)
    monkeypatch.setattr(torch, "compile", compile)
    monkeypatch.setattr(torch, "ones", lambda count, device: torch.zeros(count))
    assert compiling_pays(torch.device(device), pixels) == pays
    said = "torch.compile does not work here (Failed to find C compiler), so steps take longer\n"
    assert capsys.readouterr().err == ("" if works else said)
