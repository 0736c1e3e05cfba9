"""Appends trials one by one to the store at sys.argv[1], from seed sys.argv[2] on, and prints each when it is safe."""

import sys
from itertools import count

from transmeta.stores.sql import SqlExperienceStore
from transmeta.testing.store_cases import example_experience, example_spec

if __name__ == "__main__":
    store = SqlExperienceStore.open(sys.argv[1])
    print("ready", flush=True)
    for seed in count(int(sys.argv[2])):
        row = example_experience(example_spec(seed=seed))
        assert store.append([row]) == 1
        print(row.id, flush=True)
