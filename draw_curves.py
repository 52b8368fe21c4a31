"""CoOp's draw_curves.py has its figures typed into it; here curves are drawn from finished runs. Says so."""
import sys

print("error: curves are drawn from finished runs here: promptreg results output/ --pictures FOLDER", file=sys.stderr)
sys.exit(2)
