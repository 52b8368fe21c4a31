"""One HTML page of a hierarchy: python -m trainers.cli.gram_browse HIERARCHY [--out PAGE]

Domains, their pseudo-classes with sample images and captions, sizes and agreement: how many of a cluster's pairs have
an image that lies nearest to the same cluster's images.
"""
import base64
import html
import io
import sys
from pathlib import Path

import numpy as np

from ..compat import engine  # noqa: F401
from ..errors import InputError
from ..meta import hierarchy, pairs
from ..meta.features import Features
from ..utils import atomic
from ..utils.console import Parser, answered

STYLE = """body{font:15px/1.45 system-ui,sans-serif;max-width:72rem;margin:2rem auto;padding:0 1rem;
color:#222;background:#fff}
h1{font-size:1.5rem}h2{font-size:1.15rem;margin:2.2rem 0 .4rem;border-bottom:1px solid #ccc}
nav a{margin-right:.8em;white-space:nowrap}
.classes{display:grid;grid-template-columns:repeat(auto-fill,minmax(21rem,1fr));gap:1rem}
section{border:1px solid #ddd;border-radius:6px;padding:.6rem .8rem}h3{font-size:1rem;margin:0}
small{color:#666}img{height:64px;image-rendering:pixelated;margin:2px;vertical-align:top}
ul{margin:.3rem 0 0;padding-left:1.1rem}
li{overflow-wrap:anywhere}"""
THUMBNAIL = 128  # pixels


def picture(root, place, caption):
    """Return an <img> of a pair, or a word where the image can no longer be read."""
    try:
        image = pairs.picture(root, place)
    except pairs.Bad as fault:
        return f"<small>[{html.escape(str(fault))}]</small>"
    image.thumbnail((THUMBNAIL, THUMBNAIL))
    png = io.BytesIO()
    image.save(png, "PNG")
    data = base64.b64encode(png.getvalue()).decode()
    return f'<img src="data:image/png;base64,{data}" alt="{html.escape(caption, quote=True)}">'


def sound(tree):
    """Return whether a hierarchy's description is of the kind that the page shows: anybody may have written it."""
    def counted(part):
        return type(part["pairs"]) is int and 0 <= part["pairs"] <= len(tree.domain) and 0 <= part["agreement"] <= 1

    try:
        members = tree.members()
        classes = [found for domain in tree.domains for found in domain["classes"]]
        return (0 < len(tree.domain) == len(tree.pseudo) and type(tree.about["options"]["least"]) is int
                and all(map(counted, [*tree.domains, *classes]))
                and all(isinstance(found["name"], str) and found["number"] in members for found in classes))
    except (AttributeError, IndexError, KeyError, TypeError, ValueError):
        return False


def page(tree, features, samples=6):
    """Return the page.

    Args:
        tree: ``Hierarchy``. features: its ``Features``. samples: pairs shown of each pseudo-class.
    """
    members, kept = tree.members(), int((tree.pseudo >= 0).sum())
    classes = sum(len(d["classes"]) for d in tree.domains)
    agreement = sum(d["agreement"] * d["pairs"] for d in tree.domains) / max(len(tree.domain), 1)
    out = [f"<!doctype html><html lang=en><meta charset=utf-8><title>Hierarchy</title><style>{STYLE}</style>",
           f"<h1>{len(tree.domain):,} pairs, {len(tree.domains)} domains, {classes} pseudo-classes</h1>",
           f"<p>{kept:,} pairs ({kept / len(tree.domain):.0%}) are in a pseudo-class; the image agrees with the "
           f"caption's cluster in {agreement:.0%} of all pairs. A pseudo-class has at least "
           f"{html.escape(str(tree.about['options']['least']))}.</p>",
           "<nav>", *(f'<a href="#d{d}">domain {d}</a>' for d in range(len(tree.domains))), "</nav>"]
    for d, domain in enumerate(tree.domains):
        out.append(f'<h2 id="d{d}">Domain {d} <small>{domain["pairs"]:,} pairs, agreement {domain["agreement"]:.0%}, '
                   f'{len(domain["classes"])} pseudo-classes</small></h2><div class=classes>')
        for found in sorted(domain["classes"], key=lambda c: -c["pairs"]):
            rows = hierarchy.sample(members[found["number"]], samples, seed=d)
            shown = features.records(rows)
            out += [f'<section><h3>{html.escape(found["name"])}</h3><small>{found["pairs"]:,} pairs, agreement '
                    f'{found["agreement"]:.0%}</small><div>',
                    *(picture(features.root, place, caption) for caption, place in shown), "</div><ul>",
                    *(f"<li>{html.escape(caption)}</li>" for caption, _ in shown), "</ul></section>"]
        out.append("</div>")
    return "\n".join(out) + "\n</html>\n"


@answered
def main(argv=None):
    """Write the page; returns the exit code."""
    parser = Parser(description=__doc__.splitlines()[0])
    parser.add_argument("hierarchy", help="a .tree file, as meta-training leaves it beside the features")
    parser.add_argument("--out", help="the page; default: the hierarchy's name with .html")
    parser.add_argument("--samples", type=int, default=6, help="pairs shown of each pseudo-class")
    args = parser.parse_args(argv)
    tree = hierarchy.read(args.hierarchy)
    if not sound(tree):
        raise InputError(f"{args.hierarchy} is a damaged hierarchy: delete it and run meta-training again")
    folder = Path(args.hierarchy).parent
    if not (folder / "done.json").exists():
        raise InputError(f"{args.hierarchy} no longer lies beside its features: put it back")
    features = Features(folder, tree.about["root"])
    if len(features) != len(tree.domain) or features.digest != tree.about["corpus"]:
        raise InputError(f"{args.hierarchy} was made from other features than lie beside it: "
                         "run meta-training again")
    out = Path(args.out or Path(args.hierarchy).with_suffix(".html"))
    atomic.write(out, page(tree, features, np.clip(args.samples, 1, 1000)).encode())
    print(out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
