"""The contract of a strategy as inheritable tests: `class TestMine(StrategyCases): strategy = Mine()`."""

from collections.abc import Iterator
from typing import ClassVar

import pytest

from transmeta.core import codec
from transmeta.core.model import ModelCard, Stage, TrainedOn
from transmeta.core.plan import Initialisation, Scope, SideNetwork, TransferPlan
from transmeta.core.task import Modality
from transmeta.core.trial import StrategySpec
from transmeta.errors import ConfigError
from transmeta.strategies.catalogue import describe_space, sample_specs
from transmeta.strategies.strategy import Strategy

STAGES = tuple(
    Stage(name=f"block{i}", parameter_count=count, macs=100 * count)
    for i, count in enumerate((896, 18_496, 36_928, 24_000))
)


def example_card(*, modality: Modality = Modality.IMAGE, is_pretrained: bool = True, stage_count: int = 4) -> ModelCard:
    """Returns a hand-made card of 1 to 4 stages, which no weights belong to."""
    kind = modality.value if is_pretrained else f"scratch-{modality.value}"
    return ModelCard(
        id=f"{kind}-{stage_count}",
        architecture="small_cnn" if modality is Modality.IMAGE else "mlp",
        modality=modality,
        input_shape=(32, 32, 3) if modality is Modality.IMAGE else (20,),
        stages=STAGES[:stage_count],
        feature_count=64,
        class_count=10 if is_pretrained else 0,
        trained_on=(TrainedOn(dataset="letters", domain="scripts"),) if is_pretrained else (),
        score=0.9 if is_pretrained else None,
        weights="weights.safetensors" if is_pretrained else None,
    )


def example_cards() -> tuple[ModelCard, ...]:
    """Returns cards of each modality, with and without weights, of one and of four stages."""
    return tuple(
        example_card(modality=modality, is_pretrained=is_pretrained, stage_count=stage_count)
        for modality in Modality
        for is_pretrained in (True, False)
        for stage_count in (1, 4)
    )


class StrategyCases:
    """Tests that each strategy must pass; derive from it and set `strategy`, and `cards` where the examples do not do.

    Attributes:
        strategy: under test.
        cards: models to try it on; at least one must be one that it applies to.
    """

    strategy: ClassVar[Strategy]
    cards: ClassVar[tuple[ModelCard, ...]] = example_cards()

    def test_it_applies_to_at_least_one_card(self) -> None:
        """Guards the other cases against passing on nothing."""
        assert any(self.strategy.applies_to(card) for card in self.cards)

    def test_its_summary_is_one_sentence_with_a_reference(self) -> None:
        """People read it in `transmeta ls strategies`."""
        assert self.strategy.name.isidentifier()
        assert self.strategy.summary.endswith(").")
        assert "\n" not in self.strategy.summary

    def test_its_space_is_not_empty_and_contains_its_defaults(self) -> None:
        """Every default can be written out and is accepted."""
        for card in self._applicable():
            description = describe_space(self.strategy, card)
            default = dict(self.strategy.space(card).get_default_configuration())

            assert description.parameters
            assert set(default) <= {parameter.name for parameter in description.parameters}
            assert self.strategy.plan({}, card) == self.strategy.plan(self._plain(default), card)

    def test_every_sample_of_its_space_makes_a_plan(self) -> None:
        """Each plan trains or adds only in stages that the model has, and can be optimised."""
        for card, spec in self._samples(count=50):
            plan = self.strategy.plan(spec.params, card)

            assert set(plan.trainable) <= set(range(card.stage_count))
            assert len(set(plan.trainable)) == len(plan.trainable)
            assert plan.cut is None or 0 <= plan.cut < card.stage_count
            assert plan.optimiser.epochs >= 1
            assert plan.probe_epochs >= 0

    def test_its_plan_is_a_function_of_its_arguments(self) -> None:
        """The same parameters give the same plan, and sampling in between changes nothing."""
        for card, spec in self._samples(count=3):
            first = self.strategy.plan(spec.params, card)
            self.strategy.space(card).sample_configuration(2)

            assert self.strategy.plan(spec.params, card) == first

    def test_its_samples_depend_on_the_seed_alone(self) -> None:
        """Seeds give the same specs again, and other seeds other ones."""
        for card in self._applicable():
            first = sample_specs(self.strategy, card, count=5, seed=1)

            assert first == sample_specs(self.strategy, card, count=5, seed=1)
            assert first != sample_specs(self.strategy, card, count=5, seed=2)

    def test_an_unknown_hyperparameter_is_refused(self) -> None:
        """A typing error must not become a default."""
        for card in self._applicable():
            with pytest.raises(ConfigError, match="no_such_hyperparameter"):
                self.strategy.plan({"no_such_hyperparameter": 1}, card)

    def test_each_value_of_the_wrong_type_is_refused(self) -> None:
        """A text is no number and a truth value no choice, unless the space says so."""
        for card in self._applicable():
            for parameter in describe_space(self.strategy, card).parameters:
                with pytest.raises(ConfigError, match=parameter.name):
                    self.strategy.plan({parameter.name: "no such value"}, card)

    def test_a_card_that_it_does_not_apply_to_is_refused(self) -> None:
        """Plans are made for models that can follow them."""
        for card in self.cards:
            if not self.strategy.applies_to(card):
                with pytest.raises(ConfigError, match="does not apply"):
                    self.strategy.plan({}, card)

    def test_specs_and_plans_survive_json(self) -> None:
        """Trial ids and records are made of this text."""
        for card, spec in self._samples(count=10):
            plan = self.strategy.plan(spec.params, card)

            assert codec.loads(StrategySpec, codec.dumps(spec)) == spec
            assert codec.loads(TransferPlan, codec.dumps(plan)) == plan
            assert all(type(value) in (bool, int, float, str) for value in spec.params.values())

    def test_a_plan_keeps_what_it_claims_to_transfer(self) -> None:
        """Random stages are all trained, a penalty or a scope has stages, and added-to stages stay frozen."""
        for card, spec in self._samples(count=10):
            plan = self.strategy.plan(spec.params, card)
            wrapped = [item.cut for item in plan.additions if not isinstance(item, SideNetwork)]

            if plan.initialisation is Initialisation.RANDOM:
                assert set(plan.trainable) == set(range(card.stage_count)), "random weights would stay as they are"
            if plan.penalty is not None or plan.scope is Scope.BIAS:
                assert plan.trainable, "nothing for the penalty or scope to act on"
            if wrapped:
                assert all(index < min(wrapped) for index in plan.trainable), "what is added to is also trained"
            if plan.augment_shift:
                assert card.modality is Modality.IMAGE, "only images can be shifted"

    def _applicable(self) -> list[ModelCard]:
        return [card for card in self.cards if self.strategy.applies_to(card)]

    def _samples(self, *, count: int) -> Iterator[tuple[ModelCard, StrategySpec]]:
        for card in self._applicable():
            for spec in sample_specs(self.strategy, card, count=count, seed=0):
                yield card, spec

    @staticmethod
    def _plain(values: dict[str, object]) -> dict[str, bool | int | float | str]:
        plain = {name: value.item() if hasattr(value, "item") else value for name, value in values.items()}
        return {name: value for name, value in plain.items() if isinstance(value, bool | int | float | str)}
