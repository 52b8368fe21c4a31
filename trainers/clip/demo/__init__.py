"""The demo CLIP: a model of under 3 MB that this folder's own script trains on images it draws itself.

`WEIGHTS` is the file, README.md beside it says what is in it, `render.render_pairs` draws captioned images,
`python -m trainers.clip.demo.train` makes the file again.
"""
from ...utils.paths import PACKAGE_ROOT

WEIGHTS = PACKAGE_ROOT / "clip" / "demo" / "demo_clip.safetensors"
