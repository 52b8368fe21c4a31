"""Stands in for Python in tests of scripts: called as "train.py FLAGS…", it leaves behind what a run does, in no time.

FAKE_KILL, FAKE_FAIL, FAKE_STOP, FAKE_LATE: part of the output folder of the run that, the first time, is killed, fails,
is interrupted, or is killed when all is done. FAKE_SLEEP: seconds each run takes; FAKE_UNTIL: a file that it waits for;
FAKE_SAVE: seconds it takes to leave on SIGTERM.
"""
import json
import os
import signal
import sys
import time

if sys.argv[1] == "-c":  # the sweep asks which packages are there: all
    sys.exit()
words = sys.argv[2:]
flags = {words[n]: words[n + 1] for n in range(len(words) - 1) if words[n].startswith("--")}
keys = {words[n]: words[n + 1] for n in range(len(words) - 1) if "." in words[n]}
folder = flags["--output-dir"]
first = not os.path.exists(folder)
os.makedirs(folder, exist_ok=True)
with open(os.path.join(folder, "log.txt"), "a") as log:
    log.write(f"pid {os.getpid()} gpu {os.environ.get('CUDA_VISIBLE_DEVICES')}\n")
print("epoch [1/2] batch [1/2] time 0.1", flush=True)
if first and os.environ.get("FAKE_KILL", "-") in folder:
    os.kill(os.getpid(), signal.SIGKILL)
if first and os.environ.get("FAKE_FAIL", "-") in folder:
    sys.exit("error: no room on the disk: free some")
if first and os.environ.get("FAKE_STOP", "-") in folder:
    sys.exit(75)
if "FAKE_SAVE" in os.environ:
    def save(*_):
        time.sleep(float(os.environ["FAKE_SAVE"]))
        with open(os.path.join(folder, "saved"), "w"):
            sys.exit(75)
    signal.signal(signal.SIGTERM, save)
time.sleep(float(os.environ.get("FAKE_SLEEP", 0)))
while "FAKE_UNTIL" in os.environ and not os.path.exists(os.environ["FAKE_UNTIL"]):
    time.sleep(0.1)
name = {"digits": "Digits", "dtd": "DescribableTextures"}[os.path.basename(flags["--dataset-config-file"])[:-5]]
content = {"trainer": flags["--trainer"], "dataset": name, "classes": keys.get("DATASET.SUBSAMPLE_CLASSES", "all"),
           "shots": int(keys.get("DATASET.NUM_SHOTS", -1)), "seed": int(flags["--seed"]), "command": sys.argv[1:],
           "results": {"test": {"accuracy": 50.0 + int(flags["--seed"])}}}
path = os.path.join(folder, "result.json")
with open(path + ".part", "w") as file:
    json.dump(content, file)
os.replace(path + ".part", path)
if first and os.environ.get("FAKE_LATE", "-") in folder:
    os.kill(os.getpid(), signal.SIGKILL)
