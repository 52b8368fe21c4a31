"""CoOp's command line: python train.py --trainer PromptSRC --root DATA --config-file … --dataset-config-file … …"""
import os
import signal
import sys

if __name__ == "__main__":
    for name in ("SIGTERM", "SIGUSR1", "SIGUSR2"):  # amid the imports there is nothing to save yet
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), lambda *_: os._exit(75))

    import _promptreg  # noqa: F401  trainers parses the flags before it imports torch
    from trainers.cli.train import main

    sys.exit(main())
