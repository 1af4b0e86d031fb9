def make(rng, train, held):
    pass
