from importlib.metadata import entry_points

import pytest

from transmeta import plugins
from transmeta.errors import UnknownNameError
from transmeta.strategies.lora import LoraFinetune

GROUPS = (plugins.TASKS, plugins.MODELS, plugins.STRATEGIES)


@pytest.fixture
def foreign(tmp_path, monkeypatch):
    """Installs a distribution of somebody else's, with two strategies, of which one cannot be imported."""
    (tmp_path / "foreign_strategies.py").write_text("class Nothing:\n    made = 0\n")
    metadata = tmp_path / "foreign-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: foreign\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(
        "[transmeta.strategies]\nnothing = foreign_strategies:Nothing\nbroken = foreign_strategies_missing:Nothing\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    plugins._points.cache_clear()
    plugins.load.cache_clear()
    yield
    plugins._points.cache_clear()
    plugins.load.cache_clear()


@pytest.mark.parametrize("group", GROUPS)
def test_the_names_of_a_group_are_those_of_its_entry_points_sorted(group):
    assert plugins.names(group) == tuple(sorted({point.name for point in entry_points(group=group)}))
    assert len(plugins.names(group)) >= 4


def test_a_plugin_is_made_once_from_what_its_entry_point_names():
    plugin = plugins.load(plugins.STRATEGIES, name="lora")

    assert type(plugin) is LoraFinetune
    assert plugins.load(plugins.STRATEGIES, name="lora") is plugin


def test_a_group_that_nobody_fills_is_empty():
    assert plugins.names("transmeta.nothing") == ()


@pytest.mark.parametrize(
    ("group", "name", "message"),
    [
        (plugins.STRATEGIES, "lorra", "unknown strategy 'lorra'; did you mean 'lora'"),
        (plugins.TASKS, "foldr", "unknown task 'foldr'; did you mean 'folder'"),
        (plugins.MODELS, "qqq", "unknown model 'qqq'; known: efficientnet_lite0, mlp, resnet20, small_cnn"),
    ],
)
def test_an_unknown_name_is_refused_with_the_nearest_one(group, name, message):
    with pytest.raises(UnknownNameError, match=message):
        plugins.load(group, name=name)


def test_a_strategy_of_another_distribution_is_found_without_being_imported_by_anybody(foreign):
    assert {"nothing", "lora"} <= set(plugins.names(plugins.STRATEGIES))
    assert type(plugins.load(plugins.STRATEGIES, name="nothing")).__name__ == "Nothing"


def test_a_plugin_that_cannot_be_imported_harms_no_other(foreign):
    assert type(plugins.load(plugins.STRATEGIES, name="lora")) is LoraFinetune
    with pytest.raises(ModuleNotFoundError, match="foreign_strategies_missing"):
        plugins.load(plugins.STRATEGIES, name="broken")
