"""Small trees in the published layouts, with annotations in their true formats, for the tests of the datasets."""
import io
import json

import numpy as np
from PIL import Image
from scipy.io import savemat

PER_CLASS = 10


def _picture():
    file = io.BytesIO()
    Image.fromarray(np.random.RandomState(0).randint(0, 255, (12, 16, 3), dtype=np.uint8)).save(file, "JPEG")
    return file.getvalue()


PICTURE = _picture()


def _image(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(PICTURE + "/".join(path.parts[-3:]).encode())  # behind its end: no two in a tree are copies


def _class_folders(folder, images, names, ignored=()):
    """Images in folders named by ``names`` (folder -> class name); labels by the sorted folders."""
    items = {}
    for label, (name, classname) in enumerate(sorted(names.items())):
        for number in range(PER_CLASS):
            items[f"{images}/{name}/{number:03d}.jpg"] = (label, classname)
    for path in items:
        _image(folder / path)
    for name in ignored:
        _image(folder / images / name / "000.jpg")
    (folder / images / ".hidden").write_text("")
    return items, None


def caltech101(folder):
    names = {"Faces": "face", "Leopards": "leopard", "accordion": "accordion", "airplanes": "airplane", "ant": "ant"}
    return _class_folders(folder, "101_ObjectCategories", names, ["BACKGROUND_Google", "Faces_easy"])


def oxford_pets(folder):
    lists, items = {"trainval": [], "test": []}, {}
    for label, (breed, species) in enumerate([("Abyssinian", 1), ("american_bulldog", 2), ("Bengal", 1)]):
        for number in range(2 * PER_CLASS):
            split = "trainval" if number < PER_CLASS else "test"
            lists[split].append(f"{breed}_{number} {label + 1} {species} {label + 1}")
            items[f"images/{breed}_{number}.jpg"] = (label, breed.lower())
    for path in items:
        _image(folder / path)
    (folder / "annotations").mkdir()
    for split, lines in lists.items():
        (folder / "annotations" / f"{split}.txt").write_text("\n".join(lines) + "\n")
    return items, {path for path in items if int(path.rpartition("_")[2][:-4]) >= PER_CLASS}


def stanford_cars(folder):
    names = ["AM General Hummer SUV 2000", "Acura RL Sedan 2012", "Ram C/V Cargo Van Minivan 2012"]
    turned = ["2000 AM General Hummer SUV", "2012 Acura RL Sedan", "2012 Ram C/V Cargo Van Minivan"]
    fields = [(name, object) for name in ("bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2", "class", "fname")]
    items = {}
    (folder / "devkit").mkdir(parents=True)
    for split, file in (("cars_train", "devkit/cars_train_annos.mat"), ("cars_test", "cars_test_annos_withlabels.mat")):
        entries = np.zeros((1, len(names) * PER_CLASS), dtype=fields)
        for number in range(entries.size):
            label = number % len(names)
            entries[0, number] = (1, 2, 3, 4, label + 1, f"{number + 1:05d}.jpg")
            items[f"{split}/{number + 1:05d}.jpg"] = (label, turned[label])
        savemat(folder / file, {"annotations": entries})
    savemat(folder / "devkit" / "cars_meta.mat", {"class_names": np.array([names], dtype=object)})
    for path in items:
        _image(folder / path)
    return items, {path for path in items if path.startswith("cars_test")}


def oxford_flowers(folder):
    names = {"1": "pink primrose", "2": "hard-leaved pocket orchid", "3": "canterbury bells", "4": "sweet pea"}
    labels = [number % 4 + 1 for number in range(4 * PER_CLASS)]
    items = {f"jpg/image_{number:05d}.jpg": (label - 1, names[str(label)])
             for number, label in enumerate(labels, start=1)}
    for path in items:
        _image(folder / path)
    savemat(folder / "imagelabels.mat", {"labels": np.array([labels], dtype=np.uint8)})
    (folder / "cat_to_name.json").write_text(json.dumps(names))
    return items, None


def food101(folder):
    return _class_folders(folder, "images", {name: name for name in ("apple_pie", "baby_back_ribs", "waffles")})


def fgvc_aircraft(folder):
    names = ["707-320", "A300B4", "BAE 146-200", "Boeing 717"]
    items, lines, number = {}, {"train": [], "val": [], "test": []}, 1000000
    for _ in range(PER_CLASS):
        for listed in lines.values():
            for label, name in enumerate(names):
                number += 1
                listed.append(f"{number:07d} {name}")
                items[f"images/{number:07d}.jpg"] = (label, name)
    for path in items:
        _image(folder / path)
    (folder / "variants.txt").write_text("\n".join(names) + "\n")
    for split, listed in lines.items():
        (folder / f"images_variant_{split}.txt").write_text("\n".join(listed) + "\n")
    return items, {f"images/{line.split()[0]}.jpg" for line in lines["test"]}


def sun397(folder):
    scenes = {"a/abbey": "abbey", "a/athletic_field/outdoor": "outdoor athletic_field", "z/zoo": "zoo"}
    items, lists = {}, {"Training_01": [], "Testing_01": []}
    for split, lines in lists.items():
        for label, (scene, name) in enumerate(scenes.items()):
            for number in range(PER_CLASS):
                image = f"{scene}/sun_{split[:2]}{number:03d}.jpg"
                lines.append(f"/{image}")
                items[f"SUN397/{image}"] = (label, name)
    for path in items:
        _image(folder / path)
    for split, lines in lists.items():
        (folder / f"{split}.txt").write_text("\n".join(lines) + "\n")
    (folder / "ClassName.txt").write_text("".join(f"/{scene}\n" for scene in scenes))
    return items, {f"SUN397{line}" for line in lists["Testing_01"]}


def dtd(folder):
    return _class_folders(folder, "images", {name: name for name in ("banded", "blotchy", "braided", "zigzagged")})


def eurosat(folder):
    return _class_folders(folder, "2750", {
        "AnnualCrop": "Annual Crop Land", "Forest": "Forest", "HerbaceousVegetation": "Herbaceous Vegetation Land",
        "Highway": "Highway or Road", "Industrial": "Industrial Buildings", "Pasture": "Pasture Land",
        "PermanentCrop": "Permanent Crop Land", "Residential": "Residential Buildings", "River": "River",
        "SeaLake": "Sea or Lake"})


def ucf101(folder):
    # the published lists spell the folder and the videos of one action differently
    actions = {"ApplyEyeMakeup": "Apply_Eye_Makeup", "HandstandPushups": "Handstand_Pushups", "YoYo": "Yo_Yo"}
    items, train, test = {}, [], []
    for label, (action, words) in enumerate(actions.items()):
        for group in range(2 * PER_CLASS):
            video = f"v_{action.replace('Handstand', 'HandStand')}_g{group:02d}_c01"
            items[f"UCF-101-midframes/{words}/{video}.jpg"] = (label, words)
            line = f"{action}/{video}.avi"
            (train if group >= PER_CLASS else test).append(f"{line} {label + 1}" if group >= PER_CLASS else line)
    for path in items:
        _image(folder / path)
    (folder / "ucfTrainTestlist").mkdir()
    for name, lines in (("trainlist01", train), ("testlist01", test),
                        ("classInd", [f"{label} {action}" for label, action in enumerate(actions, start=1)])):
        (folder / "ucfTrainTestlist" / f"{name}.txt").write_text("\n".join(lines) + "\n")
    return items, {path for path in items if int(path.rpartition("_g")[2][:2]) < PER_CLASS}


WNIDS = {"n01440764": "tench", "n01443537": "goldfish", "n01484850": "great white shark", "n01491361": "tiger shark",
         "n01494475": "hammerhead shark"}


def _classnames(folder):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "classnames.txt").write_text("".join(f"{wnid} {name}\n" for wnid, name in WNIDS.items()))


