"""The tables of settings: what a row says, its flag, and what a run is taken for that did not know it."""
import json
import math
import sys

import pytest

import hw_report
from common.cli import CommandParser, UsageError, UserError
from common.training.settings import PRESETS, Setting, add_settings, full_settings, read_settings, words_of
from tests.conftest import SMALL, assert_same_weights

TABLE = (
    Setting("epochs", int, 3, 2, 1, "passes"),
    Setting("rate", float, 0, 1, 0.5, "how fast; not how far", bounds=(0, 2)),
    Setting("order", str, "up", "down", "up", "which way", choices=("up", "down"), neutral="up"),
    Setting("gain", float, 2, 2, 2, "factor", neutral=1.0),
    Setting("mirror", bool, False, True, True, "turn", neutral=False),
)


def parse(table, *words):
    parser = CommandParser()
    add_settings(parser, table)
    return vars(parser.parse_args(list(words)))


def test_a_setting_is_of_the_kind_that_it_says(capsys):
    assert parse(TABLE, "--rate", "1.5", "--mirror", "--order", "down") == {
        "epochs": None, "rate": 1.5, "order": "down", "gain": None, "mirror": True}
    assert repr(full_settings(TABLE, {})["rate"]) == "0.0"
    for words, reason in ((("--rate", "2.5"), "from 0 to 2;"), (("--epochs", "1.5"), "invalid int value"),
                          (("--epochs", "0"), "from 1 to"), (("--order", "left"), "invalid choice")):
        with pytest.raises(SystemExit):
            parse(TABLE, *words)
        assert reason in capsys.readouterr().err.replace("'", "")     # Python 3.11 quotes choices


def test_its_help_is_shown_whole(capsys):
    with pytest.raises(SystemExit):
        parse(TABLE, "--help")
    shown = " ".join(capsys.readouterr().out.split())
    assert "how fast; not how far [0.0|1.0|0.5]" in shown and "turn [no|yes|yes]" in shown


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("problem", hw_report.TABLES)
def test_every_preset_is_what_its_flags_accept(problem, preset):
    table = hw_report.TABLES[problem]
    values = {setting.name: setting.value(preset) for setting in table}
    assert len(values) == len(table)
    assert parse(table, *words_of(values)) == values
    neutral = {setting.name: setting.neutral for setting in table if setting.neutral is not None}
    assert {name: type(value) for name, value in neutral.items()} == {name: type(values[name]) for name in neutral}


@pytest.fixture
def resume(tmp_path, monkeypatch):
    """resume({settings of a run that was started}, flag, …): what read_settings makes of it with --resume."""
    def call(settings, *words):
        settings = {"problem": "p9", "preset": "report", "data": "data", "limit": None, "seed": 0, "device": "cpu",
                    "precision": "float32", "epochs": 3, "rate": 0.5} | settings
        (tmp_path / "config.json").write_text(json.dumps({"settings": settings}))
        monkeypatch.setattr(sys, "argv", ["train", "--run", str(tmp_path), "--resume", *words])
        return read_settings("p9", "Train.", TABLE)
    return call


def test_what_an_older_run_did_not_know_is_neutral_when_it_goes_on(resume):
    settings = resume({"gain": 3.0})
    assert (settings["gain"], settings["order"], settings["mirror"], settings["rate"]) == (3.0, "up", False, 0.5)
    assert resume({}, "--gain", "1", "--no-mirror")["gain"] == 1.0
    with pytest.raises(UsageError, match="was started with gain = 1.0, not 2.0"):
        resume({}, "--gain", "2")


def test_an_older_run_is_refused_where_nobody_knows_what_it_would_have_had(resume, monkeypatch):
    with pytest.raises(UserError, match="is from another version, without order, gain, mirror; choose another --run"):
        resume({"strength": 3.0})       # which has another name by now, as it may be one of these
    monkeypatch.setattr("tests.test_settings.TABLE", (*TABLE, Setting("size", int, 1, 1, 1, "pixels")))
    with pytest.raises(UserError, match="is from another version, without size; choose another --run"):
        resume({"gain": 1.0})


def test_an_older_run_goes_on_without_a_setting_that_is_gone_only_if_it_was_off(resume):
    known = {"order": "up", "gain": 1.0, "mirror": False}
    assert resume(known | {"strength": 0.0})["rate"] == 0.5
    with pytest.raises(UserError, match="is from another version, with strength; choose another --run"):
        resume(known | {"strength": 3.0})


@pytest.mark.parametrize("name, value, reason", [
    ("epochs", "3", "another kind"), ("epochs", 3.5, "invalid int value"), ("epochs", 0, "0 is not a number from 1"),
    ("epochs", None, "another kind"), ("epochs", True, "expected one argument"), ("epochs", [3], "invalid int value"),
    ("rate", math.nan, "nan is not a number from 0 to 2"), ("rate", None, "another kind"), ("mirror", 1, "arguments: 1"),
    ("order", "left", "invalid choice"), ("seed", -1, "-1 is not a number"), ("limit", 0, "0 is not a number"),
    ("limit", "all", "invalid int value"), ("data", 5, "another kind"), ("data", None, "another kind"),
    ("precision", "half", "invalid choice")])
def test_a_run_goes_on_only_with_values_that_a_flag_could_give(resume, tmp_path, name, value, reason):
    known = {"order": "up", "gain": 1.0, "mirror": False}
    with pytest.raises(UserError) as refused:
        resume(known | {name: value})
    assert str(refused.value).startswith(f"{tmp_path / 'config.json'} is damaged: {name} is {value!r} (")
    assert reason in str(refused.value)
    assert resume(known | {"rate": 1, "limit": 5, "data": "a folder"})["limit"] == 5


def test_training_with_neutral_values_is_that_without_the_settings(train, interrupted, tmp_path):
    """Through a real run: it is stopped, loses what it knew of these settings, and ends in the same weights."""
    neutral = ("--classifier-gain", "1", "--pseudo-weight", "0")
    whole = train("p3_dann", tmp_path / "whole", *SMALL["p3_dann"], *neutral)
    release = interrupted(epochs=1)
    with pytest.raises(KeyboardInterrupt):
        train("p3_dann", tmp_path / "older", *SMALL["p3_dann"], *neutral)
    release()
    path = tmp_path / "older" / "config.json"
    config = json.loads(path.read_text())
    for name in ("classifier_gain", "pseudo_weight", "permute_colours"):
        del config["settings"][name]
    path.write_text(json.dumps(config))
    assert_same_weights(whole, train("p3_dann", tmp_path / "older", "--resume", *SMALL["p3_dann"]))
