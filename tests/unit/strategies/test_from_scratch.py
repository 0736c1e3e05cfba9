from transmeta.core.plan import Initialisation
from transmeta.strategies.from_scratch import FromScratch
from transmeta.testing.strategy_cases import StrategyCases, example_card

CARD = example_card(is_pretrained=False)


class TestFromScratch(StrategyCases):
    strategy = FromScratch()

    def test_it_trains_every_stage_from_random_weights(self):
        plan = self.strategy.plan({}, CARD)

        assert plan.initialisation is Initialisation.RANDOM
        assert plan.trainable == (0, 1, 2, 3)
        assert plan.optimiser.head_multiplier == 1.0

    def test_it_is_not_offered_for_pretrained_weights(self):
        assert self.strategy.applies_to(CARD)
        assert not self.strategy.applies_to(example_card())
