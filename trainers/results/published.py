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
    "Digits": ("digits", "Digits"), "EmojiAnimals": ("emoji_animals", "Animals"), "EmojiFood": ("emoji_food", "Food"),
    "EmojiTravel": ("emoji_travel", "Travel"), "EmojiActivities": ("emoji_activities", "Activities"),
    "EmojiObjects": ("emoji_objects", "Objects"), "EmojiSigns": ("emoji_signs", "Signs"),
    "EmojiPeople": ("emoji_people", "People"), "EmojiThings": ("emoji_things", "Things"),
    "EmojiThingsFlat": ("emoji_things_flat", "Flat"), "EmojiThingsLine": ("emoji_things_line", "Line"),
    "EmojiKinds": ("emoji_kinds", "Kinds"),
}
KEYS = [key for key, _ in DATASETS.values()]
SHORT = dict(DATASETS.values())
VARIANTS = ("imagenetv2", "imagenet_sketch", "imagenet_a", "imagenet_r", "emoji_things_flat", "emoji_things_line")
EMBEDDED = [key for key in KEYS if key == "digits" or key.startswith("emoji_")]  # made by this package, of no paper
BENCHMARK_DATASETS = [key for key in KEYS if key not in (*VARIANTS, *EMBEDDED)]  # the eleven of the papers
ZERO_SHOT = ("ZeroshotCLIP", "ZeroshotCLIP2")
# setting: its table's title
TITLES = {"base2new": "Base-to-new", "few_shot": "Few-shot", "xd": "Cross-dataset", "dg": "Domain generalization"}
