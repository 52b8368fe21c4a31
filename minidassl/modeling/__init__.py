from .backbone import BACKBONE_REGISTRY, build_backbone
from .head import HEAD_REGISTRY, build_head
