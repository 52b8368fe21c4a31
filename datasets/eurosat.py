"""EuroSAT: 10 kinds of land use from above (Helber et al., 2019)."""
from .base import FewShotDataset, register
from .download import Source, published_copy
from .splits import Splits, read_class_folders, split_by_class

RENAMED = {
    "AnnualCrop": "Annual Crop Land",
    "Forest": "Forest",
    "HerbaceousVegetation": "Herbaceous Vegetation Land",
    "Highway": "Highway or Road",
    "Industrial": "Industrial Buildings",
    "Pasture": "Pasture Land",
    "PermanentCrop": "Permanent Crop Land",
    "Residential": "Residential Buildings",
    "River": "River",
    "SeaLake": "Sea or Lake",
}


@register
class EuroSAT(FewShotDataset):
    """One folder a class; the class names are written out."""

    folder = "eurosat"
    images = "2750"
    needs = (images,)
    split_file = "split_zhou_EuroSAT.json"
    published = {"train": 13500, "val": 5400, "test": 8100, "classes": 10}
    sources = (
        Source("EuroSAT.zip", ["https://madm.dfki.de/files/sentinel/EuroSAT.zip",
                               "https://huggingface.co/datasets/torchgeo/eurosat/resolve/"
                               "c877bcd43f099cd0196738f714544e355477f3fd/EuroSAT.zip"],
               gives=[images], checksum="md5:c8fa014336c82ac7804f0398fcb19387"),
        Source(split_file, ["drive:1Ip7yaCWFi0eaOFUGga0lUdVi_DDQth1o"]),
    )
    copy = published_copy("eurosat.zip", needs, split_file)

    def read(self) -> Splits:
        """Return the images of the class folders, 50/20/30 of each class."""
        return split_by_class(read_class_folders(self.image_dir, rename=RENAMED))
