"""Names of composed trainers besides their own: those of papers and published code."""

# Another name of a composed trainer: its own. GRAM's are named as in the paper, DePT's published code has the others.
ALIASES = {"GRAM+IVLP": "UNIGRAM", **{f"GRAM+{name}": f"GRAM{name}"
                                      for name in ("CoOp", "CoCoOp", "VPT", "ProGrad", "PromptSRC")},
           **{f"ExtrasLinearProbe{name}": f"DePT+{name}" for name in ("CoOp", "CoCoOp", "KgCoOp", "MaPLe")}}
