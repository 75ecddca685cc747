"""Trains models of scikit-learn."""

import numpy
from sklearn.decomposition import PCA
from sklearn.ensemble import RandomForestClassifier


def train(rounds: int) -> None:
    random = numpy.random.default_rng(0)
    points = random.normal(size=(4000, 40))
    labels = (points[:, 0] + points[:, 1] > 0).astype(int)
    for _ in range(rounds):
        reduced = PCA(20).fit_transform(points)
        RandomForestClassifier(60, n_jobs=2).fit(reduced, labels)


train(4)
