from transmeta.core.plan import Initialisation
from transmeta.strategies.full_finetune import FullFinetune
from transmeta.testing.strategy_cases import StrategyCases, example_card

CARD = example_card()


class TestFullFinetune(StrategyCases):
    strategy = FullFinetune()

    def test_it_trains_every_stage_from_the_source(self):
        plan = self.strategy.plan({}, CARD)

        assert plan.trainable == (0, 1, 2, 3)
        assert plan.initialisation is Initialisation.SOURCE
        assert plan.cut == 0

    def test_its_numbers_reach_the_plan(self):
        plan = self.strategy.plan({"learning_rate": 5e-4, "layer_decay": 0.5, "augment_shift": 2, "epochs": 11}, CARD)

        assert plan.optimiser.learning_rate == 5e-4
        assert plan.optimiser.layer_decay == 0.5
        assert plan.optimiser.epochs == 11
        assert plan.augment_shift == 2
