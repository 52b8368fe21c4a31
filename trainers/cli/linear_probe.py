"""CoOp's linear probe: promptreg linear-probe --root DATA --config-file … --dataset-config-file …"""
import argparse
import sys

from ..config import flags
from ..utils.console import Parser, cli_errors
from ..utils.startup import as_module, load_package


def parser() -> Parser:
    """Return the parser of the command, train.py's flags; it needs no torch."""
    p = flags.parser()
    p.prog, p.description = "promptreg linear-probe", __doc__.partition(":")[0]
    return p


def run(args: argparse.Namespace) -> int:
    """Fit the probe and print its accuracies; returns the exit code."""
    load_package()
    from ..compat import engine
    from ..config.build import setup_cfg
    from ..inference.linear_probe import run as fit
    args.trainer = args.trainer or "ZeroshotCLIP"
    datasets = engine.sibling("datasets")
    cfg, _ = setup_cfg(args)
    datasets.check(cfg)
    c, val, test = fit(cfg)
    print(f"linear probe: {cfg.DATASET.NAME}, {cfg.DATASET.NUM_SHOTS} shots, seed {cfg.SEED}: C {c:.3g}, "
          f"validation {val:.2f}%, test {test:.2f}%")
    return 0


@cli_errors
def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    return run(parser().parse_args(flags.with_packaged_configs(sys.argv[1:] if argv is None else argv)))


if __name__ == "__main__":
    sys.exit(as_module("linear-probe", main))
