"""JSON files that others may read while they are being replaced."""

import json
from pathlib import Path
from typing import Any

from kedro_datasets.json import JSONDataset

from roberta_squad_pipeline.common.files import write_text


class WholeJSONDataset(JSONDataset):  # type: ignore[misc]  # Kedro's datasets come without types
    """A `JSONDataset` of a local file that is written completely or not at all."""

    def save(self, data: Any) -> None:
        """Writes a file, and replaces an earlier one in one step.

        Args:
            data: What `json.dump` takes.
        """
        write_text(Path(self._filepath), json.dumps(data, **self._save_args))
