"""An output format of your own: one text file, for those who like to look."""

import json

import numpy as np

from kjko.run.atomic import write_atomically
from kjko.run.formats import FORMATS


class Text:
    """Arrays as nested lists, in JSON."""

    suffix = ".json"

    def write(self, path, arrays, attributes):
        data = {
            "arrays": {name: np.asarray(array).tolist() for name, array in arrays.items()},
            "attributes": {name: np.asarray(value).tolist() for name, value in attributes.items()},
        }
        write_atomically(path, json.dumps(data).encode())

    def read(self, path):
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            return {k: np.array(a) for k, a in data["arrays"].items()}, data["attributes"]
        except (ValueError, KeyError) as error:
            raise OSError(f"{path}: cannot be read: {error}") from None


FORMATS["text"] = Text()  # the name in output.format
