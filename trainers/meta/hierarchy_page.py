"""A hierarchy as one HTML page: domains, their pseudo-classes, and sample pairs of each with their captions."""
from __future__ import annotations

import base64
import io
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np

from ..utils import pages
from . import clustering, hierarchy, pairs
from .features import Features

THUMBNAIL = 128  # pixels of the longer side
NAMED = 3  # pseudo-classes in a domain's name


def page(tree: hierarchy.Hierarchy, features: Features, samples: int = 6, held_out: Collection[int] = (),
         held_words: str = "") -> str:
    """Return the page.

    Args:
        samples: pairs shown of each pseudo-class.
        held_out: numbers of the domains that meta-training does not see; held_words: why these.
    """
    kept, classes = int((tree.pseudo >= 0).sum()), sum(len(d["classes"]) for d in tree.domains)
    agreement = sum(d["agreement"] * d["pairs"] for d in tree.domains) / max(len(tree.domain), 1)
    return pages.render(
        __package__, "hierarchy.html", kept=kept, share=f"{kept / len(tree.domain):.0%}", agreement=f"{agreement:.0%}",
        title=f"{len(tree.domain):,} pairs, {len(tree.domains)} domains, {classes} pseudo-classes",
        least=tree.about["options"]["least"], held_count=len(held_out), held_words=held_words,
        domains=domain_sections(tree, features, samples, held_out))


def domain_sections(tree: hierarchy.Hierarchy, features: Features, samples: int,
                    held_out: Collection[int]) -> list[dict[str, Any]]:
    """Return what the page shows of each domain."""
    members = tree.members()
    return [{"number": number, "held": number in held_out, **domain_section(domain, members, features, samples, number)}
            for number, domain in enumerate(tree.domains)]


def domain_section(domain: dict[str, Any], members: dict[int, np.ndarray], features: Features, samples: int,
                   seed: int) -> dict[str, Any]:
    """Return what the page shows of a domain, its pseudo-classes from the largest to the smallest."""
    classes = sorted(domain["classes"], key=lambda found: -found["pairs"])
    shown = [{**found, "agreement": f"{found['agreement']:.0%}",
              "shown": [pair(features.root, place, caption) for caption, place in features.records(
                  clustering.sample(members[found["number"]], samples, seed=seed))]} for found in classes]
    more = f" and {len(classes) - NAMED} more" if len(classes) > NAMED else ""
    name = ", ".join(found["name"] for found in classes[:NAMED]) + more
    return {"name": name or "no pseudo-class", "pairs": domain["pairs"],
            "agreement": f"{domain['agreement']:.0%}", "classes": shown}


def pair(root: str | Path, place: str, caption: str) -> dict[str, str]:
    """Return a pair's caption and its image as data, or why the image can no longer be read."""
    try:
        image = pairs.picture(root, place)
    except pairs.Bad as fault:
        return {"caption": caption, "data": "", "fault": str(fault)}
    image.thumbnail((THUMBNAIL, THUMBNAIL))
    png = io.BytesIO()
    image.save(png, "PNG")
    return {"caption": caption, "data": f"data:image/png;base64,{base64.b64encode(png.getvalue()).decode()}"}


def sound(tree: hierarchy.Hierarchy) -> bool:
    """Return whether a hierarchy's description is of the kind that the page shows: anybody may have written it."""
    def counted(part: dict[str, Any]) -> bool:
        return type(part["pairs"]) is int and 0 <= part["pairs"] <= len(tree.domain) and 0 <= part["agreement"] <= 1

    try:
        members = tree.members()
        classes = [found for domain in tree.domains for found in domain["classes"]]
        return (0 < len(tree.domain) == len(tree.pseudo) and type(tree.about["options"]["least"]) is int
                and all(map(counted, [*tree.domains, *classes]))
                and all(isinstance(found["name"], str) and found["number"] in members for found in classes))
    except (AttributeError, IndexError, KeyError, TypeError, ValueError):
        return False
