import random

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from transmeta.training.seeding import derive_seed


def test_a_seed_never_changes():
    # the first 8 bytes of sha256("0/split/digits"), shifted right by one bit
    assert derive_seed(0, "split", "digits") == 8966522869911718848


@given(st.integers(), st.lists(st.text() | st.integers()))
def test_a_seed_is_taken_by_every_generator(root, names):
    seed = derive_seed(root, *names)

    assert 0 <= seed < 2**63
    torch.Generator().manual_seed(seed)
    np.random.default_rng(seed)
    random.Random(seed)


def test_other_names_and_roots_give_other_seeds():
    seeds = {derive_seed(root, "epoch", index) for root in range(10) for index in range(10)}

    assert len(seeds) == 100


def test_a_number_and_its_text_name_the_same_child():
    assert derive_seed(0, "epoch", 1) == derive_seed(0, "epoch", "1")
