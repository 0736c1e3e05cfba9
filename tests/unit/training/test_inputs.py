import dataclasses
import types

import numpy as np
import pytest
import torch

from transmeta.core.plan import Lora, SideNetwork, TransferPlan
from transmeta.core.task import ACCURACY
from transmeta.training import inputs, prefix
from transmeta.training.fit import Fit
from transmeta.training.inputs import Inputs, draw_offsets, shifted
from transmeta.training.prefix import CacheStats, PrefixCache, PrefixKey, SplitPrefix
from transmeta.training.staged import prepare

from .cases import FULL, NUMBERS, finish, fit_of, planned

CACHED = {
    "probe": TransferPlan(trainable=(), optimiser=NUMBERS),
    "last": TransferPlan(trainable=(3,), optimiser=NUMBERS),
    "lora": TransferPlan(trainable=(), optimiser=NUMBERS, additions=(Lora(rank=2, scale=4.0, cut=2),)),
    "side": TransferPlan(trainable=(), optimiser=NUMBERS, additions=(SideNetwork(width=4),)),
    "both": TransferPlan(trainable=(3,), optimiser=NUMBERS, additions=(SideNetwork(width=4),)),
    "probe, then all": dataclasses.replace(FULL, probe_epochs=2),
}


@pytest.mark.parametrize("name", CACHED)
def test_a_cached_prefix_gives_the_scores_of_one_that_is_run_at_every_step(
    name, models, greek, digits_data, monkeypatch
):
    def reports():
        fit = fit_of(planned(CACHED[name], card=greek, models=models), digits_data)
        return [(r.value, r.train_loss) for r in finish(fit)]

    cached = reports()
    monkeypatch.setattr(inputs, "CACHE_LIMIT_BYTES", 0)

    assert np.array(reports()) == pytest.approx(np.array(cached), abs=1e-6)


def shared_by(card, cache) -> SplitPrefix:
    key = PrefixKey(
        architecture=card.architecture, weights="w", inputs=card.input_shape, start=0, data="digits", split=""
    )
    return SplitPrefix(cache=cache, key=key)


@pytest.mark.parametrize("name", ["probe", "last", "lora", "side", "both"])
def test_trials_that_share_a_prefix_have_the_numbers_of_those_that_do_not(
    name, models, greek, digits_data, monkeypatch, tmp_path
):
    monkeypatch.setattr(prefix, "DISK_BYTES_PER_S", 1e15)  # however fast it is computed, it is written

    def numbers(shared):
        made = planned(CACHED[name], card=greek, models=models)
        fit = Fit(made, digits_data, metric=ACCURACY, seed=0, prefix=shared)
        curve = [(report.value, report.train_loss) for report in finish(fit)]
        weights = [value.clone() for value in made.trained_values().values()]
        return curve, fit.score(digits_data.test, name="test"), weights

    caches = [PrefixCache(tmp_path), PrefixCache(tmp_path)]
    alone = numbers(None)
    others = [numbers(shared_by(greek, cache)) for cache in (caches[0], caches[0], caches[1])]

    for curve, score, weights in others:
        assert (curve, score) == alone[:2]
        assert all(torch.equal(mine, theirs) for mine, theirs in zip(weights, alone[2], strict=True))
    prepared = 3 if name in ("side", "both") else 0  # never on disk, as they cost next to nothing
    written = caches[0].stats.written_bytes
    assert caches[0].stats == CacheStats(misses=3 + prepared, memory_hits=3 + prepared, written_bytes=written)
    assert written > 0
    assert caches[1].stats == CacheStats(misses=prepared, disk_hits=3)


def test_what_is_shared_and_at_hand_runs_no_stage(models, greek, digits_data):
    shared = shared_by(greek, PrefixCache(None))
    model = planned(CACHED["last"], card=greek, models=models).model
    runs = []
    model.stages[0].register_forward_hook(lambda *_: runs.append(1))

    def filled():
        runs.clear()
        Inputs(
            digits_data.train,
            model=model,
            card=greek,
            start=3,
            keep_prepared=False,
            device=torch.device("cpu"),
            name="train",
            prefix=shared,
        )
        return len(runs)

    assert filled() == 2  # one example for the size, then all in one batch
    assert filled() == 0


def test_models_of_another_precision_share_nothing(models, greek, digits_data):
    shared = shared_by(greek, PrefixCache(None))

    def hidden(dtype):
        model = planned(CACHED["last"], card=greek, models=models).model.to(dtype)
        made = Inputs(
            digits_data.train,
            model=model,
            card=greek,
            start=3,
            keep_prepared=False,
            device=torch.device("cpu"),
            name="train",
            prefix=shared,
        )
        return made.get(torch.arange(4))[0]

    assert hidden(torch.float32).dtype is torch.float32
    assert hidden(torch.float64).dtype is torch.float64


def test_shifted_images_are_not_shared(models, greek, digits_data):
    cache = PrefixCache(None)
    plan = dataclasses.replace(CACHED["last"], augment_shift=2)
    made = planned(plan, card=greek, models=models)

    finish(Fit(made, digits_data, metric=ACCURACY, seed=0, prefix=shared_by(greek, cache)))

    assert cache.stats == CacheStats(misses=1), "only the validation split, which is never shifted"


