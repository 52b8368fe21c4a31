"""The published datasets, in the order of the papers' tables, the settings, and the methods that learn nothing."""
# registered name: (config file, short name), in the order of the papers' tables
DATASETS = {
    "ImageNet": ("imagenet", "ImageNet"), "Caltech101": ("caltech101", "Caltech101"),
    "OxfordPets": ("oxford_pets", "Pets"), "StanfordCars": ("stanford_cars", "Cars"),
    "OxfordFlowers": ("oxford_flowers", "Flowers"), "Food101": ("food101", "Food101"),
    "FGVCAircraft": ("fgvc_aircraft", "Aircraft"), "SUN397": ("sun397", "SUN397"),
    "DescribableTextures": ("dtd", "DTD"), "EuroSAT": ("eurosat", "EuroSAT"), "UCF101": ("ucf101", "UCF101"),
    "ImageNetV2": ("imagenetv2", "ImageNetV2"), "ImageNetSketch": ("imagenet_sketch", "Sketch"),
    "ImageNetA": ("imagenet_a", "ImageNet-A"), "ImageNetR": ("imagenet_r", "ImageNet-R"),
    "Digits": ("digits", "Digits"),
}
KEYS = [key for key, _ in DATASETS.values()]
SHORT = dict(DATASETS.values())
VARIANTS = ("imagenetv2", "imagenet_sketch", "imagenet_a", "imagenet_r")
BENCHMARK_DATASETS = [key for key in KEYS if key not in (*VARIANTS, "digits")]  # the eleven of the papers
ZERO_SHOT = ("ZeroshotCLIP", "ZeroshotCLIP2")
# setting: its table's title
TITLES = {"base2new": "Base-to-new", "few_shot": "Few-shot", "xd": "Cross-dataset", "dg": "Domain generalization"}
