"""The loops, pure over protocols: search, collect, adapt, meta_train, meta_test, recommend."""
