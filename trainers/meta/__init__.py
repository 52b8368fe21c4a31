"""GRAM's meta-learning: pairs, features, hierarchy, episodes, the bi-level loop, and the file it leaves."""