@pytest.mark.parametrize(("limit", "runs"), [(2**29, 1), (0, 4)], ids=["cached", "not cached"])
def test_a_cached_prefix_runs_once_for_each_example(limit, runs, models, greek, digits_data, monkeypatch):
    monkeypatch.setattr(inputs, "CACHE_LIMIT_BYTES", limit)
    plan = TransferPlan(trainable=(3,), optimiser=dataclasses.replace(NUMBERS, epochs=4, batch_size=7))
    made = planned(plan, card=greek, models=models)
    seen = []
    made.model.stages[2].register_forward_hook(lambda _, __, output: seen.append(len(output)))

    finish(fit_of(made, digits_data))

    first = 2 * 2 if limit == 0 else 2  # one example of each split, to learn the size; again at each new opening
    train, validation = len(digits_data.train), len(digits_data.validation)
    assert sum(seen) == pytest.approx(runs * (train + validation), abs=first)


def test_what_is_cached_counts_the_inputs_of_a_side_network(models, greek, digits_data, monkeypatch):
    model = planned(CACHED["side"], card=greek, models=models).model
    features = 100 * 4 * 80 * 4 * 4  # bytes of the float32 outputs of the last stage: 80 features of 4×4
    monkeypatch.setattr(inputs, "CACHE_LIMIT_BYTES", features + 1000)
    runs = []
    model.stages[0].register_forward_hook(lambda *_: runs.append(1))

    for keep_prepared in (False, True):
        made = Inputs(
            digits_data.validation,
            model=model,
            card=greek,
            start=4,
            keep_prepared=keep_prepared,
            device=torch.device("cpu"),
        )
        runs.clear()
        made.get(torch.arange(3))
        assert len(runs) == int(keep_prepared), "with the inputs kept too, it no longer fits"


def test_examples_come_in_the_order_of_the_index(models, greek, digits_data):
    model = planned(CACHED["probe"], card=greek, models=models).model
    made = Inputs(digits_data.train, model=model, card=greek, start=0, keep_prepared=True, device=torch.device("cpu"))
    index = torch.tensor([5, 0, 5])

    hidden, side = made.get(index)

    assert len(made) == len(digits_data.train)
    assert torch.equal(hidden, prepare(torch.from_numpy(digits_data.train.x)[index], card=greek))
    assert side is not None
    assert torch.equal(side, hidden)
    assert torch.equal(made.labels[index], torch.from_numpy(digits_data.train.y)[index])


def test_only_what_is_asked_to_shift_is_shifted(models, greek, digits_data):
    model = planned(FULL, card=greek, models=models).model
    made = Inputs(
        digits_data.train, model=model, card=greek, start=0, keep_prepared=False, shift=2, device=torch.device("cpu")
    )
    index = torch.arange(10)
    plain = prepare(torch.from_numpy(digits_data.train.x[:10]), card=greek)

    moved, _ = made.get(index, offsets=torch.zeros(2, 10, dtype=torch.int64))
    resting, _ = made.get(index)

    assert torch.equal(resting, plain)
    assert not torch.equal(moved, plain)


def images() -> torch.Tensor:
    return torch.rand((6, 3, 8, 5), generator=torch.Generator().manual_seed(0))


def test_a_shift_moves_each_image_and_repeats_its_edge():
    limit = 2
    offsets = draw_offsets(6, limit=limit, generator=torch.Generator().manual_seed(3))

    moved = shifted(images(), limit=limit, offsets=offsets).numpy()

    assert moved.shape == (6, 3, 8, 5)
    for image, result, row, column in zip(images().numpy(), moved, *offsets.tolist(), strict=True):
        padded = np.pad(image, ((0, 0), (limit, limit), (limit, limit)), mode="edge")
        assert np.array_equal(result, padded[:, row : row + 8, column : column + 5])


def test_an_offset_of_the_limit_is_no_shift():
    offsets = torch.full((2, 6), 3)

    assert torch.equal(shifted(images(), limit=3, offsets=offsets), images())


def test_offsets_depend_on_the_generator_alone_and_cover_both_directions():
    first = draw_offsets(500, limit=2, generator=torch.Generator().manual_seed(0))
    again = draw_offsets(500, limit=2, generator=torch.Generator().manual_seed(0))

    assert torch.equal(first, again)
    assert first.unique().tolist() == [0, 1, 2, 3, 4]
    assert not torch.equal(first[0], first[1])


class _Splits:
    """Opens splits, those named `late` only for who waits, and notes what was asked for."""

    def __init__(self, late):
        self.asked = []
        self._late = late

    def __call__(self, name, start, waits):
        self.asked.append((name, waits))
        return types.SimpleNamespace(is_late=name in self._late and not waits, name=name)


@pytest.mark.parametrize(
    ("late", "asked"),
    [
        ((), [("train", False)]),
        (("train",), [("train", False), ("validation", False), ("test", False), ("train", True)]),
    ],
)
def test_while_others_compute_a_split_the_next_ones_are_computed(late, asked):
    splits = _Splits(late)

    assert inputs.open_shared(splits, name="train", start=1).name == "train"
    assert splits.asked == asked
