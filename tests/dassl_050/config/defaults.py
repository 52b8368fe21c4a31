

del _C["INPUT"]["RRCROP_SCALE"]
for _name in ("CDAC", "CROSSGRAD", "DAELDG", "DOMAINMIX", "MEANTEACHER"):
    del _C["TRAINER"][_name]
_C["TRAINER"]["CG"] = CfgNode({"EPS_F": 1.0, "EPS_D": 1.0, "ALPHA_F": 0.5, "ALPHA_D": 0.5})
_C["TRAINER"]["MEANTEA"] = CfgNode({"WEIGHT_U": 1.0, "EMA_ALPHA": 0.999, "RAMPUP": 5})
