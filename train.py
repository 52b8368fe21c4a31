"""CoOp's command line: python train.py --trainer PromptSRC --root DATA --config-file … --dataset-config-file … …"""
import sys

from trainers.main import main

if __name__ == "__main__":
    sys.exit(main())
