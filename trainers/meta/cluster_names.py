"""Readable names for clusters of captions: the words that set them apart from their neighbours."""
import collections
import math
import re
from collections.abc import Mapping, Sequence, Set

WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")
LONGEST = 4  # words in a name
OFTEN = 0.05  # of a domain's captions, that a word must be in to count as used often
APART = 1.2  # how much more frequent than on average a telling word is
# Words a name neither begins nor ends with.
FUNCTION = frozenset("a an the of in on at to with and or is are was it its this that there here his her my your their "
                     "for from by as be no not what you i we he she they has have had very some many s".split())


def words(caption: str) -> list[str]:
    """Return a caption's words, in lower case."""
    return WORD.findall(caption.lower())


def stop_words(domains: Sequence[Sequence[str]]) -> frozenset[str]:
    """Return the words of the corpus that name nothing: those that more than half of the domains use often.

    "photo" and "white" say of captions what "the" says of a language; one domain's own words are never among them.

    Args:
        domains: for each domain, some of its captions.
    """
    used: collections.Counter[str] = collections.Counter()
    for captions in domains:
        counts = collections.Counter(word for caption in captions for word in set(words(caption)))
        used.update(word for word, count in counts.items() if count >= OFTEN * len(captions))
    return frozenset(word for word, count in used.items() if count > len(domains) / 2 and count > 1)


def is_junk(name: str, stop: Set[str]) -> bool:
    """Return whether a name is no class's: nothing but stop words, or numbered for want of a name of its own."""
    said = name.split()
    return len(said) > 1 and said[-1].isdigit() or all(word in FUNCTION or word in stop for word in said)


def phrases(caption: str, stop: Set[str] = frozenset()) -> set[str]:
    """Return the set of a caption's n-grams, 1 to 4 words, that could be names: no ``stop`` word at either end."""
    found, text = set(), words(caption)
    for n in range(1, LONGEST + 1):
        for i in range(len(text) - n + 1):
            if not {text[i], text[i + n - 1]} & (FUNCTION | stop):
                found.add(" ".join(text[i:i + n]))
    return found


def name_clusters(clusters: Sequence[Sequence[str]], stop: Set[str] = frozenset()) -> list[str]:
    """Return one name for each of a domain's clusters, all different, 1 to 4 words each.

    Class-based TF-IDF: a phrase's share of the cluster's captions, times the log of how much larger that share is than
    its mean over the clusters. A longer phrase takes the place of the best one that it contains where it is at least
    half as frequent and its words set the cluster apart as well.

    Args:
        clusters: for each cluster, its captions.
        stop: words that no name begins or ends with, as ``stop_words`` finds them.
    """
    shares = []
    for captions in clusters:
        counts = collections.Counter(phrase for caption in captions for phrase in phrases(caption, stop))
        shares.append({phrase: count / len(captions) for phrase, count in counts.items()})
    mean = collections.defaultdict(float)
    for share in shares:
        for phrase, value in share.items():
            mean[phrase] += value / len(shares)

    names, taken = [""] * len(clusters), set[str]()
    ranked = []
    for share in shares:
        score = {p: s * math.log(s / mean[p]) if len(shares) > 1 else s for p, s in share.items()}
        ranked.append(sorted(score.items(), key=lambda item: (-item[1], len(item[0]), item[0])))
    # The clusters that are set apart best choose first.
    for c in sorted(range(len(clusters)), key=lambda c: (-ranked[c][0][1] if ranked[c] else 0, c)):
        options = [_lengthen(phrase, shares[c], mean, taken) for phrase, _ in ranked[c][:50]]
        names[c] = next((o for o in options if o not in taken), None) or _numbered(options, taken)
        taken.add(names[c])
    return names


def _lengthen(phrase: str, share: Mapping[str, float], mean: Mapping[str, float], taken: set[str]) -> str:
    """Return the longer phrase that says more: frequent enough, and of words that set the cluster apart themselves."""
    def tells(longer: str) -> bool:
        return all(word in FUNCTION or word in share and share[word] >= APART * mean[word] for word in longer.split())

    longer = [(len(p.split()), s, p) for p, s in share.items()
              if p != phrase and f" {phrase} " in f" {p} " and s >= share[phrase] / 2 and p not in taken and tells(p)]
    return max(longer)[2] if longer else phrase


def _numbered(options: Sequence[str], taken: set[str]) -> str:
    stem = " ".join((options[0] if options else "thing").split()[:LONGEST - 1])
    n = 2
    while f"{stem} {n}" in taken:
        n += 1
    return f"{stem} {n}"
