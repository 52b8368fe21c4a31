"""CoOp's linear probe: python -m promptreg.cli.linear_probe --root DATA --config-file … --dataset-config-file …"""
import sys

from ..compat import engine
from ..config.build import setup_cfg
from ..config.flags import parser
from ..inference.linear_probe import run
from ..utils.console import cli_errors


@cli_errors
def main(argv=None):
    args = parser().parse_args(argv)
    args.trainer = args.trainer or "ZeroshotCLIP"
    datasets = engine.sibling("datasets")
    cfg, _ = setup_cfg(args)
    datasets.check(cfg)
    c, val, test = run(cfg)
    print(f"linear probe: {cfg.DATASET.NAME}, {cfg.DATASET.NUM_SHOTS} shots, seed {cfg.SEED}: C {c:.3g}, "
          f"validation {val:.2f}%, test {test:.2f}%")
    return 0


if __name__ == "__main__":
    sys.exit(main())
