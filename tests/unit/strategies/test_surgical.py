from transmeta.strategies.surgical import Surgical
from transmeta.testing.strategy_cases import StrategyCases, example_card

CARD = example_card()


class TestSurgical(StrategyCases):
    strategy = Surgical()

    def test_it_trains_the_chosen_stage_alone(self):
        plan = self.strategy.plan({"stage": 1}, CARD)

        assert plan.trainable == (1,)
        assert plan.cut == 1

    def test_the_only_stage_of_a_model_can_be_chosen(self):
        assert self.strategy.plan({}, example_card(stage_count=1)).trainable == (0,)