def imagenet(folder):
    _classnames(folder)
    items = {}
    for split, count in (("train", 2 * PER_CLASS), ("val", PER_CLASS)):
        for label, (wnid, name) in enumerate(WNIDS.items()):
            for number in reversed(range(count)):  # the order of making is not the sorted order
                items[f"images/{split}/{wnid}/{wnid}_{number}.JPEG"] = (label, name)
    for path in items:
        _image(folder / path)
    return items, {path for path in items if path.startswith("images/val")}


def _variant(folder, images, wnids):
    _classnames(folder)
    items = {f"{images}/{wnid}/{number}.jpg": (label, WNIDS[wnid])
             for label, wnid in enumerate(wnids) for number in range(PER_CLASS)}
    for path in items:
        _image(folder / path)
    return items, set(items)


def imagenetv2(folder):
    _classnames(folder)
    images = "imagenetv2-matched-frequency-format-val"
    items = {f"{images}/{label}/{number}.jpeg": (label, name)
             for label, name in enumerate(WNIDS.values()) for number in range(PER_CLASS)}
    for path in items:
        _image(folder / path)
    return items, set(items)


def imagenet_sketch(folder):
    return _variant(folder, "images", list(WNIDS))


def imagenet_a(folder):
    (folder / "imagenet-a").mkdir(parents=True)
    (folder / "imagenet-a" / "README.txt").write_text("not a class")
    return _variant(folder, "imagenet-a", list(WNIDS)[1:4])


def imagenet_r(folder):
    (folder / "imagenet-r").mkdir(parents=True)
    (folder / "imagenet-r" / "README.txt").write_text("not a class")
    return _variant(folder, "imagenet-r", list(WNIDS)[::2])


BUILDERS = {
    "Caltech101": caltech101, "OxfordPets": oxford_pets, "StanfordCars": stanford_cars,
    "OxfordFlowers": oxford_flowers, "Food101": food101, "FGVCAircraft": fgvc_aircraft, "SUN397": sun397,
    "DescribableTextures": dtd, "EuroSAT": eurosat, "UCF101": ucf101, "ImageNet": imagenet,
    "ImageNetV2": imagenetv2, "ImageNetSketch": imagenet_sketch, "ImageNetA": imagenet_a, "ImageNetR": imagenet_r,
}
FOLDERS = {
    "Caltech101": "caltech-101", "OxfordPets": "oxford_pets", "StanfordCars": "stanford_cars",
    "OxfordFlowers": "oxford_flowers", "Food101": "food-101", "FGVCAircraft": "fgvc_aircraft", "SUN397": "sun397",
    "DescribableTextures": "dtd", "EuroSAT": "eurosat", "UCF101": "ucf101", "ImageNet": "imagenet",
    "ImageNetV2": "imagenetv2", "ImageNetSketch": "imagenet-sketch", "ImageNetA": "imagenet-adversarial",
    "ImageNetR": "imagenet-rendition",
}


def build(name, root):
    """Make the tree of a dataset under ``root``.

    Returns ``{path in the dataset's folder: (label, class name)}`` and the paths of the published test split, or
    None where the dataset has none.
    """
    folder = root / FOLDERS[name]
    items, test = BUILDERS[name](folder)
    return items, test
