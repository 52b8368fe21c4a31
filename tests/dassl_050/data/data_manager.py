

class DatasetWrapper(DatasetWrapper):
    def __getitem__(self, idx):
        output = super().__getitem__(idx)
        del output["index"]
        return output
