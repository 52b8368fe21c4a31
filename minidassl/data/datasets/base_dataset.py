import os
import random
import tarfile
import zipfile
from collections import defaultdict

from ...errors import ConfigError, MissingFileError


class Datum:
    """One image: its path, label, domain (a number) and class name.

    Raises:
        FileNotFoundError: ``impath`` is no file.
    """

    # The underscored attributes are what Dassl's few-shot caches (pickles of Datum) hold.
    def __init__(self, impath="", label=0, domain=0, classname=""):
        if not os.path.isfile(impath):
            raise MissingFileError(f"No image at {impath!r}")
        self._impath = impath
        self._label = label
        self._domain = domain
        self._classname = classname

    impath = property(lambda self: self._impath)
    label = property(lambda self: self._label)
    domain = property(lambda self: self._domain)
    classname = property(lambda self: self._classname)


class DatasetBase:
    """Lists of Datum for training (labelled ``train_x``, unlabelled ``train_u``), validation and test.

    The classes are those of ``train_x``: ``num_classes`` is its largest label plus one, ``lab2cname`` maps label to
    class name, ``classnames`` lists the names by label.
    """

    dataset_dir = ""  # folder under the data root
    domains = []  # names of all domains

    def __init__(self, train_x=None, train_u=None, val=None, test=None):
        self._train_x = train_x
        self._train_u = train_u
        self._val = val
        self._test = test
        self._num_classes = self.get_num_classes(train_x)
        self._lab2cname, self._classnames = self.get_lab2cname(train_x)

    train_x = property(lambda self: self._train_x)
    train_u = property(lambda self: self._train_u)
    val = property(lambda self: self._val)
    test = property(lambda self: self._test)
    lab2cname = property(lambda self: self._lab2cname)
    classnames = property(lambda self: self._classnames)
    num_classes = property(lambda self: self._num_classes)

    @staticmethod
    def get_num_classes(data_source):
        return max(item.label for item in data_source) + 1

    @staticmethod
    def get_lab2cname(data_source):
        """Return the dict from label to class name and the list of class names in the order of labels."""
        lab2cname = dict(sorted({(item.label, item.classname) for item in data_source}))
        return lab2cname, list(lab2cname.values())

    def check_input_domains(self, source_domains, target_domains):
        """Raise a ValueError unless all domains are among ``self.domains``."""
        for domain in (*source_domains, *target_domains):
            if domain not in self.domains:
                raise ConfigError(f"{domain!r} is not a domain of {type(self).__name__}, which has "
                                  f"{list(self.domains)}")

    def download_data(self, url, dst, from_gdrive=True):
        """Download an archive from Google Drive to the file ``dst`` and extract it into dst's folder.

        Raises:
            NotImplementedError: ``from_gdrive`` is not set.
            ImportError: gdown is not installed.
        """
        if not from_gdrive:
            raise NotImplementedError(f"only Google Drive links are fetched; fetch {url} to {dst} by hand")
        import gdown

        folder = os.path.dirname(dst)
        os.makedirs(folder, exist_ok=True)
        gdown.download(url, dst, quiet=False)
        print("Extracting file ...")
        if zipfile.is_zipfile(dst):
            with zipfile.ZipFile(dst) as archive:
                archive.extractall(folder)
        else:
            with tarfile.open(dst) as archive:
                archive.extractall(folder, filter="data")  # nothing outside the folder, no devices
        print(f"File extracted to {folder}")

    def generate_fewshot_dataset(self, *data_sources, num_shots=-1, repeat=False):
        """Draw ``num_shots`` images of each label, with Python's ``random``, labels in the order they first occur.

        Args:
            data_sources: lists of Datum, drawn from one after the other.
            num_shots: below 1 nothing is drawn and the lists come back as they are.
            repeat: for a label with fewer images, draw with repetition up to ``num_shots``; else all are taken.

        Returns:
            A list of Datum for one source, a list of such lists for more.
        """
        if num_shots < 1:
            return data_sources[0] if len(data_sources) == 1 else data_sources
        print(f"Creating a {num_shots}-shot dataset")
        output = []
        for data_source in data_sources:
            drawn = []
            for items in self.split_dataset_by_label(data_source).values():
                if len(items) >= num_shots:
                    drawn += random.sample(items, num_shots)
                elif repeat:
                    drawn += random.choices(items, k=num_shots)
                else:
                    drawn += items
            output.append(drawn)
        return output[0] if len(output) == 1 else output

    @staticmethod
    def split_dataset_by_label(data_source):
        """Return a dict from label to list of Datum, labels in the order they first occur."""
        return _group(data_source, "label")

    @staticmethod
    def split_dataset_by_domain(data_source):
        """Return a dict from domain to list of Datum, domains in the order they first occur."""
        return _group(data_source, "domain")


def _group(data_source, attribute):
    groups = defaultdict(list)
    for item in data_source:
        groups[getattr(item, attribute)].append(item)
    return groups
