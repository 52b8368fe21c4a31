"""CoOp's command line: python train.py --trainer PromptSRC --root DATA --config-file … --dataset-config-file … …"""
import os
import signal
import sys

if __name__ == "__main__":
    for name in ("SIGTERM", "SIGUSR1"):  # amid the imports there is nothing to save yet
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), lambda *_: os._exit(75))

    from trainers.training.run import main

    sys.exit(main())
