"""Orders in which a data loader goes through a list of Datum.

The samplers that group by domain or class draw one order when made, whose length they report, and another each
epoch. The orders' lengths can differ by some batches, as classes and domains run out sooner or later.
"""
import random
from collections import defaultdict

import numpy as np
from torch.utils.data.sampler import RandomSampler, Sampler, SequentialSampler

from ..errors import ConfigError


def _indices_by(attribute, data_source):
    groups = defaultdict(list)
    for index, item in enumerate(data_source):
        groups[getattr(item, attribute)].append(index)
    return groups


class _GroupSampler(Sampler):
    """A sampler whose order is made by ``draw()``, as a list of indices."""

    def draw(self):
        raise NotImplementedError

    def __iter__(self):
        return iter(self.draw())

    def __len__(self):
        return self.length


class SeqDomainSampler(_GroupSampler):
    """Batches of equally many random images of each domain, domains in sorted order, until one domain runs out.

    Raises:
        ValueError: ``batch_size`` is not a multiple of the number of domains.
    """

    def __init__(self, data_source, batch_size):
        self.domain_dict = _indices_by("domain", data_source)
        self.domains = sorted(self.domain_dict)
        self._settle(batch_size, len(self.domains))

    def _settle(self, batch_size, n_domain):
        if batch_size % n_domain:
            raise ConfigError(f"batch size {batch_size} is not a multiple of the {n_domain} domains in a batch")
        self.batch_size = batch_size
        self.n_domain = n_domain
        self.n_img_per_domain = batch_size // n_domain
        self.length = len(self.draw())

    def domains_of_batch(self):
        return self.domains

    def draw(self):
        left = {domain: list(indices) for domain, indices in self.domain_dict.items()}
        order = []
        while all(len(indices) >= self.n_img_per_domain for indices in left.values()):
            for domain in self.domains_of_batch():
                drawn = random.sample(left[domain], self.n_img_per_domain)
                order += drawn
                taken = set(drawn)
                left[domain] = [index for index in left[domain] if index not in taken]
        return order


class RandomDomainSampler(SeqDomainSampler):
    """Batches of equally many random images of ``n_domain`` random domains (below 1: all), until one runs out.

    Raises:
        ValueError: ``batch_size`` is not a multiple of the number of domains in a batch.
    """

    def __init__(self, data_source, batch_size, n_domain):
        self.domain_dict = _indices_by("domain", data_source)
        self.domains = list(self.domain_dict)
        self._settle(batch_size, n_domain if n_domain and n_domain > 0 else len(self.domains))

    def domains_of_batch(self):
        return random.sample(self.domains, self.n_domain)


class RandomClassSampler(_GroupSampler):
    """Batches of ``n_ins`` random images of each of ``batch_size // n_ins`` random classes.

    An image occurs at most once an epoch, except in classes of fewer than ``n_ins`` images.

    Raises:
        ValueError: ``batch_size`` is less than ``n_ins``, or there are fewer classes than a batch has.
    """

    def __init__(self, data_source, batch_size, n_ins):
        if batch_size < n_ins:
            raise ConfigError(f"batch size {batch_size} is less than the {n_ins} images per class in a batch")
        self.n_ins = n_ins
        self.ncls_per_batch = batch_size // n_ins
        self.index_dic = _indices_by("label", data_source)
        if len(self.index_dic) < self.ncls_per_batch:
            raise ConfigError(f"a batch of {batch_size} with {n_ins} images per class needs {self.ncls_per_batch} "
                              f"classes, but there are {len(self.index_dic)}")
        self.length = len(self.draw())

    def draw(self):
        chunks = {}
        for label, indices in self.index_dic.items():
            indices = list(indices)
            if len(indices) < self.n_ins:
                indices = np.random.choice(indices, size=self.n_ins, replace=True).tolist()
            random.shuffle(indices)
            whole = len(indices) - len(indices) % self.n_ins
            chunks[label] = [indices[start:start + self.n_ins] for start in range(0, whole, self.n_ins)]
        labels = list(chunks)
        order = []
        while len(labels) >= self.ncls_per_batch:
            for label in random.sample(labels, self.ncls_per_batch):
                order += chunks[label].pop(0)
                if not chunks[label]:
                    labels.remove(label)
        return order


def build_sampler(sampler_type, cfg=None, data_source=None, batch_size=32, n_domain=0, n_ins=16):
    """Build a sampler by its name; ValueError if there is none of that name."""
    if sampler_type == "RandomSampler":
        return RandomSampler(data_source)
    if sampler_type == "SequentialSampler":
        return SequentialSampler(data_source)
    if sampler_type == "RandomDomainSampler":
        return RandomDomainSampler(data_source, batch_size, n_domain)
    if sampler_type == "SeqDomainSampler":
        return SeqDomainSampler(data_source, batch_size)
    if sampler_type == "RandomClassSampler":
        return RandomClassSampler(data_source, batch_size, n_ins)
    raise ConfigError(f"Unknown sampler type: {sampler_type}")
