"""The faults of tests/faults.py fit the code and the tests as they are now; python3 -m tests.mutants tries them."""
import re
import threading

import pytest

from tests import mutants
from tests.conftest import REPOSITORY
from tests.faults import FAULTS
from tests.mutants import with_fault

ALL = [(path, *row) for path, rows in FAULTS.items() for row in rows]


def test_there_are_enough_faults_and_none_twice():
    assert len(ALL) >= 90 and len({(path, old, new) for path, old, new, *_ in ALL}) == len(ALL)


@pytest.mark.parametrize("path", FAULTS)
def test_each_faults_place_is_found_once_and_gives_python(path):
    text = (REPOSITORY / path).read_text(encoding="utf-8")
    for old, new, *_ in FAULTS[path]:
        faulty = with_fault(text, old, new)
        if path.endswith(".py"):
            assert compile(faulty, path, "exec") != compile(text, path, "exec"), f"{new} changes nothing"


def test_the_tests_that_should_notice_are_there():
    for path, old, _, *tests in ALL:
        assert tests, f"{path}: {old}"
        for test in tests:
            file, name = re.fullmatch(r"(tests/\w+\.py)::(\w+)(?:\[.*\])?", test).groups()
            assert f"\ndef {name}(" in (REPOSITORY / file).read_text(encoding="utf-8"), f"{path}: there is no {test}"


def test_more_faults_than_a_pipe_holds_are_all_tried(monkeypatch):
    def work(number, root, tasks, results):
        for task in iter(tasks.get, None):
            results.put(task)
    monkeypatch.setattr(mutants, "work", work)
    tasks = [f"{number} {'x' * 3000}" for number in range(100)]
    done = []
    thread = threading.Thread(target=lambda: done.extend(mutants.run(tasks, 2)), daemon=True)
    thread.start()
    thread.join(60)
    assert sorted(done) == sorted(tasks)
