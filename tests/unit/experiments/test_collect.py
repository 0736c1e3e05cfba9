import dataclasses

from transmeta.core.experience import MetaFeatures
from transmeta.core.trial import TrialStatus
from transmeta.experiments.collect import collect, specs_for
from transmeta.experiments.run import Workbench
from transmeta.stores.memory import MemoryExperienceStore
from transmeta.testing.fakes import ScriptedExecutor
from transmeta.testing.store_cases import example_task

from .cases import TARGET, arms, script, statuses
from .test_run import provenance

OTHER = example_task("glyphs-latn")
ARMS = (*arms(2, source="latin"), *arms(1, source="icons"))
FEATURES = {
    TARGET.id: MetaFeatures(target_id=TARGET.id, target={}, pairs={"latin": {}, "icons": {}}),
    OTHER.id: MetaFeatures(target_id=OTHER.id, target={}, pairs={"icons": {}}),
}


def test_there_is_a_trial_for_each_target_seed_and_arm():
    listed = specs_for([TARGET], arms=ARMS, features=FEATURES, seeds=(0, 1))

    assert [(spec.arm, spec.seed) for spec in listed] == [(arm, seed) for seed in (0, 1) for arm in ARMS]


def test_a_source_that_is_barred_for_a_target_is_left_out_there():
    listed = specs_for([TARGET, OTHER], arms=ARMS, features=FEATURES)

    assert [(spec.target.name, spec.pair.source) for spec in listed] == [
        ("glyphs-grek", "latin"),
        ("glyphs-grek", "latin"),
        ("glyphs-grek", "icons"),
        ("glyphs-latn", "icons"),
    ]


def test_collecting_runs_every_trial_to_its_end_and_is_resumed_by_being_run_again():
    bench = Workbench(executor=ScriptedExecutor(script), store=MemoryExperienceStore(), provenance=provenance)

    first = collect([TARGET, OTHER], arms=ARMS, features=FEATURES, bench=bench)
    again = collect([TARGET, OTHER], arms=ARMS, features=FEATURES, bench=bench, seeds=(0, 1))

    assert statuses(first) == [TrialStatus.COMPLETED] * 4
    assert [spec.seed for spec in (result.spec for result in again)] == [1] * 4
    assert len(bench.store.read()) == 8


def test_a_task_with_other_shots_is_another_target():
    few = dataclasses.replace(TARGET, shots=3)
    features = FEATURES | {few.id: FEATURES[TARGET.id]}

    ids = {spec.id for spec in specs_for([TARGET, few], arms=ARMS, features=features)}

    assert len(ids) == 6
